"""Both readers compared with the exact path, and all three with tables of expected values."""

import json
import random
import sys
from collections import Counter
from datetime import date, datetime
from decimal import Decimal
from typing import Any

import pyarrow as pa
import pytest

from ddb_pipeline.arrow_types import arrow_schema
from ddb_pipeline.export.rows.exact import ExactRows
from ddb_pipeline.export.rows.reader import MAX_LEARNED_NAMES, ExportReader
from ddb_pipeline.hive.types import Column
from ddb_pipeline.hive.undecodable import UndecodableValueError
from ddb_pipeline_tests.soak.mutation import mutated_bytes, mutated_document
from ddb_pipeline_tests.support.native_library import require_reader
from ddb_pipeline_tests.support.random_items import random_columns, random_item, random_line
from ddb_pipeline_tests.support.scale import scaled

RANDOM_ITEMS = scaled(8_000)
DIGITS_38 = "12345678901234567890123456789012345678"


@pytest.fixture(params=[True, False], ids=["native", "arrow"])
def native(request: pytest.FixtureRequest) -> bool:
    """Whether the reader in C is tested, or the one without it."""
    return require_reader(request.param)


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
    schema = arrow_schema(columns)
    rows, rejected = [], []
    for line in lines:
        try:
            rows.append(exact.line(line))
        except UndecodableValueError as error:
            rejected.append((line, error.path, error.reason))
    return Counter(map(key, pa.Table.from_pylist(rows, schema).to_pylist())), sorted(rejected)


def compare_with_exact_path(columns: list[Column], blocks: list[list[bytes]], native: bool) -> int:
    """Compare one reader with the exact path; returns how many lines the reader left to it."""
    reader = ExportReader(columns, native=native)
    slow = 0
    for lines in blocks:
        rows = reader.rows(b"\n".join(lines) + b"\n")
        rows.table.validate(full=True)
        expected, refused = by_exact_path(columns, lines)
        assert Counter(map(key, rows.table.to_pylist())) == expected, columns
        assert sorted((r.line, r.path, r.reason) for r in rows.rejected) == refused, columns
        assert [lines[number] for number in rows.rejected_numbers] == [
            r.line for r in rows.rejected
        ]
        assert sorted([*rows.numbers, *rows.rejected_numbers]) == list(range(len(lines)))
        for row, number in list(zip(rows.table.to_pylist(), rows.numbers, strict=True))[::50]:
            assert Counter([key(row)]) == by_exact_path(columns, [lines[number]])[0]
        slow += rows.exact_lines
    return slow


