"""The fast path compared with the exact path, and both with tables of expected values."""

import json
import os
import random
import sys
from collections import Counter
from datetime import date, datetime
from decimal import Decimal
from typing import Any

import pyarrow as pa
import pytest

from ddb_pipeline.export.rows.exact import ExactRows
from ddb_pipeline.export.rows.reader import MAX_LEARNED_NAMES, ExportReader
from ddb_pipeline.hive.types import Column
from ddb_pipeline.hive.undecodable import UndecodableValueError
from ddb_pipeline_tests.support.random_items import random_columns, random_line

RANDOM_ITEMS = int(os.environ.get("DDB_PIPELINE_RANDOM_ITEMS", "30000"))
DIGITS_38 = "12345678901234567890123456789012345678"


def key(row: dict[str, Any]) -> str:
    """Equal for equal rows; the entries of a map have no order."""
    return repr([(name, unordered(row[name])) for name in sorted(row)])


def unordered(value: Any) -> Any:
    if isinstance(value, dict):
        return {name: unordered(inner) for name, inner in value.items()}
    if not isinstance(value, list):
        return value
    if value and isinstance(value[0], tuple):
        return sorted((name, unordered(inner)) for name, inner in value)
    return list(map(unordered, value))


def by_exact_path(columns: list[Column], lines: list[bytes]) -> tuple[Counter[str], list[Any]]:
    exact = ExactRows(columns)
    schema = ExportReader(columns).schema
    rows, rejected = [], []
    for line in lines:
        try:
            rows.append(exact.line(line))
        except UndecodableValueError as error:
            rejected.append((line, error.path, error.reason))
    return Counter(map(key, pa.Table.from_pylist(rows, schema).to_pylist())), sorted(rejected)


def compare_with_exact_path(columns: list[Column], blocks: list[list[bytes]]) -> int:
    """Compare one reader with the exact path; returns how many lines the reader left to it."""
    reader = ExportReader(columns)
    slow = 0
    for lines in blocks:
        rows = reader.rows(b"\n".join(lines) + b"\n")
        rows.table.validate(full=True)
        expected, refused = by_exact_path(columns, lines)
        assert Counter(map(key, rows.table.to_pylist())) == expected, columns
        assert sorted((r.line, r.path, r.reason) for r in rows.rejected) == refused, columns
        slow += rows.exact_lines
    return slow


def test_random_items_of_random_schemas_equal_the_exact_path() -> None:
    rng = random.Random(11)
    done = 0
    while done < RANDOM_ITEMS:
        columns = random_columns(rng)
        misfits = rng.choice((0.0, 0.0, 0.0005, 0.01, 0.2))
        blocks = [
            [random_line(rng, columns, misfits) for _ in range(rng.choice((1, 40, 1500)))]
            for _ in range(3)
        ]
        compare_with_exact_path(columns, blocks)
        done += sum(map(len, blocks))


def line(**attributes: Any) -> bytes:
    return json.dumps({"Item": attributes}, ensure_ascii=False).encode()


