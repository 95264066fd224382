"""Attribute values as JSON text: a table of values, and properties over all of DynamoDB's types."""

import base64
import json
from decimal import Decimal
from typing import Any

import pytest
from boto3.dynamodb.types import Binary
from hypothesis import given, settings
from hypothesis import strategies as st

from ddb_pipeline.dynamodb.scalars import all_json_numbers
from ddb_pipeline.dynamodb.targets import MAX_CACHED_NAMES
from ddb_pipeline.dynamodb.values import Writing, item_json, json_text
from ddb_pipeline.hive.names import column_names
from ddb_pipeline.hive.undecodable import UndecodableValueError
from ddb_pipeline_tests.support.scale import scaled

DIGITS_38 = "12345678901234567890123456789012345678"

VALUES = [
    ({"S": "a"}, '"a"'),
    ({"S": ""}, '""'),
    (
        {"S": 'quote " backslash \\ tab \t nul \x00'},
        '"quote \\" backslash \\\\ tab \\t nul \\u0000"',
    ),
    ({"S": "line\nbreak\r\n"}, '"line\\nbreak\\r\\n"'),
    ({"S": "Zürich 東京 🗼 \u2028"}, '"Zürich 東京 🗼 \u2028"'),
    ({"N": "0"}, "0"),
    ({"N": "-0"}, "-0"),
    ({"N": DIGITS_38}, DIGITS_38),
    ({"N": "-0." + DIGITS_38}, "-0." + DIGITS_38),
    ({"N": "1E+125"}, "1E+125"),
    ({"N": "9.9e-130"}, "9.9e-130"),
    ({"N": "1.10"}, "1.10"),
    ({"N": "0.1"}, "0.1"),
    ({"N": "+5"}, "5"),
    ({"N": ".5"}, "0.5"),
    ({"N": "-.5"}, "-0.5"),
    ({"N": "+.5E3"}, "0.5E3"),
    ({"N": "5."}, "5"),
    ({"N": "5.e2"}, "5e2"),
    ({"N": "007"}, "7"),
    ({"N": "-007.50"}, "-7.50"),
    ({"N": "00"}, "0"),
    ({"B": b"\x00\xff"}, '"AP8="'),
    ({"B": bytearray(b"a")}, '"YQ=="'),
    ({"B": Binary(b"abc")}, '"YWJj"'),
    ({"B": "AP8="}, '"AP8="'),
    ({"B": b""}, '""'),
    ({"B": ""}, '""'),
    ({"BOOL": True}, "true"),
    ({"BOOL": False}, "false"),
    ({"NULL": True}, "null"),
    ({"SS": ["b", "a", ""]}, '["b","a",""]'),
    ({"NS": ["1", "-2.50", DIGITS_38]}, f"[1,-2.50,{DIGITS_38}]"),
    ({"NS": [".5", "+1"]}, "[0.5,1]"),
    ({"BS": [b"\x00", "/w=="]}, '["AA==","/w=="]'),
    ({"L": []}, "[]"),
    ({"M": {}}, "{}"),
    ({"L": [{"S": "a"}, {"N": "1"}, {"NULL": True}, {"L": [{"L": []}]}]}, '["a",1,null,[[]]]'),
    ({"L": [{"M": {"a": {"N": "1"}}}, {"M": {"b": {"S": "x"}}}]}, '[{"a":1},{"b":"x"}]'),
    ({"L": [{"M": {"a": {"N": "1"}}}, {"S": "x"}]}, '[{"a":1},"x"]'),
    ({"M": {"Inner Name": {"M": {"x": {"SS": ["q"]}}}}}, '{"inner_name":{"x":["q"]}}'),
]


@pytest.mark.parametrize(("value", "text"), VALUES, ids=[str(v)[:40] for v, _ in VALUES])
def test_value(value: Any, text: str) -> None:
    assert json_text(value) == text
    assert item_json({"v": value}) == f'{{"v":{text}}}'