@pytest.mark.timeout(max(300, RANDOM_ITEMS // 50))
def test_random_items_of_random_schemas_equal_the_exact_path(native: bool) -> None:
    rng = random.Random(11)
    done = 0
    while done < RANDOM_ITEMS:
        columns = random_columns(rng)
        misfits = rng.choice((0.0, 0.0, 0.0005, 0.01, 0.2))
        blocks = [
            [random_line(rng, columns, misfits) for _ in range(rng.choice((1, 40, 1500)))]
            for _ in range(3)
        ]
        compare_with_exact_path(columns, blocks, native)
        done += sum(map(len, blocks))


def test_types_that_the_scanner_leaves_inside_of_others(native: bool) -> None:
    columns = [
        Column("m", "map<int,string>"),
        Column("s", "struct<x:map<int,string>,n:bigint>"),
        Column("l", "array<map<int,array<string>>>"),
        Column("k", "map<string,map<int,string>>"),
    ]
    number = {"M": {"1": {"S": "a"}}}
    lines = [
        line(s={"M": {"n": {"N": "5"}}}, l={"L": []}, k={"M": {}}),
        line(m=number),
        line(s={"M": {"x": number}}),
        line(k={"M": {"a": {"NULL": True}}}, l={"L": [{"NULL": True}]}),
        line(l={"L": [{"M": {"7": {"SS": ["b"]}}}]}, k={"M": {"a": number}}),
    ]
    assert compare_with_exact_path(columns, [lines], native) <= len(lines)


def test_a_column_outlives_its_table_and_the_reader(native: bool) -> None:
    columns = [Column("a", "struct<b:array<string>,n:bigint>"), Column("c", "string")]
    lines = [
        line(a={"M": {"b": {"L": [{"S": "x" * number}]}}}, c={"S": "y"}) for number in range(2000)
    ]
    rows = ExportReader(columns, native=native).rows(b"\n".join(lines))
    texts = [chunk.field("b") for chunk in rows.table.column("a").chunks]
    del rows
    again = ExportReader(columns, native=native).rows(b"\n".join(reversed(lines)))
    found = [text for chunk in texts for text in chunk.to_pylist()]
    assert found == [["x" * number] for number in range(2000)]
    assert again.table.num_rows == 2000


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
    ("bigint", {"N": "1E+99999999999"}, "not a number"),
    ("double", {"N": "1E-99999999999"}, "not a number"),
    ("double", {"N": "1E+999999999"}, "more digits than a double"),
    ("float", {"N": "1E-99999999999999999999"}, "not a number"),
    ("decimal(5,2)", {"N": "1E-99999999999999999999"}, "not a number"),
    ("decimal(5,2)", {"N": "1E-999999999"}, "digits after the point"),
    ("timestamp", {"N": "1E+99999999999"}, "not a number"),
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
    ("decimal(38,6)", {"N": "9" * 5_000}, "too large"),
    ("bigint", {"N": "00012"}, 12),
    ("bigint", {"N": "-0"}, 0),
    ("bigint", {"N": "-"}, "not a number"),
    ("double", {"N": "-0"}, -0.0),
    ("double", {"N": "0.000001808649726379174"}, 0.000001808649726379174),
    ("double", {"N": "0.5000000000000001"}, 0.5000000000000001),
    ("double", {"N": "0.4999999999999999"}, 0.4999999999999999),
    ("double", {"N": "123456789.12345678"}, 123456789.12345678),
    ("double", {"N": "123456789.123456789"}, "more digits than a double"),
    *[
        (kind, {"N": text}, "")
        for kind in ("bigint", "double", "float", "decimal(9,2)", "timestamp")
        for text in ("1E+99999999999999999999", "-1E-99999999999999999999", "1E+9999999999")
    ],
    ("float", {"N": "-1234.5"}, -1234.5),
    ("decimal(38,0)", {"N": "9" * 38}, Decimal("9" * 38)),
    ("decimal(38,38)", {"N": "0." + "9" * 38}, Decimal("0." + "9" * 38)),
    ("decimal(20,0)", {"N": "-" + "9" * 20}, Decimal("-" + "9" * 20)),
    ("decimal(38,20)", {"N": "-123456789012345678.12345"}, Decimal("-123456789012345678.12345")),
    ("boolean", {"BOOL": False}, False),
    ("boolean", {"S": "true"}, "type S does not fit"),
    ("binary", {"B": "AAE="}, b"\x00\x01"),
    ("binary", {"B": "A?"}, "not base64"),
    ("varchar(2)", {"S": "ab"}, "ab"),
    ("varchar(2)", {"S": "abc"}, "longer than"),
    ("varchar(2)", {"S": "東京"}, "東京"),
    ("char(2)", {"S": "東京都"}, "longer than"),
    ("binary", {"B": "AAF="}, b"\x00\x01"),
    ("date", {"S": "2026-11-24"}, date(2026, 11, 24)),
    ("date", {"S": "2024-02-29"}, date(2024, 2, 29)),
    ("date", {"S": "1900-02-29"}, "not a date"),
    ("date", {"S": "0001-01-01"}, date(1, 1, 1)),
    ("date", {"S": "9999-12-31"}, date(9999, 12, 31)),
    ("date", {"S": "0000-01-01"}, "not a date"),
    ("timestamp", {"S": "2026-11-24"}, datetime(2026, 11, 24)),
    ("timestamp", {"S": "2026-11-24 10:30:00.123456"}, datetime(2026, 11, 24, 10, 30, 0, 123456)),
    ("timestamp", {"S": "2026-11-24T10:30:00.1234567Z"}, "digits past microseconds"),
    ("timestamp", {"S": "2026-11-24T24:00:00"}, "not an ISO 8601"),
    ("timestamp", {"N": "-62135596800"}, datetime(1, 1, 1)),
    ("timestamp", {"N": "253402300799999"}, datetime(9999, 12, 31, 23, 59, 59, 999000)),
    ("timestamp", {"N": "999999999999"}, "outside of the years"),
    ("timestamp", {"N": "1000000000000"}, datetime(2001, 9, 9, 1, 46, 40)),
    ("timestamp", {"N": "0.5"}, datetime(1970, 1, 1, 0, 0, 0, 500000)),
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
def test_a_value_is_exact_or_refused_with_a_reason(
    kind: str, value: Any, expected: Any, native: bool
) -> None:
    columns = [Column("a", kind)]
    if expected is None and "N" in value:
        expected = Decimal(value["N"])
    refused = isinstance(expected, str) and kind not in ("string", "varchar(2)")
    refused = refused or expected == "longer than"
    for copies in (1, 100):
        rows = ExportReader(columns, native=native).rows(b"\n".join([line(a=value)] * copies))
        if refused:
            assert not len(rows.table)
            assert {r.line for r in rows.rejected} == {line(a=value)}
            assert len(rows.rejected) == copies
            assert all(expected in r.reason and r.path.startswith("a") for r in rows.rejected)
        else:
            assert rows.table["a"].to_pylist() == [expected] * copies
            assert not rows.rejected


def test_well_formed_items_do_not_need_the_exact_path(native: bool) -> None:
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
    assert compare_with_exact_path(columns, [lines, lines], native) == 0


def test_maps_whose_keys_are_data_do_not_need_the_exact_path(native: bool) -> None:
    columns = [Column("per_id", "map<string,struct<n:bigint>>"), Column("x", "bigint")]
    lines = [
        line(
            per_id={"M": {f"{number}-{part}": {"M": {"n": {"N": "1"}}} for part in range(3)}},
            x={"N": "1"},
        )
        for number in range(2 * MAX_LEARNED_NAMES)
    ]
    assert compare_with_exact_path(columns, [lines, lines], native) == 0


def test_irregular_lines_do_not_send_their_neighbours_to_the_exact_path(native: bool) -> None:
    columns = [Column("n", "bigint")]
    lines = [line(n={"N": str(number)}) for number in range(20_000)]
    lines[7_000] = b"no json"
    lines[12_000] = line(n={"S": "text"})
    lines[12_001] = line(n={"N": "1E+2"})
    reader = ExportReader(columns, native=native)
    rows = reader.rows(b"\n".join(lines))
    assert (len(rows.table), len(rows.rejected)) == (19_998, 2)
    assert rows.exact_lines < 40


def test_an_item_of_the_largest_size(native: bool) -> None:
    value = {"S": "x" * 390_000}
    rows = ExportReader([Column("a", "string")], native=native).rows(line(a=value))
    assert rows.table["a"].to_pylist() == [value["S"]]


def test_irregular_lines_before_a_long_one(native: bool) -> None:
    lines = [b"no json"] * 50 + [line(a={"S": "x" * 10_000})]
    rows = ExportReader([Column("a", "string")], native=native).rows(b"\n".join(lines))
    assert (len(rows.table), len(rows.rejected)) == (1, 50)


@pytest.mark.parametrize("block", [b"", b"\n", b"\n\n", b"\r\n"])
def test_blank_lines_are_not_rows(block: bytes, native: bool) -> None:
    rows = ExportReader([Column("a", "string")], native=native).rows(block)
    assert (len(rows.table), rows.rejected) == (0, ())


def test_names_that_differ_in_case(native: bool) -> None:
    columns = [Column("a", "bigint"), Column("a_559aead0", "bigint")]
    lines = [line(A={"N": "1"})] * 50 + [line(a={"N": "2"})] * 20
    lines += [line(a={"N": "3"}, A={"N": "4"})] * 30
    compare_with_exact_path(columns, [lines], native)
    rows = ExportReader(columns, native=native).rows(b"\n".join(lines)).table.to_pylist()
    assert Counter((row["a"], row["a_559aead0"]) for row in rows) == {
        (1, None): 50,
        (2, None): 20,
        (3, 4): 30,
    }


@pytest.mark.parametrize("opening", ["array<", "map<string,", "struct<a:", "array<struct<a:"])
def test_readers_of_nested_types_grow_with_the_depth(opening: str, native: bool) -> None:
    """Not with the number of paths through a type, which doubles at each level of lists."""
    calls = [calls_of_reading(opening, levels, native) for levels in (4, 8, 16)]
    # Each level also prints and converts the Arrow type of what is below it.
    assert calls[2] - calls[1] < 5 * (calls[1] - calls[0]), calls


def calls_of_reading(opening: str, levels: int, native: bool) -> int:
    kind = opening * levels + "bigint" + ">" * (levels * opening.count("<"))
    value: Any = {"N": "1"}
    for step in reversed(opening.split("<")[:-1] * levels):
        value = {"L": [value]} if step.endswith("array") else {"M": {"a": value}}
    irregular = line(v=value).replace(b'"v"', rb'"\u0076"')
    calls = 0

    def count(frame: Any, event: str, argument: Any) -> None:
        nonlocal calls
        calls += event in ("call", "c_call")

    sys.setprofile(count)
    try:
        reader = ExportReader([Column("v", kind)], native=native)
        by_fast_path, by_exact_path = reader.rows(line(v=value)), reader.rows(irregular + b" ")
    finally:
        sys.setprofile(None)
    assert (by_fast_path.exact_lines, by_exact_path.exact_lines) == (0, 1)
    assert by_fast_path.table.equals(by_exact_path.table)
    return calls


LINES: list[tuple[bytes, bool]] = [
    (b'{"Item":{"a":{"S":"x"}}}', True),
    (b' {\t"Item" : { "a" : { "S" : "x" } } } \r', True),
    (b'{"Item":{"a":null}}', False),
    (b'{"Item":{"a":{"S":"x","N":null}}}', False),
    (b'{"Item":{"a":{"S":"null","N":"1"}}}', False),
    (b'{"Item":{"a":{"S":":null, \\":null"}}}', True),
    (b'{"Item":{"a":{"S":"x"},"b":{"S":null}}}', False),
    (b'{"Item":{"a":{"S":"x"},"a":{"S":"x"}}}', False),
    (b'{"Item":{"a":{"S":"x"}},"Item":{"a":{"S":"x"}}}', False),
    (b'{"Item":{"a":{"S":"x"}},"Other":{}}', True),
    (b'{"Other":{},"Item":{"a":{"S":"x"}}}', True),
    (b'{"\\u0049tem":{"\\u0061":{"\\u0053":"\\u0078"}}}', True),
    (b'{"Item":{"a":{"S":"\\ud83d\\ude00\\/\\b\\f\\n\\r\\t"}}}', True),
    (b'{"Item":{"a":{"S":"\\ud83d"}}}', False),
    (b'{"Item":{"a":{"S":"\\ude00\\ud83d"}}}', False),
    (b'{"Item":{"a":{"S":"\\x"}}}', False),
    (b'{"Item":{"a":{"S":"a\x01b"}}}', False),
    (b'{"Item":{"a":{"S":"a\x00b"}}}', False),
    (b'{"Item":{"a":{"S":"a\xffb"}}}', False),
    (b'{"Item":{"a":{"S":"x"}}} {}', False),
    (b'{"Item":{"a":{"S":"x"}}', False),
    (b'{"Item":{"a":{"S":"x"},}}', False),
    (b'{"Item":{"A":{"S":"x"}}}', True),
    (b'{"Item":{"A":{"S":"x"},"a":{"NULL":true}}}', False),
    (b'{"Item":{"b":{"NULL":true},"B":{"L":[]},"a":{"S":"x"}}}', True),
    (b'{"Item":{"b":{"M":{}},"c":{"SS":[]},"a":{"S":"x"}}}', True),
    (b'{"Item":{"b":{"BOOL":true},"a":{"S":"x"}}}', False),
    (b'{"Item":{"a":{"NULL":false}}}', True),
    (b'{"Item":{"a":{"NULL":"x"}}}', False),
    (b'{"Item":{"a":{"BOOL":"true"}}}', False),
    (b'{"Item":{"a":{"M":{"S":{"N":"1"},"s":{"N":"2"}}}}}', True),
    (b'{"Item":{"a":{"M":{"x":{"L":[{"B":"AAE="},{"BS":["AAE="]},{"NULL":true}]}}}}}', True),
    (b'{"Item":{"a":{"M":{"x":{"B":"A?"}}}}}', False),
    (
        b'{"Item":{"a":{"L":[{"S":"\\u0000\\u001f\\"\\\\\\/\x7f"},{"N":"1e5"},{"BOOL":false}]}}}',
        True,
    ),
    (b'{"Item":{"m":{"M":{"k\\n":{"N":"1"},"K\\n":{"N":"2"}}}}}', True),
    (b'{"Item":{"m":{"M":{"k":{"N":"1"},"\\u006b":{"N":"2"}}}}}', False),
    (b"\xef\xbb\xbf" + b'{"Item":{"a":{"S":"x"}}}', True),
    (b'{"Item":{"a":{"L":[' + b'{"L":[' * 30 + b"]}" * 30 + b"]}}}", True),
    (b'{"Item":{"a":{"L":[' + b'{"L":[' * 70 + b"]}" * 70 + b"]}}}", False),
    (b'{"Item":{"m":{"M":{%s}}}}' % b",".join(b'"%d":{"N":"1"}' % n for n in range(90)), True),
    (b"\x0b", True),
]


@pytest.mark.parametrize("ends", [b"\n", b"\r\n", b"\n\n \n"])
def test_lines_of_every_form(ends: bytes, native: bool) -> None:
    columns = [Column("a", "string"), Column("m", "map<string,bigint>")]
    exact = ExactRows(columns)
    for text, expected in LINES:
        if not text.strip():
            continue
        try:
            exact.line(text)
        except UndecodableValueError:
            assert not expected, text
        else:
            assert expected, text
        compare_with_exact_path(columns, [[text]], native)
    for copies in (1, 3):
        lines = [text for text, _ in LINES for _ in range(copies)]
        rows = ExportReader(columns, native=native).rows(ends.join(lines))
        given, refused = by_exact_path(columns, [text for text in lines if text.strip()])
        assert Counter(map(key, rows.table.to_pylist())) == given
        found = sorted((r.line.rstrip(b"\r"), r.path) for r in rows.rejected)
        assert found == sorted((text.rstrip(b"\r"), path) for text, path, _ in refused)


def test_mutated_lines_equal_the_exact_path(native: bool) -> None:
    rng = random.Random(7)
    for _ in range(RANDOM_ITEMS // 600):
        columns = random_columns(rng)
        lines: list[bytes] = []
        for _ in range(60):
            text = random_line(rng, columns, rng.choice((0.0, 0.1)))
            if rng.random() < 0.5:
                text = mutated_bytes(rng, text)
            elif rng.random() < 0.5:
                document = mutated_document(rng, random_item(rng, columns, 0.0))
                text = json.dumps({"Item": document}).encode()
            lines += [part for part in text.split(b"\n") if part.strip()]
        compare_with_exact_path(columns, [lines], native)
        compare_with_exact_path(columns, [[one] for one in lines[:15]], native)


def test_blocks_end_anywhere(native: bool) -> None:
    columns = [Column("a", "string"), Column("n", "bigint"), Column("b", "binary")]
    text = (
        line(a={"S": "x\u00e9\n"}, n={"N": "12"}, b={"B": "AAE="}) + b"\n" + line(a={"BOOL": True})
    )
    for end in range(len(text) + 1):
        compare_with_exact_path(
            columns, [[part for part in text[:end].split(b"\n") if part]], native
        )
        rows = ExportReader(columns, native=native).rows(text[:end])
        assert rows.lines == sum(bool(part.strip()) for part in text[:end].split(b"\n"))
