"""Repaired columns and their readers: Spark's type parser, Parquet, the OpenX SerDe."""

import random

import pytest

from ddb_pipeline.arrow_types import arrow_schema
from ddb_pipeline.conversion.serde import OpenXJsonSerDe
from ddb_pipeline.hive.normalize import normalize_columns
from ddb_pipeline.hive.types import Column
from ddb_pipeline_tests.hive.test_normalize import random_column


def repaired_tables(number: int) -> list[tuple[Column, ...]]:
    rng = random.Random(number)
    return [normalize_columns([random_column(rng) for _ in range(5)])[0] for _ in range(number)]


@pytest.mark.parametrize("opening", ["array<", "map<string,", "struct<a:"])
def test_parquet_and_firehose_take_the_deepest_columns(opening: str) -> None:
    columns, _ = normalize_columns([("c", opening * 200 + "set<int>" + ">" * 200)])
    assert OpenXJsonSerDe(columns).deserialize(b"{}") == dict.fromkeys(arrow_schema(columns).names)


def test_parquet_and_firehose_take_every_repaired_table() -> None:
    for columns in repaired_tables(400):
        schema = arrow_schema(columns)
        assert schema.names == [column.name for column in columns]
        assert OpenXJsonSerDe(columns).deserialize(b"{}") == dict.fromkeys(schema.names)


@pytest.mark.usefixtures("spark")
def test_spark_reads_every_repaired_type_unquoted() -> None:
    from pyspark.sql.types import DataType

    for columns in repaired_tables(100):
        for column in columns:
            assert DataType.fromDDL(column.type).simpleString() == column.type
