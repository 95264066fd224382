"""Iceberg tables in the Glue Data Catalog of an embedded AWS: published, read, vacuumed."""

import json
import threading
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import dagster as dg
import pyarrow as pa
import pytest

from ddb_pipeline.config.choices import CurrentView
from ddb_pipeline.config.lake import RetentionConfig, TableFormat
from ddb_pipeline.config.names import (
    current_table,
    iceberg_database,
    iceberg_table,
    lake_table,
    stream_location,
)
from ddb_pipeline.config.pipeline import PipelineConfig
from ddb_pipeline.config.settings import Settings
from ddb_pipeline.definitions import build_defs
from ddb_pipeline.defs.current import store_of
from ddb_pipeline.defs.iceberg import publish_current, publish_hour, vacuum_iceberg
from ddb_pipeline.embedded.process import stop
from ddb_pipeline.glue.catalog import read_table
from ddb_pipeline.glue.lake_table import widen_lake_table
from ddb_pipeline.hive.types import Column
from ddb_pipeline.lake.compaction import CompactionOptions, Lake, compact_hour
from ddb_pipeline.lake.layout import DeliveryHour
from ddb_pipeline.queues import Queue
from ddb_pipeline.resources.cloud import CloudResource
from ddb_pipeline.resources.iceberg import current_target, stream_target
from ddb_pipeline.resources.parquet_io_manager import ParquetIOManager
from ddb_pipeline_tests.lake.current.conftest import ViewOfItems
from ddb_pipeline_tests.support.delivered_hours import DeliveredHours

pytestmark = pytest.mark.embedded

HOUR = DeliveryHour.of(time.time()).plus(-3)
PIPELINE = PipelineConfig(
    name="tables",
    table_format=TableFormat.ICEBERG,
    current=CurrentView.EXPORTS,
    bucket="tables-lake",
    lake_prefix="sales/tables",
    retention=RetentionConfig(raw_days=1e-9, replaced_days=1e-9),
)
COLUMNS = (Column("log_id", "string"), Column("n", "int"))
ITEMS = (Column("id", "string"), Column("n", "bigint"))
DAY = 86_400.0


@dataclass(frozen=True)
class Account(DeliveredHours):
    folder: Path

    def stream_rows(self) -> list[dict[str, Any]]:
        target = stream_target(self.cloud, PIPELINE)
        rows: list[dict[str, Any]] = (
            target.catalog.load_table(target.identifier).scan().to_arrow().to_pylist()
        )
        return sorted(rows, key=lambda row: (row["delivery_hour"], row["n"]))

    @property
    def view(self) -> ViewOfItems:
        items = ViewOfItems(self.folder)
        items.store = store_of(self.cloud, PIPELINE)
        return items

    def publish_view(self) -> dict[str, Any]:
        return publish_current(self.cloud, PIPELINE, store_of(self.cloud, PIPELINE))[1]

    def view_rows(self) -> dict[str, int]:
        target = current_target(self.cloud, PIPELINE)
        table = target.catalog.load_table(target.identifier).scan().to_arrow()
        return {row["id"]: row["n"] for row in table.to_pylist()}


@pytest.fixture(scope="module")
def account(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Account]:
    home = tmp_path_factory.mktemp("tables")
    settings = Settings(home=home, pipelines=(PIPELINE,))
    cloud = CloudResource.of(settings)
    widen_lake_table(cloud.glue, lake_table(PIPELINE), stream_location(PIPELINE), COLUMNS)
    with dg.DagsterInstance.ephemeral() as instance:
        yield Account(settings, cloud, instance, tmp_path_factory.mktemp("rows"))
    stop(home / "embedded")


def test_a_compacted_hour_is_committed_with_what_arrives_late(account: Account) -> None:
    account.land(HOUR, "one", b'{"log_id":"a","n":1}', COLUMNS)
    account.land(HOUR, "two", b'{"log_id":"b","n":2}', COLUMNS)
    found = account.materialize(HOUR)
    # The plain table stays what Firehose converts with, and reads the hours that are open.
    assert found["dagster/table_name"] == str(lake_table(PIPELINE))
    assert found["iceberg_table"] == str(iceberg_table(PIPELINE, lake_table(PIPELINE)))
    assert found["iceberg_table"].startswith("tables_iceberg.")
    assert (found["iceberg_files_added"], found["iceberg_files_removed"]) == (1, 0)
    account.land(HOUR, "late", b'{"log_id":"c","n":3}', COLUMNS)
    late = account.materialize(HOUR)
    assert (late["iceberg_files_added"], late["iceberg_files_removed"]) == (1, 1)
    assert [(row["log_id"], row["delivery_hour"]) for row in account.stream_rows()] == [
        (name, HOUR.hour) for name in "abc"
    ]
    table = read_table(account.cloud.glue, iceberg_table(PIPELINE, lake_table(PIPELINE)))
    assert (table.definition.get("Parameters") or {})["table_type"] == "ICEBERG"
    again = account.materialize(HOUR)
    assert again["iceberg_snapshot"] == late["iceberg_snapshot"]


