"""Hive types as Arrow types: the Parquet written from them, compared with Hive's own."""

import io
import re
from datetime import date, datetime
from decimal import Decimal
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from ddb_pipeline.arrow_types import (
    NoHiveTypeError,
    NoParquetTypeError,
    arrow_schema,
    arrow_type,
    hive_type,
    parquet_write_options,
)
from ddb_pipeline.hive.types import parse_type
from ddb_pipeline_tests.support.recordings import lines

HIVE = lines("hive_parquet_schema.jsonl")
WITH_FORM = [case for case in HIVE if "parquet_message" in case]
WITHOUT_FORM = [case for case in HIVE if "parquet_message" not in case]


def parquet_of(schema: pa.Schema) -> pq.ParquetFile:
    sink = io.BytesIO()
    with pq.ParquetWriter(sink, schema, **parquet_write_options()):
        pass
    return pq.ParquetFile(io.BytesIO(sink.getvalue()))


def message(printed: str) -> list[str]:
    """A Parquet schema printed by pyarrow or Hive, as comparable lines.

    Logical types get one spelling. Differences that no reader notices are removed: the names
    bag.array_element and list.element, MAP_KEY_VALUE or nothing on the repeated group, and
    optional map keys (the specification has them required).
    """
    found = []
    for raw in printed.splitlines():
        line = raw.strip().removesuffix(";")
        if not line or line.startswith(
            ("message", "required group field_id=-1 schema", "<pyarrow")
        ):
            continue
        line = line.replace(" field_id=-1", "").replace(" (MAP_KEY_VALUE)", "")
        line = line.replace("repeated group bag {", "repeated group list {")
        line = re.sub(r"^(optional \S+) array_element\b", r"\1 element", line)
        line = re.sub(r"\(Int\(bitWidth=(\d+), isSigned=(\w+)\)\)", r"(INTEGER(\1,\2))", line)
        line = re.sub(r"\(Decimal\(precision=(\d+), scale=(\d+)\)\)", r"(DECIMAL(\1,\2))", line)
        line = re.sub(r"\((String|Date|List|Map)\)", lambda m: m.group().upper(), line)
        found.append(line)
    for index, line in enumerate(found[:-1]):
        if line == "repeated group key_value {":
            found[index + 1] = found[index + 1].replace("optional ", "required ", 1)
    return found


def has_empty_struct(case: dict[str, Any]) -> bool:
    return "struct<>" in case["hive_type"]


@pytest.mark.parametrize(
    "case",
    [case for case in WITH_FORM if not has_empty_struct(case)],
    ids=lambda case: case["id"],
)
def test_parquet_schema_is_hives(case: dict[str, Any]) -> None:
    schema = arrow_schema([("c", case["hive_type"])])
    assert message(str(parquet_of(schema).schema)) == message(case["parquet_message"])


@pytest.mark.parametrize(
    "case",
    [case for case in HIVE if case in WITHOUT_FORM or has_empty_struct(case)],
    ids=lambda case: case["id"],
)
def test_types_without_a_parquet_form(case: dict[str, Any]) -> None:
    with pytest.raises(NoParquetTypeError) as caught:
        arrow_schema([("c", case["hive_type"])])
    assert caught.value.column == "c"
    # Hive's writer refuses an empty struct only when it writes.
    expected = case.get("message", "Cannot write a schema with an empty group")
    assert caught.value.reason == expected


@pytest.mark.parametrize(
    ("hive_type", "expected"),
    [
        ("tinyint", pa.int8()),
        ("varchar(3)", pa.string()),
        ("decimal", pa.decimal128(10, 0)),
        ("timestamp", pa.timestamp("us")),
        ("array<int>", pa.list_(pa.field("element", pa.int32()))),
        ("map<string,double>", pa.map_(pa.string(), pa.float64())),
        ("struct<A:int>", pa.struct([("A", pa.int32())])),
    ],
)
def test_arrow_types(hive_type: str, expected: pa.DataType) -> None:
    assert arrow_type(parse_type(hive_type)) == expected


@pytest.mark.parametrize(
    ("opening", "most"), [("array<", 49), ("map<string,", 49), ("struct<a:", 98)]
)
def test_nesting_ends_where_readers_refuse_it(opening: str, most: int) -> None:
    def schema(containers: int) -> pa.Schema:
        return arrow_schema([("c", opening * containers + "int" + ">" * containers)])

    assert parquet_of(schema(most)).schema_arrow.names == ["c"]
    with pytest.raises(NoParquetTypeError, match="over 99 levels in Parquet"):
        schema(most + 1)


