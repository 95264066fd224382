"""Where values go in a table: data keys, and attributes that no column holds."""

import json
import random
from typing import Any

import pytest

from ddb_pipeline.dynamodb.targets import AS_WRITTEN, Target
from ddb_pipeline.dynamodb.values import Writing, item_json
from ddb_pipeline.hive.coverage import attributes_without_column, covered_fields
from ddb_pipeline.hive.types import Column
from ddb_pipeline.hive.undecodable import UndecodableValueError
from ddb_pipeline_tests.support.random_items import random_columns, random_item


def target(**columns: str) -> Target:
    return Target(covered_fields([Column(name, kind) for name, kind in columns.items()]))


DAYS = {"2024-01-01": {"N": "1"}, "User-0001": {"N": "4"}}
DATA = {"M": DAYS}
KEPT = {"2024-01-01": 1, "User-0001": 4}
FOLDED = {"2024_01_01": 1, "user_0001": 4}


@pytest.mark.parametrize(
    ("kind", "value", "expected"),
    [
        ("map<string,bigint>", DATA, KEPT),
        ("struct<x:bigint>", DATA, FOLDED),
        ("string", DATA, FOLDED),
        ("map<string,map<string,bigint>>", {"M": {"A b": DATA}}, {"A b": KEPT}),
        ("map<string,struct<x:bigint>>", {"M": {"A b": DATA}}, {"A b": FOLDED}),
        ("struct<a_b:map<string,bigint>>", {"M": {"A b": DATA}}, {"a_b": KEPT}),
        ("array<map<string,bigint>>", {"L": [DATA, {"S": "x"}]}, [KEPT, "x"]),
        ("array<map<string,bigint>>", DATA, KEPT),
        ("array<struct<a:map<string,bigint>>>", {"L": [{"M": {"A": DATA}}]}, [{"a": KEPT}]),
        ("array<array<map<string,bigint>>>", {"L": [{"L": [DATA]}]}, [[KEPT]]),
        ("map<string,bigint>", {"L": [DATA]}, [FOLDED]),
        ("map<string,bigint>", {"S": "x"}, "x"),
        ("map<string,bigint>", {"M": {}}, {}),
        ("map<string,bigint>", {"M": {"100%": {"N": "1"}}}, {"100%": 1}),
        ("array<array<map<string,bigint>>>", DATA, KEPT),
    ],
)
def test_keys_of_a_map_stay(kind: str, value: Any, expected: Any) -> None:
    without: list[str] | None = None
    for numbers in (without, []):
        writing = Writing(target(m=kind, other="string"), numbers)
        text = item_json({"id": {"S": "k"}, "M": value, "Other": DATA}, writing)
        assert json.loads(text) == {"id": "k", "m": expected, "other": FOLDED}


def test_keys_that_differ_in_case_only_stay() -> None:
    writing = Writing(target(m="map<string,bigint>"))
    found = json.loads(item_json({"m": {"M": {"A": {"N": "1"}, "a": {"N": "2"}}}}, writing))
    assert found == {"m": {"A": 1, "a": 2}}


def test_names_as_written() -> None:
    inner = {"M": {"A b": {"L": [{"M": {"ddb_X": {"S": "x"}}}, {"L": [DATA]}]}}}
    item: dict[str, Any] = {"The M": inner, "ddb_id": {"S": "k"}}
    found = json.loads(item_json(item, Writing(AS_WRITTEN)))
    assert found == {"the_m": {"A b": [{"ddb_X": "x"}, [KEPT]]}, "item_ddb_id": "k"}


@pytest.mark.parametrize(
    ("value", "path"),
    [
        ({"M": {"A b": {"N": "x"}}}, "m.A b"),
        ({"M": []}, "m"),
        ({"M": {"a": {}}}, "m.a"),
        ({"L": [{"M": {"a": 5}}]}, "m[0].a"),
        ({"M": {5: {"S": "x"}}}, "m"),
        ({"M": {"a": {"M": {"b": {"Q": 1}}}}}, "m.a.b"),
    ],
)
@pytest.mark.parametrize("kind", ["map<string,map<string,string>>", "array<map<string,string>>"])
def test_undecodable_values_in_a_map(kind: str, value: Any, path: str) -> None:
    writing = Writing(target(m=kind))
    with pytest.raises(UndecodableValueError) as raised:
        item_json({"m": value}, writing)
    assert raised.value.path == path


def test_a_value_nested_too_deep_in_a_map() -> None:
    value: Any = {"S": "x"}
    for _ in range(100_000):
        value = {"M": {"a": value}}
    writing = Writing(target(m="map<string,string>"))
    with pytest.raises(UndecodableValueError, match="32 levels"):
        item_json({"m": value}, writing)


@pytest.mark.parametrize(
    ("kind", "value", "lacks"),
    [
        ("string", {"S": "x"}, False),
        ("string", {"M": {"b": {"S": "x"}}}, False),
        ("struct<b:string>", {"M": {"B": {"S": "x"}}}, False),
        ("struct<b:string>", {"M": {"c": {"S": "x"}}}, True),
        ("struct<b:string>", {"M": {"c": {"NULL": True}}}, False),
        ("struct<b:string>", {"M": {}}, False),
        ("struct<b:string>", {"L": [{"M": {"c": {"S": "x"}}}]}, False),
        ("array<struct<b:string>>", {"L": [{"M": {"b": {"S": "x"}}}]}, False),
        ("array<struct<b:string>>", {"L": [{"NULL": True}, {"M": {"c": {"S": "x"}}}]}, True),
        ("array<struct<b:string>>", {"M": {"c": {"S": "x"}}}, True),
        ("map<string,struct<b:string>>", {"M": {"any key": {"M": {"b": {"S": "x"}}}}}, False),
        ("map<string,struct<b:string>>", {"M": {"any key": {"M": {"c": {"S": "x"}}}}}, True),
        ("struct<>", {"M": {"c": {"S": "x"}}}, True),
    ],
)
def test_an_attribute_without_column_is_noticed(kind: str, value: Any, lacks: bool) -> None:
    writing = Writing(target(m=kind))
    item_json({"m": value}, writing)
    assert writing.lacks_column is lacks


def test_attributes_of_the_row_without_column() -> None:
    writing = Writing(target(a="string"))
    item_json({"a": {"S": "x"}}, writing)
    assert not writing.lacks_column
    item_json({"a": {"S": "x"}, "b": {"NULL": True}}, writing)
    assert not writing.lacks_column
    item_json({"a": {"S": "x"}, "b": {"S": "x"}}, writing)
    assert writing.lacks_column
    item_json({"a": {"S": "x"}}, writing)
    assert writing.lacks_column


def test_the_writer_notices_every_attribute_that_the_document_shows_to_lack_a_column() -> None:
    """What the writer lets pass is not looked at again: it may be too strict, never too lax."""
    draw = random.Random(5)
    noticed = strict = 0
    for _ in range(3000):
        columns = random_columns(draw)
        fields = covered_fields(columns[draw.randrange(2) :])
        item = random_item(draw, columns, draw.choice([0.0, 0.1, 0.5]))
        writing = Writing(Target(fields))
        try:
            document = json.loads(item_json(item, writing))
        except UndecodableValueError:
            continue
        lacks = bool(attributes_without_column(document, fields))
        assert writing.lacks_column or not lacks, (columns, item)
        noticed += lacks
        strict += writing.lacks_column and not lacks
    assert noticed > 500
    assert strict < noticed / 5
