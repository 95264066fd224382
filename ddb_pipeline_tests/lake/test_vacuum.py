"""Vacuum on the embedded AWS: what is listed is removed, what is needed stays, runs can stop."""

import time
from contextlib import suppress
from dataclasses import dataclass, field
from datetime import datetime, timedelta, timezone
from pathlib import Path
from typing import Any

import pytest

from ddb_pipeline.embedded.process import Endpoint
from ddb_pipeline.export.layout import ItemChange, write_incremental_export
from ddb_pipeline.glue.catalog import TableReference
from ddb_pipeline.glue.partitions import find_partition, point_partition
from ddb_pipeline.glue.snapshot_table import publish_export
from ddb_pipeline.hive.types import Column
from ddb_pipeline.lake import removals
from ddb_pipeline.lake.compacted_hours import COMPACTED_HOURS_PREFIX
from ddb_pipeline.lake.hour_generations import read_generation
from ddb_pipeline.lake.removals import (
    VacuumReport,
    VacuumTarget,
)
from ddb_pipeline.lake.retention import RetentionPolicy, ViewNeeds
from ddb_pipeline.lake.root import LakeRoot
from ddb_pipeline.lake.vacuum import vacuum
from ddb_pipeline.lake.vacuum_exports import RETIRED_CHANGES_PREFIX, RETIRED_PREFIX
from ddb_pipeline_tests.support.stream_lake import HOUR, StreamLake, stream_rows

pytestmark = pytest.mark.embedded

DAY = 86_400.0
GENERATION = ("generation", 2)
"""A generation of one file, and the empty object that stands for its folder."""
POLICY = RetentionPolicy(7 * DAY, DAY, 30 * DAY, 1, 0, 30 * DAY)


@dataclass
class VacuumedLake:
    """A lake, and runs of the vacuum days later."""

    lake: StreamLake
    policy: RetentionPolicy = POLICY
    needed_since: float = field(default_factory=time.time)
    view: ViewNeeds | None = None

    @property
    def snapshots(self) -> TableReference:
        return TableReference(self.lake.table.database, "snapshots")

    @property
    def changes(self) -> TableReference:
        return TableReference(self.lake.table.database, "changes")

    def run(self, days_later: float, *, dry_run: bool = False) -> VacuumReport:
        lake = self.lake
        target = VacuumTarget(
            lake.s3,
            lake.glue,
            lake.root,
            lake.table,
            self.snapshots,
            self.changes,
            "exports",
            self.needed_since,
            self.view,
        )
        now = time.time() + days_later * DAY
        return vacuum(target, self.policy, now, dry_run=dry_run)

    def names(self, prefix: str = "") -> list[str]:
        return [stored.key for stored in self.lake.objects(prefix)]

    def put_snapshot(self, export_id: str) -> None:
        lake = self.lake
        export = f"exports/AWSDynamoDB/{export_id}/"
        snapshot = f"snapshot/export_id={export_id}/"
        names = ("manifest-summary.json", "manifest-files.json", "data/a.json.gz", "data/b.json.gz")
        for key in [*(export + n for n in names), f"{snapshot}p.parquet", f"{snapshot}_SUCCESS"]:
            lake.s3.put_object(Bucket=lake.bucket, Key=lake.root.object_key(key), Body=b"x")
        publish_export(
            lake.glue,
            self.snapshots,
            location=lake.root.uri("snapshot/"),
            columns=[Column("id", "string")],
            export_id=export_id,
            partition_location=lake.root.uri(snapshot),
        )

    def put_changes(self, export_id: str, start: datetime) -> None:
        """A converted incremental export of an hour, with data files beside those of others."""
        lake = self.lake
        write_incremental_export(
            [ItemChange({"id": {"S": "a"}}, {"id": {"S": "a"}}, None, 0)],
            lambda key, body: lake.s3.put_object(Bucket=lake.bucket, Key=key, Body=body),
            table_arn="arn:aws:dynamodb:eu-west-1:000000000000:table/orders",
            bucket=lake.bucket,
            prefix=lake.root.object_key("exports"),
            export_id=export_id,
            files=1,
            from_time=start,
            to_time=start + timedelta(hours=1),
        )
        changes = f"changes/export_id={export_id}/"
        for name in ("p.parquet", "_SUCCESS"):
            key = lake.root.object_key(changes + name)
            lake.s3.put_object(Bucket=lake.bucket, Key=key, Body=b"x")
        publish_export(
            lake.glue,
            self.changes,
            location=lake.root.uri("changes/"),
            columns=[Column("id", "string")],
            export_id=export_id,
            partition_location=lake.root.uri(changes),
        )


