"""Cursors of partitioned assets, and what Dagster recorded of partitions."""

import dagster as dg
import pytest

from ddb_pipeline.defs.partition_requests import (
    MAX_OPEN,
    Progress,
    Recorded,
    parse_cursor,
    recorded,
    render_cursor,
)
from ddb_pipeline.defs.run_requests import KEYS_PER_QUERY, Requested

KEY = dg.AssetKey(["logs", "parquet_stream"])


def test_a_cursor_is_the_same_after_a_round_trip() -> None:
    pipelines = {
        "logs": Progress({"a": Requested("c0.7", 2, 5.125), "b": None}, "2026-09-21-14:00", 12.5),
        "orders": Progress(),
    }
    assert parse_cursor(render_cursor(pipelines, "logs")) == (pipelines, "logs")


@pytest.mark.parametrize(
    "text",
    [
        None,
        "",
        "text",
        "7",
        '{"logs": {"2026-09-21-14:00": ["v", 5.0]}}',
        '{"format": 1, "requested": {"logs": {"p": ["v", 0, 1, 1]}}, "compared_at": 0}',
        '{"format": 2, "pipelines": {"logs": {"open": {"p": [1]}, "position": "", "pass_at": 0}}}',
        '{"format": 2, "pipelines": {"logs": 5}}',
        '{"format": 3}',
    ],
)
def test_other_cursors_read_as_empty(text: str | None) -> None:
    assert parse_cursor(text) == ({}, "")


def test_a_full_cursor_is_small() -> None:
    open_ = {
        f"2026-09-{n % 30:02}-{n % 24:02}:{n:02}": Requested("0123456789abcdef.1234567", 0, 1.8e9)
        for n in range(MAX_OPEN)
    }
    assert len(render_cursor({"logs": Progress(dict(open_), "2026-09-21-14:00")})) < 20_000


def materialize(instance: dg.DagsterInstance, partition: str, version: str) -> None:
    tags = {"dagster/data_version": version} if version else {}
    event = dg.AssetMaterialization(KEY, partition=partition, tags=tags)
    instance.report_runless_asset_event(event)


def test_the_latest_materialization_of_each_partition(instance: dg.DagsterInstance) -> None:
    for partition, version in (("a", "1"), ("b", ""), ("a", "2"), ("c", "3")):
        materialize(instance, partition, version)
    found = recorded(instance, KEY, ["a", "b", "absent"])
    assert {partition: each.data_version for partition, each in found.items()} == {
        "a": "2",
        "b": "",
    }
    materialize(instance, "a", "2")
    assert recorded(instance, KEY, ["a"])["a"].storage_id > found["a"].storage_id


def test_many_partitions_are_looked_up_in_parts(instance: dg.DagsterInstance) -> None:
    for n in range(3):
        materialize(instance, f"{n:05}", str(n))
    found = recorded(instance, KEY, [f"{n:05}" for n in range(2 * KEYS_PER_QUERY)])
    assert sorted(each.data_version for each in found.values()) == ["0", "1", "2"]
    assert all(isinstance(each, Recorded) for each in found.values())
