"""Attributes without a column, which a conversion would drop."""

import pytest

from ddb_pipeline.hive.coverage import attributes_without_column, covered_fields
from ddb_pipeline.hive.types import Column


@pytest.mark.parametrize(
    ("case", "columns", "document", "expected"),
    [
        ("all have columns", {"a": "string"}, {"a": "x"}, ()),
        ("a new attribute", {"a": "string"}, {"a": "x", "b": 1}, ("b",)),
        ("names do not fold their case", {"a": "string"}, {"A": "x"}, ("A",)),
        ("null holds nothing", {"a": "string"}, {"b": None}, ()),
        ("nor do empty containers", {}, {"b": [], "c": {}, "d": [None, {}]}, ()),
        (
            "zero, false and empty text are values",
            {},
            {"a": 0, "b": False, "c": ""},
            ("a", "b", "c"),
        ),
        ("inside a struct", {"m": "struct<x:int>"}, {"m": {"x": 1, "y": 2}}, ("m.y",)),
        (
            "inside structs in an array",
            {"l": "array<struct<x:int>>"},
            {"l": [{"x": 1}, {"y": {"z": 1}}, {"y": 2}]},
            ("l[].y",),
        ),
        ("an object where an array is", {"l": "array<struct<x:int>>"}, {"l": {"y": 1}}, ("l[].y",)),
        ("any key of a map", {"m": "map<string,int>"}, {"m": {"p": 1, "q": 2}}, ()),
        (
            "but not any field of its values",
            {"m": "map<string,struct<x:int>>"},
            {"m": {"p": {"x": 1}, "q": {"y": 1}}},
            ("m[].y",),
        ),
        ("a string column holds any object", {"s": "string"}, {"s": {"x": [1]}}, ()),
        (
            "a set is an array in records",
            {"s": "set<struct<x:int>>"},
            {"s": [{"y": 1}]},
            ("s[].y",),
        ),
        ("a type that is not valid holds all", {"s": "struct<"}, {"s": {"y": 1}}, ()),
        (
            "a scalar instead of a struct is no new attribute",
            {"m": "struct<x:int>"},
            {"m": 3},
            (),
        ),
    ],
)
def test_attributes_without_column(
    case: str, columns: dict[str, str], document: dict[str, object], expected: tuple[str, ...]
) -> None:
    names = covered_fields([Column(name, text) for name, text in columns.items()])
    assert attributes_without_column(document, names) == expected, case


def test_a_type_that_is_nested_too_deep_holds_any_value() -> None:
    text = "struct<a:" * 200 + "int" + ">" * 200
    value: object = {"b": 1}
    for _ in range(199):
        value = {"a": value}
    assert attributes_without_column({"c": value}, covered_fields([Column("c", text)])) == ()