def test_hours_committed_at_the_same_time_are_all_there_once(account: Account) -> None:
    hours = [HOUR.plus(-1), HOUR.plus(-2)]
    lake = Lake(account.cloud.s3, account.cloud.filesystem(), PIPELINE.lake)
    for hour in hours:
        account.land(hour, "one", b'{"log_id":"a","n":1}', COLUMNS)
        compact_hour(lake, hour, lambda: COLUMNS, lambda _: None, CompactionOptions(int96=False))
    together = threading.Barrier(4)

    def run(number: int) -> dict[str, Any]:
        together.wait(60)
        return publish_hour(account.cloud, PIPELINE, hours[number % 2])

    with ThreadPoolExecutor(4) as pool:
        done = list(pool.map(run, range(4)))
    committed = [hour.hour for hour in hours]
    found = [row["delivery_hour"] for row in account.stream_rows()]
    assert sorted(each for each in found if each in committed) == sorted(committed)
    assert sum(each["iceberg_files_added"] for each in done) == 2


def test_commits_do_not_wake_the_schema_sensor(account: Account) -> None:
    account.land(HOUR.plus(-5), "one", b'{"log_id":"a","n":1}', COLUMNS)
    account.materialize(HOUR.plus(-5))
    bodies = Queue(account.cloud.sqs, PIPELINE.change_queue).take()
    databases = {json.loads(body)["detail"]["databaseName"] for body in bodies}
    assert iceberg_database(PIPELINE) not in databases


def test_the_current_view_is_committed_and_read_by_assets(account: Account) -> None:
    view = account.view
    view.full([{"id": f"k{n}", "n": n} for n in range(40)], ITEMS, buckets=4, int96=False)
    first = account.publish_view()
    assert (first["iceberg_files_added"], first["iceberg_files_rewritten"]) == (4, 0)
    changes = [{"id": "k7", "n": -7, "at": 1}, {"id": "k8", "n": 0, "at": 1, "gone": True}]
    rewritten = view.change(changes, ITEMS, int96=False).rewritten
    second = account.publish_view()
    assert (second["iceberg_files_added"], second["iceberg_files_removed"]) == (rewritten,) * 2
    expected = {f"k{n}": -7 if n == 7 else n for n in range(40) if n != 8}
    assert account.view_rows() == expected
    assert second["dagster/table_name"] == str(iceberg_table(PIPELINE, current_table(PIPELINE)))

    @dg.asset(
        ins={
            "items": dg.AssetIn(
                ["tables", "parquet_current"],
                metadata={"dagster/table_name": second["dagster/table_name"]},
            )
        }
    )
    def total(items: pa.Table) -> int:
        assert items.schema.field("key_bucket").type == pa.int32()
        return int(sum(items.column("n").to_pylist()))

    manager = ParquetIOManager(root=str(account.folder / "assets"), cloud=account.cloud)
    result = dg.materialize(
        [total, dg.AssetSpec(["tables", "parquet_current"])],
        selection=[total],
        resources={"io_manager": manager.model_copy()},
        raise_on_error=False,
    )
    assert result.output_for_node("total") == sum(expected.values())


def test_the_vacuum_expires_snapshots_and_removes_their_files(account: Account) -> None:
    view = account.view
    if not view.store.read().manifest.version:
        view.full([{"id": "k1", "n": 1}], ITEMS, buckets=4, int96=False)
    account.publish_view()
    for number in range(3):
        view.change([{"id": f"k{n}", "n": number, "at": 2 + number} for n in range(8)], ITEMS)
        account.publish_view()
    rows, cloud = account.view_rows(), account.cloud
    now = time.time()
    early = vacuum_iceberg(cloud, PIPELINE, now, dry_run=True)
    # Files that were written within the hour are left: their commit may be to come.
    assert not any(found.removals for found in early)
    listed, done, again = (
        vacuum_iceberg(cloud, PIPELINE, now + DAY, dry_run=dry_run)[1]
        for dry_run in (True, False, False)
    )
    assert listed.expired == done.expired
    assert len(listed.expired) >= 3
    assert listed.removals
    keys = {stored.key for stored in listed.removals[0].objects}
    assert {stored.key for stored in done.removals[0].objects} >= keys
    assert any("key_bucket=" in key for key in keys)
    assert any("/metadata/snap-" in key for key in keys)
    assert (again.expired, account.view_rows()) == ((), rows)
    table = current_target(cloud, PIPELINE).catalog.load_table(
        current_target(cloud, PIPELINE).identifier
    )
    assert len(table.metadata.snapshots) == 1


def test_a_generation_that_a_snapshot_has_is_left(account: Account) -> None:
    """The Iceberg table still has the generation before: a run stopped before its commit."""
    hour = HOUR.plus(-8)
    account.land(hour, "one", b'{"log_id":"a","n":1}', COLUMNS)
    account.materialize(hour)
    account.land(hour, "late", b'{"log_id":"b","n":2}', COLUMNS)
    lake = Lake(account.cloud.s3, account.cloud.filesystem(), PIPELINE.lake)
    compact_hour(lake, hour, lambda: COLUMNS, lambda _: None)
    job = build_defs(account.settings).resolve_job_def("vacuum")
    job.execute_in_process(instance=account.instance)
    assert len([row for row in account.stream_rows() if row["delivery_hour"] == hour.hour]) == 1
    assert account.materialize(hour)["iceberg_files_removed"] == 1
    assert len([row for row in account.stream_rows() if row["delivery_hour"] == hour.hour]) == 2
