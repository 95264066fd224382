"""The health of a table's files: findings as a table of cases, and a look at real files."""

import os
from collections.abc import Callable
from dataclasses import replace
from datetime import datetime, timezone
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from ddb_pipeline.arrow_types import parquet_write_options
from ddb_pipeline.embedded.clients import client_arguments
from ddb_pipeline.embedded.process import Endpoint
from ddb_pipeline.glue.catalog import CatalogTable, TableReference, create_table, read_table
from ddb_pipeline.glue.lake_table import LakePartition, parquet_definition, register_partitions
from ddb_pipeline.glue.partitions import CatalogPartition, point_partition
from ddb_pipeline.hive.types import Column
from ddb_pipeline.lake.health import (
    MIB,
    Finding,
    FoundFile,
    FoundPartition,
    Limits,
    Look,
    Problem,
    differing_columns,
    findings,
    look,
)
from ddb_pipeline.resources.filesystem import s3_filesystem

NOW = 1_800_000_000.0
HOUR = 3600.0
N = Column("n", "bigint")
KEYS = (Column("day", "string"),)
TABLE = CatalogTable(
    TableReference("db", "t"), "1", parquet_definition("t", "s3://b/t/", [N], KEYS)
)


def partition(
    value: str, *sizes: int, hours: float = 5, columns: tuple[Column, ...] = (N,), **others: Any
) -> FoundPartition:
    files = tuple(FoundFile(f"{value}/{i}", s, NOW - hours * HOUR) for i, s in enumerate(sizes))
    return FoundPartition((value,), columns, files, **others)


LIMITS = Limits(small_files=2)
MANY = (1,) * 3
INT = (Column("n", "int"),)


@pytest.mark.parametrize(
    ("partitions", "expected"),
    [
        ([], []),
        ([partition("a", 1, 1)], []),
        ([partition("a", *MANY), partition("b", *MANY, 1)], [("a", "b", "many small", "up to 4")]),
        ([partition("a", *[16 * MIB] * 20)], []),
        ([partition("open", *MANY, hours=1)], []),
        ([partition("a", 1, columns=INT)], [("a", "read with other types", "n: int")]),
        ([partition("a", 1, columns=INT, hours=1)], []),
        ([partition("a", 1, columns=())], []),
        ([FoundPartition(("old",), INT, None)], [("old", "read with other types", "n: int")]),
        ([partition("a", 1, differing=("n: int",))], [("a", "files with other types", "n: int")]),
        ([partition("a")], [("a", "registered without files", "")]),
        ([FoundPartition(("a",), (N,), None)], []),
    ],
)
def test_findings(partitions: list[FoundPartition], expected: list[tuple[str, ...]]) -> None:
    found = findings(Look(TABLE, tuple(partitions), None), LIMITS, NOW)
    assert len(found) == len(expected)
    for finding, (*values, problem, detail) in zip(found, expected, strict=True):
        assert [value for (value,) in finding.partitions] == values
        assert finding.problem.value.startswith(problem)
        assert finding.detail == detail


@pytest.mark.parametrize(("limit", "old"), [(None, False), (3 * HOUR, False), (HOUR, True)])
def test_age(limit: float | None, old: bool) -> None:
    found = Look(TABLE, (partition("a", 1),), NOW - 2 * HOUR)
    limits = replace(LIMITS, max_age_seconds=limit)
    expected = [Finding(Problem.OLD, (), "2.0 hours, 1 are expected")] if old else []
    assert findings(found, limits, NOW) == expected


def test_sizes() -> None:
    found = Look(TABLE, (partition("a", 1, 16 * MIB, 17 * MIB), partition("b", 3)), None)
    assert found.median_size == (3 + 16 * MIB) / 2
    assert found.small_share(LIMITS) == 0.5
    empty = Look(TABLE, (), None)
    assert (empty.median_size, empty.small_share(LIMITS)) == (0, 0)


@pytest.mark.parametrize(
    ("arrow", "hive", "differs"),
    [
        (pa.int64(), "bigint", False),
        (pa.int32(), "bigint", True),
        (pa.timestamp("ns"), "timestamp", False),
        (pa.list_(pa.struct([("a", pa.int32())])), "array<struct<a:bigint>>", True),
        (pa.time32("s"), "string", True),
    ],
)
def test_differing_columns(arrow: pa.DataType, hive: str, differs: bool) -> None:
    schema = pa.schema([("c", arrow), ("only in the file", pa.int8())])
    columns = (Column("c", hive), Column("only_in_the_table", "int"))
    assert bool(differing_columns(schema, columns)) is differs


@pytest.mark.embedded
def test_a_look_at_a_table(embedded_aws: Endpoint, aws_client: Callable[[str], Any]) -> None:
    name = f"health-{os.urandom(4).hex()}"
    s3, glue = aws_client("s3"), aws_client("glue")
    filesystem = s3_filesystem(client_arguments(embedded_aws))
    s3.create_bucket(Bucket=name)
    glue.create_database(DatabaseInput={"Name": name})
    at = datetime(2026, 11, 24, 9, 30, tzinfo=timezone.utc)
    kinds = {"00": pa.int32(), "01": pa.int32(), "02": pa.int64()}
    for hour, kind in kinds.items():
        rows = pa.table(
            {
                "n": pa.array([1], kind),
                "ddb_event_time": pa.array([at.replace(tzinfo=None)], pa.timestamp("us")),
            }
        )
        for number in range(2):
            path = f"{name}/stream/{hour}/{number}.parquet"
            pq.write_table(rows, path, filesystem=filesystem, **parquet_write_options())
    columns = (N, Column("ddb_event_time", "timestamp"))
    definition = parquet_definition("lake", f"s3://{name}/stream/", columns, KEYS)
    reference = TableReference(name, "lake")
    table = create_table(glue, reference, definition)
    locations = [LakePartition((h,), f"s3://{name}/stream/{h}/") for h in (*kinds, "03")]
    register_partitions(glue, table, locations)
    narrow = CatalogPartition(("00",), locations[0].location, (*INT, columns[1]))
    point_partition(glue, reference, narrow)
    found = look(glue, filesystem, read_table(glue, reference), Limits(partitions=3))
    assert [p.files and len(p.files) for p in found.partitions] == [None, 2, 2, ()]
    assert found.newest_row_at == at.timestamp()
    limits = Limits(partitions=3, open_seconds=-HOUR, max_age_seconds=HOUR, small_files=1)
    problems = {f.problem: f for f in findings(found, limits, at.timestamp() + 2 * HOUR)}
    # The files are as old as this test, so that all partitions are closed far in the future only.
    assert problems[Problem.NO_FILES].partitions == (("03",),)
    assert problems[Problem.PARTITION_TYPES].partitions == (("00",),)
    assert problems[Problem.OLD].detail == "2.0 hours, 1 are expected"
    later = findings(found, limits, 4e9)
    assert (later[0].problem, later[0].partitions) == (
        Problem.SMALL_FILES,
        (("01",), ("02",)),
    )
    assert [f.partitions for f in later if f.problem is Problem.FILE_TYPES] == [(("01",),)]
