"""The lake table in the embedded AWS: creation, widening, partitions."""

import uuid
from collections.abc import Callable
from typing import Any

import pytest

from ddb_pipeline.glue.catalog import TableReference, read_table, table_input
from ddb_pipeline.glue.lake_table import (
    DELIVERY_COLUMNS,
    LakePartition,
    lake_definition,
    register_partitions,
    widen_lake_table,
)
from ddb_pipeline.hive.types import Column

pytestmark = pytest.mark.embedded

LOCATION = "s3://lake/stream/"


@pytest.fixture
def lake(aws_client: Callable[[str], Any]) -> tuple[Any, TableReference]:
    glue = aws_client("glue")
    name = f"lake{uuid.uuid4().hex[:10]}"
    glue.create_database(DatabaseInput={"Name": name})
    return glue, TableReference(name, "stream")


def test_a_crawled_schema_only_widens_the_table(lake: tuple[Any, TableReference]) -> None:
    glue, reference = lake

    def widen(**types: str) -> Any:
        crawled = [Column(name, text) for name, text in types.items()]
        return widen_lake_table(glue, reference, LOCATION, crawled)

    first = widen(id="string", tags="set<string>", n="int")
    assert (first.created, first.written) == (True, True)
    assert first.table.columns[: len(DELIVERY_COLUMNS)] == DELIVERY_COLUMNS
    again = widen(id="string", tags="array<string>", n="int")
    assert (again.created, again.written, again.table.version_id) == (
        False,
        False,
        first.table.version_id,
    )
    wider = widen(id="string", n="bigint", seen="struct<at:string,by:set<string>>")
    items = wider.table.columns[len(DELIVERY_COLUMNS) :]
    assert items == (
        Column("id", "string"),
        Column("tags", "array<string>"),
        Column("n", "bigint"),
        Column("seen", "struct<at:string,by:array<string>>"),
    )
    conflicting = widen(id="array<string>", n="string", seen="struct<by:set<string>>")
    assert not conflicting.written
    assert {d.path for d in conflicting.evolution.diff.conflicting} == {"id", "n"}
    assert read_table(glue, reference).columns == wider.table.columns


def test_widening_keeps_what_others_wrote(lake: tuple[Any, TableReference]) -> None:
    glue, reference = lake
    table = widen_lake_table(glue, reference, LOCATION, [Column("id", "string")]).table
    definition = table.definition
    definition["Parameters"] = {**definition["Parameters"], "team": "search"}
    definition["Description"] = "of another team"
    glue.update_table(DatabaseName=reference.database, TableInput=definition)
    widen_lake_table(glue, reference, LOCATION, [Column("new", "int")])
    after = read_table(glue, reference)
    assert after.definition["Description"] == "of another team"
    assert after.definition["Parameters"]["team"] == "search"
    assert [key.name for key in after.partition_keys] == ["delivery_date", "delivery_hour"]


def test_glue_returns_the_definition(lake: tuple[Any, TableReference]) -> None:
    glue, reference = lake
    definition = lake_definition(reference.name, LOCATION, DELIVERY_COLUMNS)
    widen_lake_table(glue, reference, LOCATION, [])
    stored = glue.get_table(DatabaseName=reference.database, Name=reference.name)["Table"]
    found = table_input(stored)
    assert found.items() >= definition.items()


def test_more_partitions_than_one_request_takes(lake: tuple[Any, TableReference]) -> None:
    glue, reference = lake
    table = widen_lake_table(glue, reference, LOCATION, [Column("id", "string")]).table
    hours = [
        LakePartition((f"2026-11-{day:02}", f"{hour:02}"), f"{LOCATION}{day}/{hour}/")
        for day in range(1, 12)
        for hour in range(24)
    ]
    assert register_partitions(glue, table, hours[:30]) == 30
    assert register_partitions(glue, table, hours) == len(hours) - 30
    assert register_partitions(glue, table, hours) == 0
    pages = glue.get_paginator("get_partitions").paginate(
        DatabaseName=reference.database, TableName=reference.name
    )
    found = {tuple(p["Values"]) for page in pages for p in page["Partitions"]}
    assert found == {hour.values for hour in hours}
