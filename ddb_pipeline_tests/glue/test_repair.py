"""The tables that an event names, those of them that are watched, and those that are repaired."""

import json
from pathlib import Path
from typing import Any

import pytest

from ddb_pipeline.glue.catalog import CatalogTable, TableReference
from ddb_pipeline.glue.repair import (
    DATABASE_CHANGE,
    TABLE_CHANGE,
    changed_tables,
    pending_changes,
    repaired,
    sign_of_files,
    watched,
)
from ddb_pipeline.glue.watch import table_state

EVENTS = json.loads(
    (Path(__file__).parents[1] / "vectors" / "eventbridge_glue_events.json").read_text("utf-8")
)


def test_documented_events() -> None:
    assert [changed_tables(event) for event in EVENTS] == [
        (TableReference("default", "foo"),),
        (TableReference("atrops_ddl", "o_slam_packages"),),
        (TableReference("d1", "t1"),),
        (),
    ]


def event(kind: str, source: str = "aws.glue", **detail: object) -> dict[str, object]:
    return {"source": source, "detail-type": kind, "detail": detail}


@pytest.mark.parametrize(
    ("case", "event", "expected"),
    [
        (
            "several tables created",
            event(
                DATABASE_CHANGE,
                databaseName="d",
                typeOfChange="CreateTable",
                changedTables=["a", "b"],
            ),
            ["a", "b"],
        ),
        (
            "deleted tables need no fix",
            event(
                DATABASE_CHANGE,
                databaseName="d",
                typeOfChange="BatchDeleteTable",
                changedTables=["a"],
            ),
            [],
        ),
        (
            "another service",
            event(TABLE_CHANGE, source="aws.s3", databaseName="d", tableName="a"),
            [],
        ),
        ("another event of Glue", event("Glue Crawler State Change", crawlerName="c"), []),
        ("no detail", {"source": "aws.glue", "detail-type": TABLE_CHANGE}, []),
        ("no table name", event(TABLE_CHANGE, databaseName="d"), []),
        ("no database", event(TABLE_CHANGE, tableName="a"), []),
        ("nothing at all", {}, []),
    ],
)
def test_changed_tables(case: str, event: dict[str, object], expected: list[str]) -> None:
    assert [table.name for table in changed_tables(event)] == expected, case


def test_watched_tables_match_by_name_or_by_database() -> None:
    a, b, c = (TableReference("d", "a"), TableReference("d", "b"), TableReference("e", "c"))
    assert watched([a, b, c, a], [a]) == (a,)
    assert watched([a, b, c, a], [TableReference("d", "*")]) == (a, b)
    prefixed = TableReference("d", "ddb_a")
    assert watched([a, prefixed], [TableReference("d", "ddb_*")]) == (prefixed,)
    assert watched([a], []) == ()


def catalog_table(
    kind: str, *, parameters: dict[str, str] | None = None, **descriptor: Any
) -> CatalogTable:
    definition: Any = {
        "Name": "t",
        "Parameters": parameters or {},
        "StorageDescriptor": {"Columns": [{"Name": "c", "Type": kind}], **descriptor},
    }
    return CatalogTable(TableReference("d", "t"), "1", definition)


PARQUET = "org.apache.hadoop.hive.ql.io.parquet"
FILES: list[dict[str, Any]] = [
    {"parameters": {"classification": "parquet"}},
    {"parameters": {"classification": "json"}, "Location": "arn:aws:dynamodb:::table/t"},
    {"InputFormat": f"{PARQUET}.MapredParquetInputFormat"},
    {"SerdeInfo": {"SerializationLibrary": f"{PARQUET}.serde.ParquetHiveSerDe"}},
    {"Location": "s3://lake/t/"},
    {"Location": "s3a://lake/t/"},
]
NO_FILES: list[dict[str, Any]] = [
    {},
    {"parameters": {"classification": "dynamodb", "typeOfData": "table"}},
    {"parameters": {"classification": "DynamoDB"}, "Location": "s3://odd"},
    {
        "Location": "arn:aws:dynamodb:eu-west-1:000000000000:table/t",
        "SerdeInfo": {"Parameters": {}},
    },
]


@pytest.mark.parametrize("table", FILES)
@pytest.mark.parametrize("kind", ["decimal(38,0)", "binary", "set<string>"])
def test_types_of_files_stay(table: dict[str, Any], kind: str) -> None:
    found = catalog_table(kind, **table)
    assert sign_of_files(found)
    assert repaired(found) is None
    assert pending_changes(found) == ()
    assert not table_state(found, 0).pending


@pytest.mark.parametrize("table", NO_FILES)
def test_tables_of_a_crawler_and_tables_without_files_are_repaired(table: dict[str, Any]) -> None:
    found = catalog_table("set<string>", **table)
    assert sign_of_files(found) == ""
    assert [change.after for change in pending_changes(found)] == ["array<string>"]
    assert table_state(found, 0).pending
