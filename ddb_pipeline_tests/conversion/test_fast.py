"""The fast path returns the SerDe's rows or none at all."""

import json
from typing import Any

import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from ddb_pipeline.arrow_types import arrow_schema
from ddb_pipeline.conversion.convert import (
    convert,
)
from ddb_pipeline.conversion.fast import FastReader, json_line
from ddb_pipeline.conversion.options import (
    ConversionOptions,
    OpenXOptions,
)
from ddb_pipeline.conversion.parquet_object import rows_table
from ddb_pipeline.conversion.serde import ConversionError, OpenXJsonSerDe
from ddb_pipeline_tests.support.scale import scaled

Columns = list[tuple[str, str]]


def by_serde(
    records: list[bytes], columns: Columns, options: OpenXOptions
) -> pa.Table | ConversionError:
    serde = OpenXJsonSerDe(
        columns,
        case_insensitive=options.case_insensitive,
        convert_dots=options.convert_dots,
        column_to_json_key=options.column_to_json_key,
    )
    try:
        rows = [row for record in records for row in serde.rows(record)]
    except ConversionError as error:
        return error
    return rows_table(rows, arrow_schema(columns))


def by_fast_path(records: list[bytes], columns: Columns, options: OpenXOptions) -> pa.Table | None:
    reader = FastReader.of(columns, arrow_schema(columns), options)
    lines = [json_line(record) for record in records]
    plain = [line for line in lines if line is not None]
    return None if reader is None or len(plain) < len(lines) else reader.read(plain)


def same(left: pa.Table, right: pa.Table) -> bool:
    left.validate(full=True)
    # NaN never comes of JSON, and -0.0 equals 0.0 to Arrow, so compare the printed rows.
    return left.schema.equals(right.schema) and str(left.to_pylist()) == str(right.to_pylist())


def assert_fast_path_is_the_serdes(
    records: list[bytes], columns: Columns, options: OpenXOptions
) -> bool:
    fast = by_fast_path(records, columns, options)
    if fast is None:
        return False
    exact = by_serde(records, columns, options)
    assert isinstance(exact, pa.Table), exact
    assert same(fast, exact)
    return True


PLAIN: Columns = [
    ("id", "string"),
    ("n", "bigint"),
    ("x", "double"),
    ("f", "float"),
    ("ok", "boolean"),
    ("at", "timestamp"),
    ("day", "date"),
    ("tags", "array<string>"),
    ("who", "struct<name:string,age:tinyint,seen:array<date>>"),
    ("price", "decimal(10,2)"),
    ("code", "char(4)"),
]


@pytest.mark.parametrize(
    "record",
    [
        b'{"id":"a","n":1,"x":1.5,"f":16777217,"ok":true,"at":"2026-01-02 03:04:05.25"}',
        b'{"at":1518033528}',
        b'{"at":1518033528123}',
        b'{"at":-1}',
        b'{"at":"2026-01-02T03:04:05Z","day":"2026-02-28"}',
        b'{"who":{"name":null,"age":-128,"seen":["2026-01-02",null]},"tags":[]}',
        b'{"who":null,"tags":null}{"who":{},"tags":["x",null]}',
        b'{"unknown":{"deep":[{"x":null},{"y":1}]},"id":"a"}',
        b'{"x":123456789012345678901234567890,"f":1e39,"n":-9223372036854775808}',
        b'{"id":"\\u00e9\\ud83d\\ude00\\u0000\xc3\xa9","code":"ab  "}',
        b'{"id":"Information about NaN"}',
        b' {"id":"a"}\r\n{"id":"b"} ',
        b"{}",
    ],
)
def test_plain_records_are_read_fast(record: bytes) -> None:
    assert assert_fast_path_is_the_serdes([record, b"{}"], PLAIN, OpenXOptions())


