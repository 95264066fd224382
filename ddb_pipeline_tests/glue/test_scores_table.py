"""The catalog table of the relevance scores: creation, another location, reading with Spark."""

import uuid
from collections.abc import Callable
from datetime import datetime
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from ddb_pipeline.arrow_types import arrow_schema
from ddb_pipeline.glue.catalog import CatalogTable, TableReference, read_table
from ddb_pipeline.glue.ddl import Dialect, create_statement
from ddb_pipeline.glue.scores_table import (
    SCORES_COLUMNS,
    point_scores_table,
    scores_definition,
)


@pytest.mark.embedded
def test_its_location_is_the_current_version(aws_client: Callable[[str], Any]) -> None:
    glue = aws_client("glue")
    name = f"scores{uuid.uuid4().hex[:8]}"
    glue.create_database(DatabaseInput={"Name": name})
    reference = TableReference(name, "logs_relevance")
    first = point_scores_table(glue, reference, "s3://lake/relevance/scores/1/")
    assert (first.location, first.columns) == ("s3://lake/relevance/scores/1/", SCORES_COLUMNS)
    again = point_scores_table(glue, reference, "s3://lake/relevance/scores/1/")
    assert again.version_id == first.version_id
    moved = point_scores_table(glue, reference, "s3://lake/relevance/scores/2/")
    assert read_table(glue, reference).location == moved.location == "s3://lake/relevance/scores/2/"


def test_spark_reads_it_with_the_create_statement(spark: Any, tmp_path: Path) -> None:
    row: dict[str, Any] = {column.name: 0.5 for column in SCORES_COLUMNS}
    row |= {"query": "chess set", "document": str(2**53 + 1)}
    moment = datetime(2026, 11, 24, 10)
    table = pa.Table.from_pylist([{**row, "as_of": moment}], arrow_schema(SCORES_COLUMNS))
    pq.write_table(table, tmp_path / "part-0.parquet", use_deprecated_int96_timestamps=True)
    catalog = CatalogTable(
        TableReference("lake", "scores"), "1", scores_definition("scores", str(tmp_path))
    )
    name = f"scores_{uuid.uuid4().hex[:8]}"
    spark.sql(create_statement(catalog, Dialect.SPARK, name=name))
    (found,) = [each.asDict() for each in spark.table(name).collect()]
    assert found == {**row, "as_of": moment}
    spark.sql(f"DROP TABLE {name}")