@pytest.fixture
def vacuumed(embedded_aws: Endpoint, embedded_home: Path) -> VacuumedLake:
    return VacuumedLake(StreamLake(embedded_aws, embedded_home).create())


def kinds(report: VacuumReport) -> list[tuple[str, int]]:
    return [(removal.kind, len(removal.objects)) for removal in report.removals]


def test_raw_objects_and_replaced_generations_are_removed_after_their_time(
    vacuumed: VacuumedLake,
) -> None:
    lake = vacuumed.lake
    for first in range(0, 30, 10):
        lake.land(stream_rows(first, first + 10))
    lake.compact()
    lake.land(stream_rows(30, 40))
    lake.compact()
    events = lake.events()
    assert vacuumed.run(0.5).removals == []
    assert kinds(vacuumed.run(2, dry_run=True)) == [GENERATION]
    assert kinds(vacuumed.run(2)) == [GENERATION]
    assert kinds(vacuumed.run(2)) == []
    before = vacuumed.names()
    assert kinds(vacuumed.run(8, dry_run=True)) == [("raw objects", 4)]
    assert vacuumed.names() == before
    assert len(vacuumed.names(COMPACTED_HOURS_PREFIX)) == 1
    assert kinds(vacuumed.run(8)) == [("raw objects", 4)]
    assert vacuumed.names(HOUR.prefix) == vacuumed.names(COMPACTED_HOURS_PREFIX) == []
    assert lake.events() == events
    lake.land(stream_rows(35, 45))
    lake.compact()
    assert len(lake.events()) == 45
    assert kinds(vacuumed.run(8)) == [GENERATION, ("raw objects", 1)]
    assert len(lake.events()) == 45


def test_raw_objects_that_are_still_read_stay(vacuumed: VacuumedLake) -> None:
    vacuumed.lake.land(stream_rows(0, 10))
    vacuumed.lake.compact()
    vacuumed.needed_since = HOUR.ends_at - 1
    assert kinds(vacuumed.run(400)) == []
    assert len(vacuumed.names(COMPACTED_HOURS_PREFIX)) == 1
    vacuumed.needed_since = HOUR.ends_at + 1
    assert kinds(vacuumed.run(400)) == [("raw objects", 1)]


def test_raw_objects_that_are_not_compacted_stay(vacuumed: VacuumedLake) -> None:
    vacuumed.lake.land(stream_rows(0, 10))
    vacuumed.lake.compact()
    vacuumed.lake.land(stream_rows(10, 12))
    assert kinds(vacuumed.run(400)) == []
    vacuumed.lake.compact()
    assert kinds(vacuumed.run(400)) == [GENERATION, ("raw objects", 2)]
    assert len(vacuumed.lake.events()) == 12


def test_an_object_that_changes_while_it_is_removed_stays(
    vacuumed: VacuumedLake, monkeypatch: pytest.MonkeyPatch
) -> None:
    lake = vacuumed.lake
    lake.land(stream_rows(0, 10), name="redelivered")
    lake.compact()
    delete = removals.delete_unchanged

    def late(*arguments: Any) -> None:
        lake.land(stream_rows(10, 12), name="redelivered")
        delete(*arguments)

    monkeypatch.setattr(removals, "delete_unchanged", late)
    vacuumed.run(8)
    lake.compact()
    assert len(lake.events()) == 12


def test_a_partition_that_names_a_replaced_generation_is_repaired(vacuumed: VacuumedLake) -> None:
    lake = vacuumed.lake
    lake.land(stream_rows(0, 10))
    lake.compact()
    values = (HOUR.date, HOUR.hour)
    former = find_partition(lake.glue, lake.table, values)
    assert former is not None
    lake.land(stream_rows(10, 12))
    lake.compact()
    point_partition(lake.glue, lake.table, former)
    assert vacuumed.run(8, dry_run=True).repaired == [HOUR.partition_key]
    assert len(lake.events()) == 10
    report = vacuumed.run(8)
    assert (report.repaired, report.removals) == ([HOUR.partition_key], [])
    assert len(lake.events()) == 12
    assert kinds(vacuumed.run(8)) == [GENERATION, ("raw objects", 2)]