VALUES: list[tuple[str, Any, Any]] = [
    ("string", {"S": ""}, ""),
    ("string", {"S": "2026-11-24"}, "2026-11-24"),
    ("string", {"N": DIGITS_38}, DIGITS_38),
    ("string", {"N": "1E+2"}, "1E+2"),
    ("string", {"BOOL": True}, "true"),
    ("string", {"B": "AAE="}, "AAE="),
    ("string", {"NULL": True}, None),
    ("string", {"L": [{"N": "1.50"}, {"S": "a"}]}, '[1.50,"a"]'),
    ("string", {"M": {"S": {"S": "x"}, "M": {"NULL": True}}}, '{"s":"x","m":null}'),
    ("string", {"NS": ["1", "2"]}, "[1,2]"),
    ("bigint", {"N": "9223372036854775807"}, 2**63 - 1),
    ("bigint", {"N": "-9223372036854775808"}, -(2**63)),
    ("bigint", {"N": "9223372036854775808"}, "integer of 64 bits"),
    ("bigint", {"N": "1E+2"}, 100),
    ("bigint", {"N": "12.50E1"}, 125),
    ("bigint", {"N": "12.5"}, "integer of 64 bits"),
    ("bigint", {"N": "0x10"}, "not a number"),
    ("bigint", {"S": "12"}, "type S does not fit"),
    ("tinyint", {"N": "-128"}, -128),
    ("tinyint", {"N": "128"}, "integer of 8 bits"),
    ("double", {"N": "0.1"}, 0.1),
    ("double", {"N": "0.8444218515250481"}, 0.8444218515250481),
    ("double", {"N": "0.84442185152504813"}, "more digits than a double"),
    ("double", {"N": "9.9E+125"}, 9.9e125),
    ("double", {"N": "9007199254740993"}, "more digits than a double"),
    ("float", {"N": "0.1"}, pytest.approx(0.1)),
    ("float", {"N": "0.123456789"}, "more digits than a float"),
    ("decimal(38,6)", {"N": "12345678901234567890123456789012.123456"}, None),
    ("decimal(5,2)", {"N": "123.4"}, Decimal("123.40")),
    ("decimal(5,2)", {"N": "1E+2"}, Decimal("100.00")),
    ("decimal(5,2)", {"N": "1.234"}, "digits after the point"),
    ("decimal(5,2)", {"N": "1234"}, "too large"),
    ("boolean", {"BOOL": False}, False),
    ("boolean", {"S": "true"}, "type S does not fit"),
    ("binary", {"B": "AAE="}, b"\x00\x01"),
    ("binary", {"B": "A?"}, "not base64"),
    ("varchar(2)", {"S": "ab"}, "ab"),
    ("varchar(2)", {"S": "abc"}, "longer than"),
    ("date", {"S": "2026-11-24"}, date(2026, 11, 24)),
    ("timestamp", {"S": "2026-11-24T10:30:00+01:00"}, datetime(2026, 11, 24, 9, 30)),
    ("array<string>", {"SS": ["a", ""]}, ["a", ""]),
    ("array<string>", {"L": [{"S": "a"}, {"NULL": True}, {"N": "5"}]}, ["a", None, "5"]),
    ("array<string>", {"L": []}, []),
    ("array<bigint>", {"NS": ["1", "1E1"]}, [1, 10]),
    ("array<bigint>", {"NS": ["1", "1.5"]}, "integer of 64 bits"),
    ("array<bigint>", {"SS": ["1"]}, "type S does not fit"),
    ("array<binary>", {"BS": ["AAE="]}, [b"\x00\x01"]),
    ("array<array<bigint>>", {"L": [{"NS": ["1"]}, {"L": [{"N": "2"}]}]}, [[1], [2]]),
    ("map<string,bigint>", {"M": {"2026-11-24": {"N": "1"}}}, [("2026-11-24", 1)]),
    ("map<string,bigint>", {"M": {}}, []),
    ("struct<s:string,n:bigint>", {"M": {"S": {"S": "x"}}}, {"s": "x", "n": None}),
    ("struct<s:string>", {"M": {"S": {"S": "x"}, "new": {"L": []}}}, {"s": "x"}),
    ("struct<s:string>", {"M": {"new": {"N": "1"}}}, "there is no column"),
    ("struct<s:string>", {"S": "x"}, "type S does not fit"),
]


@pytest.mark.parametrize(("kind", "value", "expected"), VALUES)
def test_a_value_is_exact_or_refused_with_a_reason(kind: str, value: Any, expected: Any) -> None:
    columns = [Column("a", kind)]
    if kind == "decimal(38,6)":
        expected = Decimal(value["N"])
    refused = isinstance(expected, str) and kind not in ("string", "varchar(2)")
    refused = refused or expected == "longer than"
    for copies in (1, 100):
        rows = ExportReader(columns).rows(b"\n".join([line(a=value)] * copies))
        if refused:
            assert not len(rows.table)
            assert {r.line for r in rows.rejected} == {line(a=value)}
            assert len(rows.rejected) == copies
            assert all(expected in r.reason and r.path.startswith("a") for r in rows.rejected)
        else:
            assert rows.table["a"].to_pylist() == [expected] * copies
            assert not rows.rejected


def test_well_formed_items_do_not_need_the_exact_path() -> None:
    columns = [
        Column("id", "string"),
        Column("n", "bigint"),
        Column("tags", "array<string>"),
        Column("inner", "struct<at:double,ids:array<bigint>>"),
        Column("maybe", "string"),
        Column("raw", "binary"),
        Column("raws", "array<binary>"),
        Column("day", "date"),
        Column("at", "timestamp"),
        Column("code", "varchar(9)"),
    ]
    lines = [
        line(
            Id={"S": f"item {number} 東京"},
            n={"N": str(number)},
            tags={"SS": ["2026-11-24", "b"]},
            inner={"M": {"at": {"N": "1.25"}, "IDs": {"NS": ["1", "2"]}}},
            raw={"B": "AAE=" if number % 2 else ""},
            raws={"BS": ["AAE=", "AAI="]},
            day={"S": "2026-11-24"},
            at={"S": f"2026-11-24T10:30:00.{number:06d}Z"},
            code={"S": f"c{number}"},
            **({"maybe": {"NULL": True} if number % 3 else {"N": "1.50"}} if number % 2 else {}),
        )
        for number in range(3000)
    ]
    assert compare_with_exact_path(columns, [lines, lines]) == 0


