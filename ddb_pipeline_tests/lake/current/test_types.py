from decimal import Decimal
from typing import Any

import pyarrow as pa
import pytest

from ddb_pipeline.arrow_types import arrow_schema
from ddb_pipeline.hive.types import Column
from ddb_pipeline.lake.current.types import joined_columns, widened

CASES: list[tuple[str, str, str, list[Any], list[Any]]] = [
    ("bigint", "decimal(3,1)", "decimal(21,1)", [5, None], [Decimal("5.0"), None]),
    ("decimal(3,1)", "bigint", "decimal(21,1)", [Decimal("1.5")], [Decimal("1.5")]),
    ("int", "bigint", "bigint", [2**31 - 1, -(2**31)], [2**31 - 1, -(2**31)]),
    ("bigint", "double", "string", [5, -(2**62)], ["5", str(-(2**62))]),
    ("double", "bigint", "string", [0.1, 1e20, 5.0], ["0.1", "100000000000000000000", "5"]),
    ("boolean", "string", "string", [True, False], ["true", "false"]),
    ("binary", "string", "string", [b"\x00\xff"], ["AP8="]),
    ("string", "array<string>", "string", ["a"], ["a"]),
    (
        "array<bigint>",
        "array<decimal(2,1)>",
        "array<decimal(21,1)>",
        [[1], [], None],
        [[1], [], None],
    ),
    ("array<bigint>", "bigint", "string", [[1, 2], []], ["[1,2]", "[]"]),
    (
        "struct<a:bigint>",
        "struct<b:string,a:decimal(2,1)>",
        "struct<a:decimal(21,1),b:string>",
        [{"a": 1}, None, {"a": None}],
        [{"a": 1, "b": None}, None, {"a": None, "b": None}],
    ),
    (
        "struct<a:bigint,b:bigint>",
        "map<string,bigint>",
        "map<string,bigint>",
        [{"a": 1, "b": 2}, {"a": None, "b": 3}, None, {"a": None, "b": None}],
        [[("a", 1), ("b", 2)], [("b", 3)], None, []],
    ),
    (
        "map<string,bigint>",
        "struct<a:bigint>",
        "map<string,bigint>",
        [[("x", 1)]],
        [[("x", 1)]],
    ),
    (
        "map<string,bigint>",
        "map<string,decimal(3,2)>",
        "map<string,decimal(22,2)>",
        [[("x", 1), ("y", 2)], None, []],
        [[("x", 1), ("y", 2)], None, []],
    ),
    (
        "struct<a:array<bigint>,m:map<string,bigint>,d:double,z:binary>",
        "bigint",
        "string",
        [{"a": [1, 2], "m": [("k", 1)], "d": 0.5, "z": b"\x00"}, {"m": []}],
        ['{"a":[1,2],"m":{"k":1},"d":0.5,"z":"AA=="}', '{"m":{}}'],
    ),
    (
        "array<struct<a:bigint>>",
        "array<struct<b:string>>",
        "array<struct<a:bigint,b:string>>",
        [[{"a": 1}, None], None],
        [[{"a": 1, "b": None}, None], None],
    ),
]


@pytest.mark.parametrize(("current", "incoming", "joined", "values", "expected"), CASES)
def test_joined(
    current: str, incoming: str, joined: str, values: list[Any], expected: list[Any]
) -> None:
    found = joined_columns([Column("c", current)], [Column("c", incoming)])
    assert found.columns == (Column("c", joined),)
    assert found.changed_from([Column("c", current)]) == (joined != current)
    kinds = [arrow_schema([Column("c", text)]).field(0).type for text in (current, joined)]
    for padding in ([], [None]):
        # Sliced, since offsets then do not begin at 0.
        array = pa.array([*padding, *values], kinds[0]).slice(len(padding))
        assert widened(array, kinds[1]).to_pylist() == expected
    # Joining again changes nothing.
    assert joined_columns(found.columns, [Column("c", incoming)]).columns == found.columns
    assert joined_columns(found.columns, [Column("c", current)]).columns == found.columns


def test_new_columns_are_appended_and_missing_ones_stay() -> None:
    found = joined_columns([Column("b", "int")], [Column("a", "string"), Column("c", "date")])
    assert [column.name for column in found.columns] == ["b", "a", "c"]
    assert not found.conflicts


def test_a_conflict_is_reported() -> None:
    found = joined_columns([Column("c", "bigint")], [Column("c", "boolean")])
    assert found.conflicts == ("c: bigint and boolean are stored as string",)
