"""Batches of records become Parquet objects and failures."""

import io
from datetime import datetime
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from ddb_pipeline.conversion.convert import (
    CHUNK_BYTES,
    ConvertedBatch,
    RecordFailure,
    convert,
    fail_all,
)
from ddb_pipeline.conversion.options import (
    ConversionOptions,
    HiveJsonOptions,
    OpenXOptions,
    ParquetOptions,
)
from ddb_pipeline.hive.types import Column

EXACT = ConversionOptions(fast_path=False)
BOTH_PATHS = pytest.mark.parametrize("options", [ConversionOptions(), EXACT], ids=["fast", "exact"])


def table_of(conversion: ConvertedBatch) -> pa.Table:
    assert conversion.parquet is not None
    # By default INT96 is read as nanoseconds, which end in the year 2262.
    return pq.read_table(io.BytesIO(conversion.parquet), coerce_int96_timestamp_unit="us")


def rows_of(conversion: ConvertedBatch) -> list[dict[str, Any]]:
    rows: list[dict[str, Any]] = table_of(conversion).to_pylist()
    return rows


@BOTH_PATHS
def test_a_bad_record_does_not_affect_the_others(options: ConversionOptions) -> None:
    columns = [Column("a", "int"), Column("b", "string")]
    conversion = convert(
        [
            b'{"a":1}\n',
            b'{"a":"oops"}',
            b'{"a":2,"b":"x"}',
            b"not json",
            b"",
            b'[{"a":3}]',
            b'{"b":"last"}',
        ],
        columns,
        options,
    )
    assert rows_of(conversion) == [
        {"a": 1, "b": None},
        {"a": 2, "b": "x"},
        {"a": None, "b": "last"},
    ]
    assert conversion.rows == 3
    assert [(failure.index, failure.code.split(".")[1]) for failure in conversion.failures] == [
        (1, "MalformedData"),
        (3, "ParseError"),
        (4, "MalformedData"),
        (5, "MalformedData"),
    ]
    assert conversion.failures[0].message == (
        'Data does not match the schema. For input string: "oops"'
    )


@BOTH_PATHS
def test_packed_documents_are_rows_in_order(options: ConversionOptions) -> None:
    records = [b'{"a":1}{"a":2}\n {"a":3}\n', b'{"a":4}\r\n{"a":5}']
    conversion = convert(records, [("a", "bigint")], options)
    assert [row["a"] for row in rows_of(conversion)] == [1, 2, 3, 4, 5]


@pytest.mark.parametrize(
    ("packed_failure", "landed"), [("record", [9]), ("document", [1, 2, 4, 5, 9])]
)
def test_packed_record_with_a_bad_document(packed_failure: Any, landed: list[int]) -> None:
    packed = b'{"a":1}{"a":2}{"a":"x"}{"a":4}{"z":1,"Z":2}{"a":5}{"a":6'
    records = [packed, b'{"a":9}']
    options = ConversionOptions(packed_failure=packed_failure)
    conversion = convert(records, [("a", "int")], options)
    assert [row["a"] for row in rows_of(conversion)] == landed
    assert [failure.index for failure in conversion.failures] == [0]
    assert conversion.failures[0].message.endswith('For input string: "x"')


@pytest.mark.parametrize(
    ("hive_type", "message"),
    [
        (
            "set<string>",
            "The schema is invalid. Error parsing the schema: Error: type expected at the position "
            "0 of 'set<string>' but 'set' is found.",
        ),
        (
            "binary",
            "The schema is invalid. One or more columns have types that are not supported by "
            "org.openx.data.JsonSerDe",
        ),
        ("void", "The schema is invalid. Void type not implemented"),
        ("uniontype<int,string>", "The schema is invalid. Union type not implemented"),
        ("struct<>", "The schema is invalid. Cannot write a schema with an empty group"),
    ],
)
def test_a_schema_that_cannot_be_used_fails_every_record(hive_type: str, message: str) -> None:
    conversion = convert([b'{"ok":1}', b"{}"], [("ok", "int"), ("bad", hive_type)])
    code = "DataFormatConversion.InvalidSchema"
    assert conversion == ConvertedBatch(
        None, 0, (RecordFailure(0, code, message), RecordFailure(1, code, message))
    )


def test_fail_all_fails_every_record_for_the_reason_of_the_caller() -> None:
    conversion = fail_all([b"{}", b"{}"], "DataFormatConversion.InvalidSchema", "no table")
    assert [failure.index for failure in conversion.failures] == [0, 1]
    assert conversion.parquet is None


@pytest.mark.parametrize(
    "columns", [[("a", "int"), ("a", "string")], [("s", "array<struct<a:int,a:string>>")]]
)
def test_names_declared_twice_are_an_invalid_schema(columns: list[tuple[str, str]]) -> None:
    (failure,) = convert([b"{}"], columns).failures
    assert failure.code == "DataFormatConversion.InvalidSchema"
    assert failure.message == "The schema is invalid. Name a is declared twice"


def test_without_rows_there_is_no_object() -> None:
    assert convert([], [("a", "int")]) == ConvertedBatch(None, 0, ())
    assert convert([b"x"], [("a", "int")]).parquet is None