def test_the_error_names_the_column_and_its_type() -> None:
    with pytest.raises(NoParquetTypeError) as caught:
        arrow_schema([("fine", "int"), ("empty", "array<void>")])
    assert str(caught.value) == (
        "column 'empty' of type 'array<void>' has no Parquet form: Void type not implemented"
    )


def test_files_are_what_every_reader_takes() -> None:
    columns = [("t", "timestamp"), ("d", "decimal(5,2)"), ("i", "smallint")]
    schema = arrow_schema(columns)
    rows = [{"t": datetime(9999, 12, 31, 23, 59, 59), "d": Decimal("-1.25"), "i": 7}]
    sink = io.BytesIO()
    with pq.ParquetWriter(sink, schema, **parquet_write_options()) as writer:
        writer.write_table(pa.Table.from_pylist(rows, schema=schema))
    file = pq.ParquetFile(io.BytesIO(sink.getvalue()), coerce_int96_timestamp_unit="us")
    physical = [file.schema.column(index).physical_type for index in range(3)]
    assert physical == ["INT96", "FIXED_LEN_BYTE_ARRAY", "INT32"]
    assert file.read().to_pylist() == rows
    assert file.metadata.metadata is None  # no Arrow schema to override the types on reading


# What other programs read of files is recorded; these are the layouts this project writes.
OURS = {
    "upper_case_file_name",
    "struct_missing_field",
    "struct_extra_field",
    "struct_upper_case",
    "old_timestamp_int96",
    "far_timestamp_int96",
    "pre_epoch_int96",
    "empty_list_null_list",
    "list_of_1field_struct_named_element",
    "map_int_key",
    "struct_all_null_fields",
    "old_date",
    "char_longer_than_type",
}


def test_layouts_written_here_are_read_by_spark_and_hive() -> None:
    recorded = {case["case"]: case for case in lines("parquet_interop_cases.jsonl")}
    for name in sorted(OURS):
        readers = [recorded[name][reader]["ok"] for reader in ("spark_vec", "spark_row", "hive")]
        assert all(readers), name


def test_timestamps_hive_cannot_read_are_never_written() -> None:
    recorded = {case["case"]: case for case in lines("parquet_interop_cases.jsonl")}
    assert not recorded["pre_epoch_us"]["hive"]["ok"]
    schema = arrow_schema([("a", "timestamp"), ("b", "array<timestamp>")])
    assert "int64" not in str(parquet_of(schema).schema)


def test_dates_are_days() -> None:
    array = pa.array([date(1, 1, 1), date(9999, 12, 31)], arrow_type(parse_type("date")))
    assert array.cast(pa.int32()).to_pylist() == [-719162, 2932896]


@pytest.mark.parametrize(
    ("arrow", "expected"),
    [
        (pa.float16(), "float"),
        (pa.uint8(), "smallint"),
        (pa.uint64(), "decimal(20,0)"),
        (pa.date64(), "date"),
        (pa.binary(16), "binary"),
        (pa.large_string(), "string"),
        (pa.string_view(), "string"),
        (pa.timestamp("ns", "UTC"), "timestamp"),
        (pa.decimal256(38, 2), "decimal(38,2)"),
        (pa.dictionary(pa.int8(), pa.large_string()), "string"),
        (pa.large_list(pa.int8()), "array<tinyint>"),
        (pa.list_(pa.int8(), 2), "array<tinyint>"),
        (pa.map_(pa.string(), pa.struct([("a", pa.bool_())])), "map<string,struct<a:boolean>>"),
    ],
    ids=str,
)
def test_hive_types_of_arrow_types(arrow: pa.DataType, expected: str) -> None:
    assert str(hive_type(arrow, "c")) == expected


@pytest.mark.parametrize(
    "text", [case["hive_type"] for case in WITH_FORM if "struct<>" not in case["hive_type"]]
)
def test_hive_types_survive_arrow(text: str) -> None:
    written = arrow_type(parse_type(text))
    assert arrow_type(hive_type(written, "c")).equals(written)


@pytest.mark.parametrize(
    ("arrow", "message"),
    [
        (pa.null(), "c is of type null, .* give it a type"),
        (pa.list_(pa.struct([("a", pa.null())])), r"c\[\]\.a is of type null"),
        (pa.map_(pa.string(), pa.time32("s")), r"c\{\} is of type time32"),
        (pa.decimal256(50, 2), "c is of type decimal256"),
        (pa.struct([]), "c is of type struct<>"),
    ],
    ids=str,
)
def test_arrow_types_without_hive_type(arrow: pa.DataType, message: str) -> None:
    with pytest.raises(NoHiveTypeError, match=message):
        hive_type(arrow, "c")