UNDECODABLE = [
    ({"a": {"S": 1}}, "a", "S holds a value of type int, not a string"),
    ({"a": {"S": None}}, "a", "S holds nothing"),
    ({"a": {"N": 1}}, "a", "N holds a value of type int"),
    ({"a": {"N": ""}}, "a", "not a number"),
    ({"a": {"N": "."}}, "a", "not a number"),
    ({"a": {"N": "1e"}}, "a", "not a number"),
    ({"a": {"N": "NaN"}}, "a", "not a number"),
    ({"a": {"N": "Infinity"}}, "a", "not a number"),
    ({"a": {"N": "true"}}, "a", "not a number"),
    ({"a": {"N": "1,2"}}, "a", "not a number"),
    ({"a": {"N": "1]"}}, "a", "not a number"),
    ({"a": {"N": '"1"'}}, "a", "not a number"),
    ({"a": {"N": "1_000"}}, "a", "not a number"),
    ({"a": {"N": "٣"}}, "a", "not a number"),
    ({"a": {"N": " 1"}}, "a", "not a number"),
    ({"a": {"N": "0x1"}}, "a", "not a number"),
    ({"a": {"B": 3}}, "a", "neither bytes nor base64"),
    ({"a": {"B": "not base64"}}, "a", "not base64"),
    ({"a": {"B": "AAA"}}, "a", "not base64"),
    ({"a": {"BOOL": "true"}}, "a", "BOOL holds a value of type str"),
    ({"a": {"BOOL": 1}}, "a", "BOOL holds a value of type int"),
    ({"a": {"NULL": False}}, "a", "NULL holds another value than true"),
    ({"a": {"SS": "abc"}}, "a", "SS holds a value of type str, not a list"),
    ({"a": {"NS": "123"}}, "a", "NS holds a value of type str, not a list"),
    ({"a": {"SS": ["x", 1]}}, "a[1]", "S holds a value of type int"),
    ({"a": {"NS": ["1", "x"]}}, "a[1]", "not a number"),
    ({"a": {"L": {"S": "x"}}}, "a", "L holds a value of type dict"),
    ({"a": {"L": [{"S": "x"}, "y"]}}, "a[1]", "expected an object with one type tag"),
    ({"a": {"L": [{"M": {"b": {"N": "1"}}}, {"M": {"b": {"N": "x"}}}]}}, "a[1].b", "not a number"),
    ({"a": {"L": [{"L": [{"S": 1}]}]}}, "a[0][0]", "S holds"),
    ({"a": {"M": {"b": {"M": {"c": {"Q": 1}}}}}}, "a.b.c", "type tag is none of S, N"),
    ({"a": {"M": [1]}}, "a", "expected an object, not a value of type list"),
    ({"a": {}}, "a", "expected one type tag, found 0"),
    ({"a": {"S": "x", "N": "1"}}, "a", "expected one type tag, found 2"),
    ({"ok": {"S": "x"}, "a": {"S": "x", "N": "1"}, "c": {}}, "a", "found 2"),
    ({"a": "x"}, "a", "expected an object with one type tag, not a value of type str"),
    ({"a": None}, "a", "expected an object with one type tag, not nothing"),
    (None, "", "expected an object, not nothing"),
    ([], "", "expected an object, not a value of type list"),
    ("x", "", "expected an object"),
]


@pytest.mark.parametrize(("item", "path", "reason"), UNDECODABLE)
def test_undecodable(item: Any, path: str, reason: str) -> None:
    with pytest.raises(UndecodableValueError, match="cannot be decoded") as raised:
        item_json(item)
    assert raised.value.path == path
    assert reason in raised.value.reason


@pytest.mark.parametrize(("item", "path", "reason"), UNDECODABLE)
def test_undecodable_with_numbers_checked_together(item: Any, path: str, reason: str) -> None:
    """A bad value is found at once, or its number fails the check of all numbers."""
    numbers: list[str] = []
    if reason == "not a number" or reason.startswith("N holds"):
        item_json(item, Writing(numbers=numbers))
        assert not all_json_numbers(numbers)
        return
    with pytest.raises(UndecodableValueError, match="cannot be decoded") as raised:
        item_json(item, Writing(numbers=numbers))
    assert raised.value.path == path
    assert reason in raised.value.reason