@pytest.mark.parametrize(
    "record",
    [
        b"",
        b" ",
        b"[]",
        b"1",
        b'{"id":"a"',
        b'"id":"a"}',
        b'{"id":"a"}x',
        b'{"id":"a"},{"id":"b"}',
        b'{"id":"a",}',
        b"{'id':'a'}",
        b'{"id":"a"}\x00{"id":"b"}',
        b'{"id":"\xc3("}',
        b'{"id":"\\ud800"}',
        b'{"id":"a\nb"}',
        b'{"x":NaN}',
        b'{"z":[1, NaN]}',
        b'{"z":-Infinity}',
        b'{"z":Inf}',
        b'{"x":1e400}',
        b'{"x":"1.5"}',
        b'{"id":1}',
        b'{"id":{"a":1}}',
        b'{"n":1.0}',
        b'{"n":1e2}',
        b'{"n":9223372036854775808}',
        b'{"ok":"true"}',
        b'{"price":1.5}',
        b'{"price":"1.5"}',
        b'{"tags":"x"}',
        b'{"who":["A",1]}',
        b'{"who":""}',
        b'{"who":{"age":128}}',
        b'{"at":1518033528.5}',
        b'{"at":999999999999}',
        b'{"at":9223372036854775807}',
        b'{"at":-9223372036854775808}',
        b'{"at":"1518033528"}',
        b'{"at":"2026-1-2 03:04:05"}',
        b'{"at":"2026-02-30 00:00:00"}',
        b'{"at":"2026-01-02"}',
        b'{"at":"2026-01-02 03:04:05Z"}',
        b'{"at":"2026-01-02T03:04:05"}',
        b'{"at":"2026-01-02T03:04:05+01:00"}',
        b'{"at":"1582-10-10 00:00:00"}',
        b'{"day":"2026-02-30"}',
        b'{"day":"2026-01-02x"}',
        b'{"day":"1500-01-01"}',
        b'{"ID":"a"}',
        b'{"who":{"NAME":"A"}}',
        b'{"id":"a","Id":"b"}',
        b'{"id":"a","id":"b"}',
        b'{"z":1,"z":2}',
        b'{"z":1,"Z":2}',
        b'{"z":[{"q":1,"Q":2}]}',
        b'{"z":1}{"z":"x"}',
        b'{"z":' + b"[" * 5000 + b"]" * 5000 + b"}",
    ],
)
def test_records_in_doubt_take_the_exact_path(record: bytes) -> None:
    assert by_fast_path([b'{"id":"ok"}', record], PLAIN, OpenXOptions()) is None
    with_neighbours = [b'{"id":"ok"}', record, b'{"id":"ok"}']
    fast = convert(with_neighbours, PLAIN)
    exact = convert(with_neighbours, PLAIN, ConversionOptions(fast_path=False))
    assert fast.failures == exact.failures
    assert fast.rows == exact.rows


@pytest.mark.parametrize(
    "halves",
    [
        (b'{"id":', b'"a"}'),
        (b'{"who":{"name":"A"}', b'{"x":1}}'),
        (b'{"id":"a}', b'{"}'),
        (b'{"tags":["x"', b'"y"]}'),
        (b'{"z":[{}', b"{}]}"),
    ],
)
def test_a_document_cut_over_two_records_is_two_bad_records(halves: tuple[bytes, bytes]) -> None:
    assert by_fast_path(list(halves), PLAIN, OpenXOptions()) is None


@pytest.mark.parametrize(
    "columns",
    [
        [("m", "map<string,int>")],
        [("a", "int"), ("A", "int")],
        [("s", "struct<a:int,A:int>")],
        [("s", "array<struct<m:map<string,int>>>")],
    ],
)
def test_tables_without_a_fast_path(columns: Columns) -> None:
    assert by_fast_path([b"{}"], columns, OpenXOptions()) is None


@pytest.mark.parametrize(
    ("options", "record", "is_fast"),
    [
        (OpenXOptions(case_insensitive=False), b'{"ID":"a","id":"b"}', True),
        (OpenXOptions(case_insensitive=False), b'{"z":1,"Z":2}', True),
        (OpenXOptions(convert_dots=True), b'{"i.d":"a"}', False),
        (OpenXOptions(convert_dots=True), b'{"who":{"na.me":"a"}}', False),
        (OpenXOptions(column_to_json_key={"id": "Key", "name": "n"}), b'{"key":"a"}', True),
        (OpenXOptions(column_to_json_key={"name": "n"}), b'{"who":{"n":"A","name":"B"}}', True),
        (OpenXOptions(column_to_json_key={"id": "n"}), b'{"n":1}', False),
    ],
)
def test_serde_options(options: OpenXOptions, record: bytes, is_fast: bool) -> None:
    assert assert_fast_path_is_the_serdes([record], PLAIN, options) is is_fast


