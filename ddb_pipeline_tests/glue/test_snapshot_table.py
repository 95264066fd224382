"""The catalog table of the snapshots: Spark reads a converted export with it."""

import uuid
from decimal import Decimal
from pathlib import Path
from typing import Any

from ddb_pipeline.export.convert import convert_export, infer_export
from ddb_pipeline.glue.catalog import CatalogTable, TableReference
from ddb_pipeline.glue.ddl import Dialect, create_statement
from ddb_pipeline.glue.lake_table import lake_columns
from ddb_pipeline.glue.snapshot_table import item_columns, snapshot_definition
from ddb_pipeline.hive.infer import inferred_schema
from ddb_pipeline.hive.types import Column
from ddb_pipeline.parquet.publish import Destination
from ddb_pipeline_tests.support.exports import LOCAL, opened, write_local_export

EXACT = "12345678901234567890123456789012.123456"
ITEMS: list[dict[str, Any]] = [
    {
        "log_id": {"S": "l1"},
        "tags": {"SS": ["a", "b"]},
        "nested": {"M": {"ids": {"NS": [str(2**53 + 1)]}, "at": {"L": [{"SS": ["x"]}]}}},
        "exact": {"N": EXACT},
        "blob": {"B": "AAE="},
        "none": {"NULL": True},
    },
    {"log_id": {"S": "l2"}, "exact": {"N": "1E+2"}, "tags": {"L": []}},
]


def test_spark_reads_a_snapshot_with_the_create_statement(spark: Any, tmp_path: Path) -> None:
    open_object, export = opened(write_local_export(tmp_path / "export", ITEMS))
    found = inferred_schema(infer_export(open_object, export)).columns
    columns = item_columns(lake_columns(found))
    assert dict(columns) == {
        "log_id": "string",
        "tags": "array<string>",
        "nested": "struct<at:array<array<string>>,ids:array<bigint>>",
        "exact": "string",
        "blob": "string",
    }
    folder = tmp_path / "snapshot"
    target = Destination(LOCAL, str(folder / "export_id=017-a"))
    assert convert_export(open_object, export, columns, target).rows == 2
    name = f"snapshot_{uuid.uuid4().hex[:8]}"
    table = CatalogTable(
        TableReference("lake", name), "1", snapshot_definition(name, str(folder), columns)
    )
    spark.sql(create_statement(table, Dialect.SPARK, name=name))
    spark.catalog.recoverPartitions(name)
    rows = {row["log_id"]: row.asDict(recursive=True) for row in spark.table(name).collect()}
    assert rows["l1"]["nested"] == {"ids": [2**53 + 1], "at": [["x"]]}
    assert rows["l1"]["export_id"] == "017-a"
    assert rows["l1"]["blob"] == "AAE="
    assert rows["l2"]["tags"] == []
    summed = spark.sql(f"SELECT cast(exact AS decimal(38,6)) AS d FROM {name} ORDER BY log_id")
    assert [row.d for row in summed.collect()] == [Decimal(EXACT), Decimal(100)]
    spark.sql(f"DROP TABLE {name}")


def test_a_snapshot_has_no_delivery_columns() -> None:
    columns = (Column("a", "string"),)
    assert item_columns(lake_columns(columns)) == columns
