"""The tables that an event names, and those of them that are watched."""

import json
from pathlib import Path

import pytest

from ddb_pipeline.glue.catalog import TableReference
from ddb_pipeline.glue.repair import DATABASE_CHANGE, TABLE_CHANGE, changed_tables, watched

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
    assert watched([a], []) == ()