def test_epoch_columns_are_learned_from_the_data() -> None:
    columns = [("at", "timestamp"), ("then", "timestamp")]
    reader = FastReader.of(columns, arrow_schema(columns), OpenXOptions())
    assert reader is not None
    epoch = [b'{"at":1518033528,"then":"2026-01-02 03:04:05"}']
    text = [b'{"at":"2026-01-02 03:04:05","then":1518033528}']
    for records in (epoch, text, epoch, [b"{}"]):
        fast = reader.read(records)
        exact = by_serde(records, columns, OpenXOptions())
        assert fast is not None
        assert isinstance(exact, pa.Table)
        assert same(fast, exact)


NUMBERS = st.integers() | st.floats(allow_nan=False, allow_infinity=False, width=64)
TIMES = st.sampled_from(
    [
        "2026-01-02 03:04:05",
        "2026-01-02 03:04:05.123456",
        "2026-01-02T03:04:05.5Z",
        "2026-1-2 3:4:5",
        "2026-01-02",
        "1518033528",
        "1500-01-01 00:00:00",
    ]
)
LIKELY: dict[str, st.SearchStrategy[Any]] = {
    "id": st.text(max_size=6),
    "n": st.integers(-(2**63), 2**63 - 1),
    "x": NUMBERS,
    "f": NUMBERS,
    "ok": st.booleans(),
    "at": st.integers(-(10**13), 10**13) | TIMES,
    "day": st.dates().map(str) | TIMES,
    "tags": st.lists(st.none() | st.text(max_size=3), max_size=3),
    "who": st.fixed_dictionaries(
        {},
        optional={
            "name": st.text(max_size=3),
            "age": st.integers(-129, 128),
            "seen": st.lists(st.dates().map(str), max_size=2),
            "Extra": NUMBERS,
        },
    ),
    "price": st.none(),
    "code": st.text(" ab", max_size=6),
    "extra": st.none() | st.text(max_size=3) | st.lists(NUMBERS, max_size=2),
}
ANYTHING = st.recursive(
    st.none() | st.booleans() | NUMBERS | st.text(max_size=4),
    lambda inner: (
        st.lists(inner, max_size=2)
        | st.dictionaries(st.sampled_from(["a", "A", "name", "z"]), inner, max_size=2)
    ),
    max_leaves=5,
)


@st.composite
def documents(draw: st.DrawFn) -> bytes:
    keys = draw(st.lists(st.sampled_from(sorted(LIKELY)), unique=True))
    members = {key: draw(LIKELY[key]) for key in keys}
    if draw(st.integers(0, 9)) == 0:
        strange = draw(st.sampled_from([*LIKELY, "ID", "Who", "other"]))
        members[strange] = draw(ANYTHING)
    text = json.dumps(members, ensure_ascii=draw(st.booleans()))
    return text.encode("utf-8", "surrogatepass")


@given(st.lists(documents(), min_size=1, max_size=6))
@settings(max_examples=scaled(120), deadline=None)
def test_the_fast_path_returns_the_rows_of_the_serde(records: list[bytes]) -> None:
    assert_fast_path_is_the_serdes(records, PLAIN, OpenXOptions())


@given(st.lists(documents(), min_size=1, max_size=8), st.booleans())
@settings(max_examples=scaled(50), deadline=None)
def test_conversion_is_the_same_without_the_fast_path(records: list[bytes], packed: bool) -> None:
    if packed:
        records = [b"\n".join(records), *records]
    fast = convert(records, PLAIN)
    exact = convert(records, PLAIN, ConversionOptions(fast_path=False))
    assert (fast.rows, fast.failures) == (exact.rows, exact.failures)
    assert (fast.parquet is None) == (exact.parquet is None)


@given(st.lists(st.text('{}[]":,\\eE0aidn1.-tru ', max_size=16).map(str.encode), max_size=4))
@settings(max_examples=400, deadline=None)
def test_the_fast_path_accepts_no_malformed_text(records: list[bytes]) -> None:
    assert_fast_path_is_the_serdes(records, PLAIN, OpenXOptions())
