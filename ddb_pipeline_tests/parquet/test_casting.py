"""Casts to wider types keep each value, also in slices; other casts are refused by name."""

from decimal import Decimal
from typing import Any

import pyarrow as pa
import pytest

from ddb_pipeline.arrow_types import arrow_schema
from ddb_pipeline.hive.types import parse_type
from ddb_pipeline.hive.widening import wider_type
from ddb_pipeline.parquet.casting import TypeConflictError, cast_table

CASES: list[tuple[str, str, list[Any], list[Any]]] = [
    ("int", "int", [1, None], [1, None]),
    ("tinyint", "smallint", [-128, None], [-128, None]),
    ("int", "bigint", [-(2**31), None], [-(2**31), None]),
    ("int", "decimal(12,2)", [7, None], [Decimal("7.00"), None]),
    ("bigint", "decimal(38,19)", [-(2**63)], [Decimal(-(2**63))]),
    ("decimal(4,2)", "decimal(7,3)", [Decimal("12.34")], [Decimal("12.340")]),
    ("float", "double", [0.5, None], [0.5, None]),
    ("varchar(3)", "string", ["abc"], ["abc"]),
    ("array<int>", "array<bigint>", [[1, None], None, []], [[1, None], None, []]),
    ("map<string,int>", "map<string,bigint>", [[("a", 1)], None, []], [[("a", 1)], None, []]),
    (
        "struct<a:int,b:array<struct<c:int>>>",
        "struct<b:array<struct<c:bigint,d:string>>,a:decimal(10,0),e:map<string,int>>",
        [{"a": 1, "b": [{"c": 2}, None]}, None, {"a": None, "b": None}],
        [
            {"b": [{"c": 2, "d": None}, None], "a": Decimal(1), "e": None},
            None,
            {"b": None, "a": None, "e": None},
        ],
    ),
    ("struct<a:int,b:string>", "struct<a:int>", [{"a": 1, "b": None}], [{"a": 1}]),
    ("string", "array<int>", [None, None], [None, None]),
]


def column(text: str, values: list[Any]) -> pa.Table:
    return pa.Table.from_pylist([{"c": value} for value in values], arrow_schema([("c", text)]))


@pytest.mark.parametrize(("found", "wanted", "values", "expected"), CASES)
def test_values_stay(found: str, wanted: str, values: list[Any], expected: list[Any]) -> None:
    table, schema = column(found, values), arrow_schema([("c", wanted)])
    for start in range(len(values) + 1):
        for length in range(len(values) - start + 1):
            cast = cast_table(table.slice(start, length), schema)
            cast.validate(full=True)
            assert cast.schema.equals(schema)
            assert cast.column("c").to_pylist() == expected[start : start + length]
    chunked = pa.concat_tables([table, table.slice(1), table.slice(0, 1)])
    assert cast_table(chunked, schema).column("c").to_pylist() == [
        *expected,
        *expected[1:],
        *expected[:1],
    ]


@pytest.mark.parametrize(
    ("found", "wanted", "values", "path"),
    [
        ("bigint", "int", [1], "c"),
        ("double", "float", [1.0], "c"),
        ("double", "bigint", [1.0], "c"),
        ("int", "double", [1], "c"),
        ("string", "int", ["1"], "c"),
        ("int", "string", [1], "c"),
        ("bigint", "decimal(18,0)", [1], "c"),
        ("decimal(5,3)", "decimal(9,2)", [Decimal("0.125")], "c"),
        ("array<struct<a:string>>", "array<struct<a:int>>", [[{"a": "1"}]], "c[].a"),
        ("map<string,double>", "map<string,int>", [[("k", 1.0)]], "c{}"),
        ("map<string,int>", "struct<k:int>", [[("k", 1)]], "c"),
        ("struct<a:int,b:int>", "struct<a:int>", [{"a": 1, "b": 2}], "c.b"),
    ],
)
def test_other_types_are_refused(found: str, wanted: str, values: list[Any], path: str) -> None:
    with pytest.raises(TypeConflictError) as caught:
        cast_table(column(found, values), arrow_schema([("c", wanted)]))
    assert caught.value.path == path


def test_a_column_with_values_is_never_dropped() -> None:
    schema = arrow_schema([("d", "int")])
    with pytest.raises(TypeConflictError, match="c has values"):
        cast_table(column("int", [1, None]), schema)
    assert cast_table(column("int", [None]), schema).to_pylist() == [{"d": None}]


NARROW = {
    **dict.fromkeys(("tinyint", "smallint", "int", "bigint"), 1),
    **dict.fromkeys(("float", "double"), 0.5),
    **dict.fromkeys(("string", "varchar(9)"), "1"),
    **dict.fromkeys(("decimal(3,1)", "decimal(10,0)", "decimal(38,10)"), Decimal(1)),
}


@pytest.mark.parametrize("one", NARROW)
@pytest.mark.parametrize("other", NARROW)
def test_the_wider_of_two_types_holds_both(one: str, other: str) -> None:
    wider = wider_type(parse_type(one), parse_type(other))
    if wider is not None:
        for text in (one, other):
            cast = cast_table(column(text, [None, NARROW[text]]), arrow_schema([("c", str(wider))]))
            assert cast.column("c").to_pylist() == [None, NARROW[text]]
