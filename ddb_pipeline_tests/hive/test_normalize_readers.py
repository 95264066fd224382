"""Mended columns held against their readers: Spark's type parser, Parquet, the OpenX SerDe."""

import random
from typing import Any

import pytest

from ddb_pipeline.arrow_types import arrow_schema
from ddb_pipeline.conversion.serde import OpenXJsonSerDe
from ddb_pipeline.hive.normalize import normalize_columns
from ddb_pipeline.hive.types import Column
from ddb_pipeline_tests.hive.test_normalize import random_column


def mended_tables(number: int) -> list[tuple[Column, ...]]:
    rng = random.Random(number)
    return [normalize_columns([random_column(rng) for _ in range(5)])[0] for _ in range(number)]


def test_parquet_and_firehose_take_every_mended_table() -> None:
    for columns in mended_tables(400):
        schema = arrow_schema(columns)
        assert schema.names == [column.name for column in columns]
        assert OpenXJsonSerDe(columns).deserialize(b"{}") == dict.fromkeys(schema.names)


@pytest.fixture
def parse_in_spark(spark: Any) -> Any:
    """Spark's parser for the type strings of a Hive metastore or Glue."""
    parsers = spark._jvm.org.apache.spark.sql.catalyst.parser
    return getattr(getattr(parsers, "CatalystSqlParser$"), "MODULE$").parseDataType


def test_spark_reads_every_mended_type_unquoted(parse_in_spark: Any) -> None:
    for columns in mended_tables(100):
        for column in columns:
            assert parse_in_spark(column.type).catalogString() == column.type