def test_maps_whose_keys_are_data_do_not_need_the_exact_path() -> None:
    columns = [Column("per_id", "map<string,struct<n:bigint>>"), Column("x", "bigint")]
    lines = [
        line(
            per_id={"M": {f"{number}-{part}": {"M": {"n": {"N": "1"}}} for part in range(3)}},
            x={"N": "1"},
        )
        for number in range(2 * MAX_LEARNED_NAMES)
    ]
    assert compare_with_exact_path(columns, [lines, lines]) == 0


def test_irregular_lines_do_not_send_their_neighbours_to_the_exact_path() -> None:
    columns = [Column("n", "bigint")]
    lines = [line(n={"N": str(number)}) for number in range(20_000)]
    lines[7_000] = b"no json"
    lines[12_000] = line(n={"S": "text"})
    lines[12_001] = line(n={"N": "1E+2"})
    reader = ExportReader(columns)
    rows = reader.rows(b"\n".join(lines))
    assert (len(rows.table), len(rows.rejected)) == (19_998, 2)
    assert rows.exact_lines < 40


def test_an_item_of_the_largest_size() -> None:
    value = {"S": "x" * 390_000}
    rows = ExportReader([Column("a", "string")]).rows(line(a=value))
    assert rows.table["a"].to_pylist() == [value["S"]]


def test_irregular_lines_before_a_long_one() -> None:
    lines = [b"no json"] * 50 + [line(a={"S": "x" * 10_000})]
    rows = ExportReader([Column("a", "string")]).rows(b"\n".join(lines))
    assert (len(rows.table), len(rows.rejected)) == (1, 50)


@pytest.mark.parametrize("block", [b"", b"\n", b"\n\n", b"\r\n"])
def test_blank_lines_are_not_rows(block: bytes) -> None:
    rows = ExportReader([Column("a", "string")]).rows(block)
    assert (len(rows.table), rows.rejected) == (0, ())


def test_names_that_differ_in_case() -> None:
    columns = [Column("a", "bigint"), Column("a_559aead0", "bigint")]
    lines = [line(A={"N": "1"})] * 50 + [line(a={"N": "2"})] * 20
    lines += [line(a={"N": "3"}, A={"N": "4"})] * 30
    compare_with_exact_path(columns, [lines])
    rows = ExportReader(columns).rows(b"\n".join(lines)).table.to_pylist()
    assert Counter((row["a"], row["a_559aead0"]) for row in rows) == {
        (1, None): 50,
        (2, None): 20,
        (3, 4): 30,
    }


@pytest.mark.parametrize("opening", ["array<", "map<string,", "struct<a:", "array<struct<a:"])
def test_readers_of_nested_types_grow_with_the_depth(opening: str) -> None:
    """Not with the number of paths through a type, which doubles at each level of lists."""
    calls = [calls_of_reading(opening, levels) for levels in (4, 8, 16)]
    # Each level also prints and converts the Arrow type of what is below it.
    assert calls[2] - calls[1] < 5 * (calls[1] - calls[0]), calls


def calls_of_reading(opening: str, levels: int) -> int:
    kind = opening * levels + "bigint" + ">" * (levels * opening.count("<"))
    value: Any = {"N": "1"}
    for step in reversed(opening.split("<")[:-1] * levels):
        value = {"L": [value]} if step.endswith("array") else {"M": {"a": value}}
    calls = 0

    def count(frame: Any, event: str, argument: Any) -> None:
        nonlocal calls
        calls += event in ("call", "c_call")

    sys.setprofile(count)
    try:
        reader = ExportReader([Column("v", kind)])
        by_fast_path, by_exact_path = reader.rows(line(v=value)), reader.rows(line(v=value) + b" ")
    finally:
        sys.setprofile(None)
    assert (by_fast_path.exact_lines, by_exact_path.exact_lines) == (0, 1)
    assert by_fast_path.table.equals(by_exact_path.table)
    return calls