def test_files_of_a_compaction_that_was_killed_are_removed(
    vacuumed: VacuumedLake, monkeypatch: pytest.MonkeyPatch
) -> None:
    lake = vacuumed.lake
    lake.land(stream_rows(0, 10))

    def killed(*_: Any) -> Any:
        raise KeyboardInterrupt

    with monkeypatch.context() as patched:
        patched.setattr("ddb_pipeline.lake.compaction.commit_generation", killed)
        with pytest.raises(KeyboardInterrupt):
            lake.compact()
    assert kinds(vacuumed.run(2)) == [GENERATION]
    assert len(vacuumed.names(HOUR.prefix)) == 1
    lake.compact()
    assert len(lake.events()) == 10


OLD, NEW = "01767323045678-a1b2c3d4", "01777323045678-a1b2c3d4"


def test_snapshots_and_exports(vacuumed: VacuumedLake) -> None:
    lake = vacuumed.lake
    for export_id in (OLD, NEW):
        vacuumed.put_snapshot(export_id)
    lake.s3.put_object(
        Bucket=lake.bucket,
        Key=lake.root.object_key("exports/AWSDynamoDB/01787323045678-00/manifest-summary.json"),
    )
    everything = vacuumed.names()
    assert vacuumed.run(0, dry_run=True).retired == [OLD]
    assert vacuumed.names() == everything
    report = vacuumed.run(0)
    assert (report.retired, report.removals) == ([OLD], [])
    assert find_partition(lake.glue, vacuumed.snapshots, (OLD,)) is None
    assert find_partition(lake.glue, vacuumed.snapshots, (NEW,)) is not None
    assert kinds(vacuumed.run(0.5)) == []
    assert kinds(vacuumed.run(2)) == [("snapshot", 2), ("export", 4)]
    assert [key for key in vacuumed.names() if OLD in key] == []
    assert kinds(vacuumed.run(31)) == [("export", 4)]
    assert len([key for key in vacuumed.names() if NEW in key]) == 2
    assert vacuumed.names(RETIRED_PREFIX) == []
    # An export without a snapshot stays.
    assert vacuumed.run(400).removals == []


def test_changes_are_removed_once_they_are_merged_and_no_rebuild_needs_them(
    vacuumed: VacuumedLake,
) -> None:
    lake, start = vacuumed.lake, datetime(2026, 5, 1, tzinfo=timezone.utc)
    ids = [f"0177732304567{number}-a1b2c3d4" for number in range(3)]
    for number, export_id in enumerate(ids):
        vacuumed.put_changes(export_id, start + timedelta(hours=number))
    data = vacuumed.names("exports/AWSDynamoDB/data/")
    assert len(data) == 3
    hours = [(start + timedelta(hours=number)).timestamp() for number in range(4)]
    everything = vacuumed.names()
    # There is no view; it has merged nothing; a rebuild would begin with the first window.
    for view in (None, ViewNeeds(), ViewNeeds(hours[3], base="full", rebuilt_from=hours[0])):
        vacuumed.view = view
        assert vacuumed.run(400, dry_run=True).retired == []
    vacuumed.view = ViewNeeds(hours[2], base="full", rebuilt_from=hours[1])
    assert vacuumed.run(29).retired == []
    assert vacuumed.run(31, dry_run=True).retired == ids[:1]
    assert vacuumed.names() == everything
    assert vacuumed.run(31).retired == ids[:1]
    assert find_partition(lake.glue, vacuumed.changes, (ids[0],)) is None
    assert vacuumed.names(RETIRED_CHANGES_PREFIX) == [RETIRED_CHANGES_PREFIX + ids[0]]
    assert set(everything) <= set(vacuumed.names())
    assert [kind for kind, _ in kinds(vacuumed.run(32))] == ["changes", "export"]
    assert [key for key in vacuumed.names() if ids[0] in key] == []
    assert len(vacuumed.names("exports/AWSDynamoDB/data/")) == 2
    assert [key for key in everything if ids[1] in key] == [
        key for key in vacuumed.names() if ids[1] in key
    ]
    # One that healed a gap is merged into a view of the stream.
    vacuumed.view = ViewNeeds(merged=frozenset(ids[2:]))
    assert vacuumed.run(33).retired == ids[2:]