def test_nesting_beyond_pythons_recursion_limit() -> None:
    value: dict[str, Any] = {"S": "x"}
    for _ in range(100_000):
        value = {"L": [value]}
    with pytest.raises(UndecodableValueError, match="32 levels"):
        item_json({"a": value})
    while "L" in value:  # taken apart by hand: freeing it in one go would recurse as well
        value = value["L"].pop()


def test_thirty_two_levels() -> None:
    value: dict[str, Any] = {"N": "1"}
    for _ in range(32):
        value = {"M": {"a": value}}
    assert item_json(value["M"]).count('{"a":') == 32


def test_names_with_the_same_column_get_different_columns() -> None:
    item = {"a": {"S": "lower"}, "A": {"S": "upper"}}
    columns = column_names(item)
    assert json.loads(item_json(item)) == {columns["a"]: "lower", columns["A"]: "upper"}
    assert len(set(columns.values())) == 2


def test_more_names_than_are_cached() -> None:
    for number in range(3000):
        item = {f"attribute_{number}": {"N": str(number)}}
        assert item_json(item) == f'{{"attribute_{number}":{number}}}'
    names = [f"a{number}" for number in range(MAX_CACHED_NAMES + 1)]
    assert json.loads(item_json({name: {"S": name} for name in names})) == {n: n for n in names}


numbers_ = st.decimals(allow_nan=False, allow_infinity=False, places=None).map(str)
scalars_ = st.one_of(
    st.text().map(lambda text: {"S": text}),
    numbers_.map(lambda text: {"N": text}),
    st.binary().map(lambda data: {"B": data}),
    st.booleans().map(lambda flag: {"BOOL": flag}),
    st.just({"NULL": True}),
    st.lists(st.text(), min_size=1).map(lambda texts: {"SS": texts}),
    st.lists(numbers_, min_size=1).map(lambda texts: {"NS": texts}),
    st.lists(st.binary(), min_size=1).map(lambda datas: {"BS": datas}),
)
names_ = st.text(min_size=1, max_size=8)
values_ = st.recursive(
    scalars_,
    lambda inner: st.one_of(
        st.lists(inner, max_size=4).map(lambda elements: {"L": elements}),
        st.dictionaries(names_, inner, max_size=4).map(lambda members: {"M": members}),
    ),
    max_leaves=12,
)
items_ = st.dictionaries(names_, values_, max_size=6)


def plain(value: Any) -> Any:
    """The Python value that the JSON text stands for."""
    [(tag, content)] = value.items()
    if tag == "N":
        return Decimal(content)
    if tag == "NS":
        return [Decimal(text) for text in content]
    if tag == "B":
        return base64.b64encode(content).decode()
    if tag == "BS":
        return [base64.b64encode(data).decode() for data in content]
    if tag == "NULL":
        return None
    if tag == "L":
        return [plain(element) for element in content]
    if tag == "M":
        return plain_item(content)
    return content


def plain_item(item: Any) -> Any:
    columns = column_names(item)
    return {columns[name]: plain(value) for name, value in item.items()}


@given(items_)
@settings(max_examples=scaled(60))
def test_json_means_the_item(item: Any) -> None:
    text = item_json(item)
    assert json.loads(text, parse_int=Decimal, parse_float=Decimal) == plain_item(item)


@given(items_)
@settings(max_examples=scaled(60))
def test_numbers_checked_together_are_written_as_those_checked_individually(item: Any) -> None:
    numbers: list[str] = []
    text = item_json(item, Writing(numbers=numbers))
    assert all_json_numbers(numbers)
    assert text == item_json(item)


JSON_NUMBER_PIECES = st.lists(
    st.sampled_from(
        ["0", "1", "25", "-", "+", ".", "e", "E", ",", "]", "[", " ", '"', "true", "NaN"]
    ),
    max_size=6,
).map("".join)


@given(st.lists(JSON_NUMBER_PIECES, min_size=1, max_size=3))
@settings(max_examples=300)
def test_all_json_numbers(texts: list[str]) -> None:
    def is_number(text: str) -> bool:
        try:
            found = json.loads(text, parse_constant=str)
        except ValueError:
            return False
        return type(found) in (int, float) and text == text.strip()

    assert all_json_numbers(texts) == all(map(is_number, texts))