@BOTH_PATHS
def test_every_kind_of_value(options: ConversionOptions) -> None:
    columns = [
        ("flag", "boolean"),
        ("small", "smallint"),
        ("ratio", "float"),
        ("at", "timestamp"),
        ("day", "date"),
        ("code", "char(3)"),
        ("tags", "array<string>"),
        ("who", "struct<name:string,seen:array<timestamp>>"),
    ]
    record = (
        b'{"flag":true,"small":-7,"ratio":0.1,"at":"2026-01-02 03:04:05.5","day":"2026-01-02",'
        b'"code":"ab ","tags":["x",null],"who":{"name":"A","seen":["2026-01-02T03:04:05Z",null]}}'
    )
    conversion = convert([record, b"{}"], columns, options)
    assert rows_of(conversion) == [
        {
            "flag": True,
            "small": -7,
            "ratio": pytest.approx(0.1),
            "at": datetime(2026, 1, 2, 3, 4, 5, 500000),
            "day": datetime(2026, 1, 2).date(),
            "code": "ab",
            "tags": ["x", None],
            "who": {"name": "A", "seen": [datetime(2026, 1, 2, 3, 4, 5), None]},
        },
        dict.fromkeys(name for name, _ in columns),
    ]


def test_maps_and_lone_surrogates() -> None:
    columns = [("m", "map<string,array<int>>"), ("s", "string")]
    conversion = convert([b'{"m":{"K":[1],"e":null},"s":"a\\ud800b"}'], columns)
    assert rows_of(conversion) == [{"m": [("k", [1]), ("e", None)], "s": "a?b"}]


@BOTH_PATHS
def test_openx_options(options: ConversionOptions) -> None:
    deserializer = OpenXOptions(
        case_insensitive=False, convert_dots=True, column_to_json_key={"ts": "Time"}
    )
    chosen = ConversionOptions(deserializer=deserializer, fast_path=options.fast_path)
    columns = [("ts", "string"), ("a_b", "int"), ("c", "int")]
    conversion = convert([b'{"Time":"x","time":"y","a.b":1,"C":2}'], columns, chosen)
    assert rows_of(conversion) == [{"ts": "x", "a_b": 1, "c": None}]


def test_hive_serde_refuses_what_openx_coerces() -> None:
    options = ConversionOptions(deserializer=HiveJsonOptions(timestamp_formats=("millis",)))
    columns = [("n", "int"), ("t", "timestamp")]
    conversion = convert([b'{"n":"1"}', b'{"n":1,"t":1518033528123}'], columns, options)
    assert rows_of(conversion) == [{"n": 1, "t": datetime(2018, 2, 7, 19, 58, 48, 123000)}]
    assert "not numeric" in conversion.failures[0].message


def test_timestamps_beyond_the_range_of_nanoseconds() -> None:
    records = [b'{"t":"9999-12-31 23:59:59"}', b'{"t":"0001-01-01 00:00:00"}']
    conversion = convert(records, [("t", "timestamp")])
    assert [row["t"] for row in rows_of(conversion)] == [
        datetime(9999, 12, 31, 23, 59, 59),
        datetime(1, 1, 1),
    ]


@pytest.mark.parametrize(
    ("options", "codec", "dictionary"),
    [
        (ParquetOptions(), "SNAPPY", False),
        (ParquetOptions(compression="GZIP", writer_version="V2"), "GZIP", False),
        (ParquetOptions(compression="UNCOMPRESSED"), "UNCOMPRESSED", False),
        (ParquetOptions(enable_dictionary_compression=True), "SNAPPY", True),
    ],
)
def test_parquet_options(options: ParquetOptions, codec: str, dictionary: bool) -> None:
    records = [b'{"a":"same"}'] * 1000
    conversion = convert(records, [("a", "string")], ConversionOptions(parquet=options))
    assert conversion.parquet is not None
    column = pq.ParquetFile(io.BytesIO(conversion.parquet)).metadata.row_group(0).column(0)
    assert column.compression == codec
    assert column.has_dictionary_page is dictionary
    assert table_of(conversion).num_rows == 1000


def test_a_row_group_ends_at_the_block_size() -> None:
    options = ConversionOptions(parquet=ParquetOptions(block_size_bytes=CHUNK_BYTES))
    records = [b'{"a":"%s"}' % (b"x" * 1000)] * 3000
    conversion = convert(records, [("a", "string")], options)
    assert conversion.parquet is not None
    metadata = pq.ParquetFile(io.BytesIO(conversion.parquet)).metadata
    assert metadata.num_rows == 3000
    assert metadata.num_row_groups > 1


def test_failures_are_in_record_order_across_chunks() -> None:
    filler = b'{"a":1,"z":"%s"}' % (b"x" * 20_000)
    records = [b'{"a":"x"}' if index % 100 == 7 else filler for index in range(400)]
    conversion = convert(records, [("a", "int")])
    assert [failure.index for failure in conversion.failures] == [7, 107, 207, 307]
    assert conversion.rows == 396
