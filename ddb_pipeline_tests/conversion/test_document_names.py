"""Names of documents: column names, but keys of maps stay."""

import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ddb_pipeline.conversion.document_names import with_column_names
from ddb_pipeline.dynamodb.targets import AS_WRITTEN, Target
from ddb_pipeline.dynamodb.values import Writing, item_json
from ddb_pipeline.hive.coverage import covered_fields, map_columns
from ddb_pipeline.hive.types import Column

KEYS = {"2024-01-01": 1, "User-0001": 4, "user-0001": 5}
NAMED = {"2024_01_01": 1, "user_0001": 4, "user_0001_62a8e8d6": 5}
TYPES = (
    "string",
    "map<string,bigint>",
    "struct<a_b:map<string,string>>",
    "map<string,array<struct<a:map<string,int>>>>",
    "array<map<string,struct<a:string>>>",
    "array<array<map<string,string>>>",
    "not a type",
)


def named(kind: str, document: Any) -> Any:
    maps = map_columns(covered_fields([Column("m", kind)]))
    return json.loads(with_column_names(json.dumps(document).encode(), maps))


@pytest.mark.parametrize(
    ("kind", "value", "expected"),
    [
        ("map<string,bigint>", KEYS, KEYS),
        ("struct<a_b:map<string,bigint>>", {"A b": KEYS}, {"a_b": KEYS}),
        ("array<map<string,bigint>>", [KEYS], [KEYS]),
        ("array<map<string,bigint>>", KEYS, KEYS),
        ("map<string,struct<a:int>>", {"X": {"A": 1}}, {"X": {"a": 1}}),
        ("struct<ddb_a:int>", {"ddb_a": 1}, {"item_ddb_a": 1}),
        ("string", 5, 5),
    ],
)
def test_names_below_the_first_level(kind: str, value: Any, expected: Any) -> None:
    document = {"ddb_event_id": "e", "m": value, "other": {"A": 1}}
    expected_document = {"ddb_event_id": "e", "m": expected, "other": {"a": 1}}
    assert named(kind, document) == expected_document
    assert named(kind, expected_document) == expected_document


def test_keys_that_become_one_name_stay_apart() -> None:
    found = named("struct<x:int>", {"m": KEYS})["m"]
    assert list(found.values()) == list(KEYS.values())
    assert found == named("struct<x:int>", {"m": found})["m"]


@pytest.mark.parametrize(
    "record",
    [
        b"",
        b"{",
        b'{"m":{"A":NaN}}',
        b'{"m":{"A":1,"A":2}}',
        b'{"m":{"A":1}}{',
        b"\xff",
        b'{"m":' * 500 + b"1" + b"}" * 500,
        b'[{"A":1}]\n5',
        b' {"m":{"a":1E+2},\t"B":{"a":1}} \n',
    ],
)
def test_what_needs_no_names_stays_to_the_byte(record: bytes) -> None:
    assert with_column_names(record, map_columns(covered_fields([]))) == record


def test_numbers_and_texts_of_several_documents_stay_as_written() -> None:
    text = rb'{"m":{"A":1E+2,"b":0.10,"c":"\ud800 \u00e9"}}{"m":[12345678901234567890123456789]}'
    found = with_column_names(text, map_columns(covered_fields([])))
    assert found == (
        b'{"m":{"a":1E+2,"b":0.10,"c":"\\ud800 \\u00e9"}}\n{"m":[12345678901234567890123456789]}\n'
    )


VALUES = st.recursive(
    st.sampled_from([{"S": "x"}, {"N": "1.50"}, {"SS": ["A"]}, {"NULL": True}]),
    lambda inner: (
        st.lists(inner, max_size=3).map(lambda found: {"L": found})
        | st.dictionaries(
            st.sampled_from(["A", "a", "A b", "ddb_x", "é", "2024-01-01", "\ud800"]),
            inner,
            max_size=4,
        ).map(lambda found: {"M": found})
    ),
    max_leaves=8,
)


@given(value=VALUES, kind=st.sampled_from(TYPES))
def test_held_documents_get_the_names_that_delivered_ones_have(value: Any, kind: str) -> None:
    fields = covered_fields([Column("m", kind)])
    maps = map_columns(fields)
    item = {"M": value, "id": {"S": "k"}}
    delivered = item_json(item, Writing(Target(fields))).encode("utf-8", "backslashreplace")
    held = item_json(item, Writing(AS_WRITTEN)).encode("utf-8", "backslashreplace")
    assert json.loads(with_column_names(held, maps)) == json.loads(delivered)
    assert json.loads(with_column_names(delivered, maps)) == json.loads(delivered)
