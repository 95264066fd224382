"""The tables that an event names, and those of them that are watched."""

import json
from pathlib import Path

import pytest

from ddb_pipeline.glue.catalog import TableReference
from ddb_pipeline.glue.repair import changed_tables, watched

EVENTS = json.loads(
    (Path(__file__).parents[1] / "vectors" / "eventbridge_glue_events.json").read_text("utf-8")
)


def test_events_as_documented_name_their_tables() -> None:
    assert [changed_tables(event) for event in EVENTS] == [
        (TableReference("default", "foo"),),
        (TableReference("atrops_ddl", "o_slam_packages"),),
        (TableReference("d1", "t1"),),
        (),
    ]


TABLE = "Glue Data Catalog Table State Change"
DATABASE = "Glue Data Catalog Database State Change"


@pytest.mark.parametrize(
    ("case", "event", "expected"),
    [
        (
            "a batch of tables",
            {
                "source": "aws.glue",
                "detail-type": DATABASE,
                "detail": {
                    "databaseName": "d",
                    "typeOfChange": "CreateTable",
                    "changedTables": ["a", "b"],
                },
            },
            ["a", "b"],
        ),
        (
            "deleted tables need no fix",
            {
                "source": "aws.glue",
                "detail-type": DATABASE,
                "detail": {
                    "databaseName": "d",
                    "typeOfChange": "BatchDeleteTable",
                    "changedTables": ["a"],
                },
            },
            [],
        ),
        (
            "another service",
            {
                "source": "aws.s3",
                "detail-type": TABLE,
                "detail": {"databaseName": "d", "tableName": "a"},
            },
            [],
        ),
        (
            "another event of Glue",
            {
                "source": "aws.glue",
                "detail-type": "Glue Crawler State Change",
                "detail": {"crawlerName": "c"},
            },
            [],
        ),
        ("no detail", {"source": "aws.glue", "detail-type": TABLE}, []),
        (
            "no table name",
            {"source": "aws.glue", "detail-type": TABLE, "detail": {"databaseName": "d"}},
            [],
        ),
        (
            "no database",
            {"source": "aws.glue", "detail-type": TABLE, "detail": {"tableName": "a"}},
            [],
        ),
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