def test_a_run_that_stops_within_an_export_removes_its_data_files_later(
    vacuumed: VacuumedLake, monkeypatch: pytest.MonkeyPatch
) -> None:
    start = datetime(2026, 5, 1, tzinfo=timezone.utc)
    vacuumed.put_changes(NEW, start)
    vacuumed.view = ViewNeeds(start.timestamp() + 3600)
    vacuumed.run(31)
    delete = removals.delete_objects

    def stopping(s3: Any, lake: LakeRoot, keys: Any) -> None:
        delete(s3, lake, keys[:1])
        if "exports/" in keys[0]:
            raise KeyboardInterrupt

    with monkeypatch.context() as patched:
        patched.setattr(removals, "delete_objects", stopping)
        with pytest.raises(KeyboardInterrupt):
            vacuumed.run(33)
    assert f"exports/AWSDynamoDB/{NEW}/manifest-summary.json" not in vacuumed.names()
    assert len(vacuumed.names("exports/AWSDynamoDB/data/")) == 1
    vacuumed.run(33)
    assert [key for key in vacuumed.names() if key.startswith(("exports/", "changes/"))] == []


def test_the_full_export_that_a_rebuild_begins_with_stays(vacuumed: VacuumedLake) -> None:
    vacuumed.put_snapshot(NEW)
    vacuumed.view = ViewNeeds(base=NEW)
    assert kinds(vacuumed.run(31)) == []
    vacuumed.view = ViewNeeds()
    assert kinds(vacuumed.run(31)) == [("export", 4)]


def test_a_snapshot_that_is_published_again_gets_its_time_again(vacuumed: VacuumedLake) -> None:
    for export_id in (OLD, NEW):
        vacuumed.put_snapshot(export_id)
    vacuumed.run(0)
    vacuumed.put_snapshot(OLD)
    report = vacuumed.run(2)
    assert (report.retired, report.removals) == ([OLD], [])
    assert find_partition(vacuumed.lake.glue, vacuumed.snapshots, (OLD,)) is None


def test_what_a_policy_never_removes(vacuumed: VacuumedLake) -> None:
    vacuumed.policy = RetentionPolicy(0, DAY, 0, 0, 0)
    for export_id in (OLD, NEW):
        vacuumed.put_snapshot(export_id)
    vacuumed.lake.land(stream_rows(0, 10))
    vacuumed.lake.compact()
    report = vacuumed.run(4_000)
    assert (report.retired, report.removals) == ([], [])
    assert vacuumed.names(COMPACTED_HOURS_PREFIX) == []


def test_a_run_removes_a_bounded_number_of_objects(
    vacuumed: VacuumedLake, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(removals, "MAX_OBJECTS", 1)
    lake = vacuumed.lake
    for ago in range(3):
        lake.land(stream_rows(0, 10), HOUR.plus(ago))
        lake.compact(HOUR.plus(ago))
    found = [vacuumed.run(8) for _ in range(4)]
    assert [len(report.removals) for report in found] == [1, 1, 1, 0]
    assert [report.unfinished for report in found] == [True, True, False, False]


@pytest.mark.parametrize("stopped_after", range(6))
def test_a_run_that_stops_at_any_removal_is_done_by_the_next(
    vacuumed: VacuumedLake, stopped_after: int
) -> None:
    lake = vacuumed.lake
    for first in range(0, 30, 10):
        lake.land(stream_rows(first, first + 10))
        lake.compact()
    vacuumed.put_snapshot(OLD)
    vacuumed.put_snapshot(NEW)
    vacuumed.run(0.1)
    deletions = 0

    def stopping(**_: Any) -> None:
        nonlocal deletions
        deletions += 1
        if deletions > stopped_after:
            raise KeyboardInterrupt

    for operation in ("DeleteObject", "DeleteObjects"):
        lake.s3.meta.events.register(f"before-call.s3.{operation}", stopping)
    with suppress(KeyboardInterrupt):
        vacuumed.run(31)
    for operation in ("DeleteObject", "DeleteObjects"):
        lake.s3.meta.events.unregister(f"before-call.s3.{operation}", stopping)
    assert len(lake.events()) == 30
    vacuumed.run(31)
    vacuumed.run(31)
    current, _ = read_generation(lake.s3, lake.root, HOUR)
    assert current is not None
    assert len(lake.events()) == 30
    parquet = [key for key in vacuumed.names() if key.endswith(".parquet")]
    assert parquet == [f"snapshot/export_id={NEW}/p.parquet", *current.keys(HOUR)]
    assert [key for key in vacuumed.names() if key.startswith("exports/")] == []
