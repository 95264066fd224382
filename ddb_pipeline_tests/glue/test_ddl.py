"""CREATE TABLE statements of the lake table, run by the engines that read it."""

import json
import uuid
from collections.abc import Callable
from datetime import datetime
from decimal import Decimal
from pathlib import Path
from typing import Any

import duckdb
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from ddb_pipeline.arrow_types import arrow_schema
from ddb_pipeline.glue.catalog import CatalogError, CatalogTable, TableReference
from ddb_pipeline.glue.ddl import Dialect, create_statement
from ddb_pipeline.glue.lake_table import lake_columns, lake_definition
from ddb_pipeline.hive.types import Column

CRAWLED = (
    Column("log_id", "string"),
    Column("tags", "set<string>"),
    Column("ids", "set<bigint>"),
    Column("nested", "struct<by:set<string>,inner:array<struct<at:double,ids:set<bigint>>>>"),
    Column("per_day", "map<string,array<bigint>>"),
    Column("ok", "boolean"),
    Column("exact", "decimal(38,6)"),
    Column("blob", "binary"),
)
ROW: dict[str, Any] = {
    "ddb_event_id": "e1",
    "ddb_event_time": datetime(2026, 11, 24, 10, 30, 0, 123000),
    "ddb_expired": False,
    "log_id": "l1",
    "tags": ["a", "b"],
    "ids": [1, 2**53 + 1],
    "nested": {"by": ["x"], "inner": [{"at": 0.5, "ids": [2**63 - 1]}]},
    "per_day": [("2026-11-24", [1, 2])],
    "ok": True,
    "exact": "12345678901234567890123456789012.123456",
    "blob": "AAE=",
}


def table(location: str, database: str = "lake") -> CatalogTable:
    definition = lake_definition("stream", location, lake_columns(CRAWLED))
    return CatalogTable(TableReference(database, "stream"), "1", definition)


def write_hour(folder: Path) -> Path:
    hour = folder / "delivery_date=2026-11-24" / "delivery_hour=10"
    hour.mkdir(parents=True)
    schema = arrow_schema(lake_columns(CRAWLED))
    pq.write_table(pa.Table.from_pylist([ROW], schema), hour / "a.parquet")
    return hour / "a.parquet"


def test_spark_reads_with_the_statement(spark: Any, tmp_path: Path) -> None:
    write_hour(tmp_path)
    name = f"stream_{uuid.uuid4().hex[:8]}"
    spark.sql(create_statement(table(str(tmp_path)), Dialect.SPARK, name=name))
    spark.catalog.recoverPartitions(name)
    rows = [row.asDict(recursive=True) for row in spark.table(name).collect()]
    assert len(rows) == 1
    found = rows[0]
    expected = {**ROW, "per_day": dict(ROW["per_day"])}
    assert {key: found[key] for key in expected} == expected
    assert (found["delivery_date"], found["delivery_hour"]) == ("2026-11-24", "10")
    columns = {field.name: field.dataType.simpleString() for field in spark.table(name).schema}
    assert columns == {c.name: c.type for c in (*lake_columns(CRAWLED), *table("x").partition_keys)}
    spark.sql(f"DROP TABLE {name}")


def test_spark_parses_the_hive_statement(spark: Any) -> None:
    statement = create_statement(table("s3://lake/stream/"), Dialect.HIVE)
    parser = spark._jsparkSession.sessionState().sqlParser()
    assert "stream" in parser.parsePlan(statement).toString()


@pytest.mark.embedded
def test_athena_queries_with_the_statement(
    aws_client: Callable[[str], Any], tmp_path: Path
) -> None:
    """The emulator's Athena: DuckDB behind Athena's interface and the Glue catalog."""
    name = f"athena{uuid.uuid4().hex[:8]}"
    s3, glue, athena = (aws_client(service) for service in ("s3", "glue", "athena"))
    s3.create_bucket(Bucket=name)
    glue.create_database(DatabaseInput={"Name": name})
    key = "stream/delivery_date=2026-11-24/delivery_hour=10/a.parquet"
    s3.upload_file(str(write_hour(tmp_path)), name, key)
    output = {"OutputLocation": f"s3://{name}/results/"}

    def run(query: str) -> Any:
        started = athena.start_query_execution(QueryString=query, ResultConfiguration=output)
        query_id = started["QueryExecutionId"]
        while True:
            found = athena.get_query_execution(QueryExecutionId=query_id)["QueryExecution"]
            if found["Status"]["State"] not in ("QUEUED", "RUNNING"):
                assert found["Status"]["State"] == "SUCCEEDED", found["Status"]
                return athena.get_query_results(QueryExecutionId=query_id)["ResultSet"]["Rows"]

    run(create_statement(table(f"s3://{name}/stream/", name), Dialect.HIVE))
    stored = glue.get_table(DatabaseName=name, Name="stream")["Table"]
    columns = tuple(Column(c["Name"], c["Type"]) for c in stored["StorageDescriptor"]["Columns"])
    assert columns == lake_columns(CRAWLED)
    rows = run(f"SELECT log_id, ids[2], nested.inner[1].ids[1], exact FROM {name}.stream")
    values = [[cell["VarCharValue"] for cell in row["Data"]] for row in rows]
    assert values[1:] == [["l1", str(2**53 + 1), str(2**63 - 1), ROW["exact"]]]


def test_duckdb_reads_the_files(tmp_path: Path) -> None:
    write_hour(tmp_path)
    found = duckdb.execute(
        "SELECT to_json(tags), ids[2], nested.inner[1].at, delivery_date::VARCHAR, "
        f"exact::DECIMAL(38,6) FROM read_parquet('{tmp_path}/*/*/*.parquet', "
        "hive_partitioning=true)"
    ).fetchone()
    assert found is not None
    assert json.loads(found[0]) == ROW["tags"]
    assert found[1:] == (2**53 + 1, 0.5, "2026-11-24", Decimal(ROW["exact"]))


def test_a_table_with_invalid_types_has_no_statement() -> None:
    definition = lake_definition("t", "s3://b/", CRAWLED)
    broken = CatalogTable(TableReference("d", "t"), "1", definition)
    with pytest.raises(
        CatalogError, match=r"d\.t: tags has type 'set<string>'.*Correct the table in the catalog"
    ):
        create_statement(broken, Dialect.HIVE)


def test_names_and_locations_are_quoted() -> None:
    statement = create_statement(table("x"), Dialect.HIVE, location="s3://b/it's/")
    assert statement.startswith("CREATE EXTERNAL TABLE IF NOT EXISTS `lake`.`stream` (\n  `ddb_")
    assert statement.endswith("STORED AS PARQUET\nLOCATION 's3://b/it\\'s/'")
