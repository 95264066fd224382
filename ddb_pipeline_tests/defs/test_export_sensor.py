"""The export sensor: one run for each finished export, and a few more where it fails."""

import json

import dagster as dg
import pytest

from ddb_pipeline.defs import export_sensor as module
from ddb_pipeline.defs.export_sensor import export_sensor
from ddb_pipeline.defs.partition_requests import MAX_ATTEMPTS
from ddb_pipeline.export.layout import ExportSummary
from ddb_pipeline_tests.support.sensor_ticks import (
    FAILURE,
    STARTED,
    SUCCESS,
    Clock,
    MockAccount,
    Ticks,
)

DAY = 86_400


@pytest.fixture
def ticks(account: MockAccount, instance: dg.DagsterInstance, clock: Clock) -> Ticks:
    return Ticks(export_sensor(account.settings), instance, account.cloud, clock)


def export_id(number: int) -> str:
    return f"0178000000000{number}-abc"


def put_export(account: MockAccount, number: int, *, finished: bool = True) -> None:
    folder = f"exports/AWSDynamoDB/{export_id(number)}/"
    account.put(f"{folder}data/file.json.gz")
    if finished:
        account.put(f"{folder}manifest-summary.json")


def test_no_export(ticks: Ticks) -> None:
    assert ticks.tick() == []
    assert ticks.skipped == "No new export is finished."


def test_an_export_is_requested_once_it_is_finished(account: MockAccount, ticks: Ticks) -> None:
    put_export(account, 1, finished=False)
    assert ticks.tick() == []
    put_export(account, 1)
    request = ticks.one()
    assert request.asset_selection == [dg.AssetKey(["logs", "parquet_snapshot"])]
    assert request.partition_key == export_id(1)
    assert ticks.instance.get_dynamic_partitions("logs_exports") == [export_id(1)]
    ticks.record(request, STARTED)
    ticks.later(1e6)
    assert ticks.tick() == []


def test_a_converted_export_is_not_requested_again(account: MockAccount, ticks: Ticks) -> None:
    put_export(account, 1)
    ticks.record(ticks.one(), SUCCESS)
    ticks.later(1e6)
    assert ticks.tick() == []


def test_the_newest_exports_come_first(
    account: MockAccount, ticks: Ticks, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "MAX_REQUESTS_PER_TICK", 2)
    for number in (1, 2, 3):
        put_export(account, number)
    assert [r.partition_key for r in ticks.tick()] == [export_id(3), export_id(2)]
    assert [r.partition_key for r in ticks.tick()] == [export_id(1)]
    assert ticks.tick() == []


def test_a_failing_export_is_requested_a_few_times(account: MockAccount, ticks: Ticks) -> None:
    put_export(account, 1)
    run_keys = []
    for _ in range(MAX_ATTEMPTS):
        request = ticks.one()
        run_keys.append(request.run_key)
        ticks.record(request, FAILURE)
        assert ticks.tick() == []
        ticks.later(1800)
    assert len(set(run_keys)) == MAX_ATTEMPTS
    assert ticks.tick() == []


def test_a_run_that_was_never_started_is_requested_again(
    account: MockAccount, ticks: Ticks
) -> None:
    put_export(account, 1)
    ticks.one()
    assert ticks.tick() == []
    ticks.later(10)
    assert ticks.one().tags["ddb_pipeline/attempt"] == "1"


def test_an_older_export_is_found_by_the_next_pass(account: MockAccount, ticks: Ticks) -> None:
    ticks.later(100 * DAY)
    assert ticks.tick() == []
    put_export(account, 1)
    assert ticks.tick() == []
    ticks.later(DAY)
    request = ticks.one()
    assert request.partition_key == export_id(1)
    ticks.record(request, SUCCESS)
    ticks.later(DAY)
    assert ticks.tick() == []


def test_a_pass_continues_where_a_tick_has_no_room(
    account: MockAccount, ticks: Ticks, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "SLICE_EXPORTS", 3)
    monkeypatch.setattr(module, "MAX_REQUESTS_PER_TICK", 2)
    monkeypatch.setattr(module, "MAX_MANIFESTS_PER_TICK", 2)
    ticks.later(100 * DAY)
    for number in range(9):
        put_export(account, number, finished=number not in (2, 3, 4, 5))
    found = []
    for _ in range(8):
        found += [request.partition_key for request in ticks.tick()]
    assert found == [export_id(number) for number in (0, 1, 6, 7, 8)]


def test_exports_that_never_finish_are_looked_at_once_a_day_and_some_at_a_time(
    account: MockAccount, ticks: Ticks
) -> None:
    for number in range(60):
        account.put(f"exports/AWSDynamoDB/{1_700_000_000_000 + number:014d}-abc/_started")
    counts = []
    for _ in range(10):
        account.cloud.requests.clear()
        assert ticks.tick() == []
        counts.append(account.cloud.requests["ListObjectsV2"])
        ticks.later(120)
    assert counts == [52, 12, 1, 1, 1, 1, 1, 1, 1, 1]


def test_without_a_cursor_nothing_is_requested_again(account: MockAccount, ticks: Ticks) -> None:
    put_export(account, 1)
    put_export(account, 2)
    newest, other = ticks.tick()
    ticks.record(newest, SUCCESS)
    ticks.record(other, STARTED)
    ticks.cursor = json.dumps({"logs": {export_id(1): [export_id(1), 0, 1_780_000_000.0]}})
    assert ticks.tick() == []


def asset_of(request: dg.RunRequest) -> str:
    (key,) = request.asset_selection or ()
    return key.path[-1]


def put_incremental_export(account: MockAccount, number: int) -> None:
    summary = ExportSummary(
        table_arn="arn",
        bucket=account.pipeline.bucket,
        export_arn="arn",
        from_time="2026-11-26T00:00:00.000Z",
        to_time="2026-11-26T01:00:00.000Z",
        start_time="2026-11-26T01:01:00.000Z",
        manifest_files_key="key",
    )
    folder = f"exports/AWSDynamoDB/{export_id(number)}/"
    account.put(f"{folder}manifest-summary.json", summary.to_json())
    account.put("exports/AWSDynamoDB/data/file.json.gz")


def test_an_incremental_export_becomes_changes(account: MockAccount, ticks: Ticks) -> None:
    put_export(account, 1)
    put_incremental_export(account, 2)
    snapshot, changes = ticks.tick()
    assert (asset_of(snapshot), snapshot.partition_key) == ("parquet_snapshot", export_id(1))
    assert (asset_of(changes), changes.partition_key) == ("parquet_changes", export_id(2))
    assert ticks.instance.get_dynamic_partitions("logs_exports") == [export_id(1)]
    assert ticks.instance.get_dynamic_partitions("logs_change_exports") == [export_id(2)]
    ticks.record(snapshot, SUCCESS)
    ticks.record(changes, FAILURE)
    ticks.later(1800)
    again = ticks.one()
    assert (asset_of(again), again.partition_key) == ("parquet_changes", export_id(2))
    ticks.record(again, SUCCESS)
    ticks.later(1e6)
    assert ticks.tick() == []
    ticks.cursor = None
    assert ticks.tick() == []


def test_a_pass_finds_older_exports_of_both_kinds(
    account: MockAccount, ticks: Ticks, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "SLICE_EXPORTS", 3)
    monkeypatch.setattr(module, "MAX_REQUESTS_PER_TICK", 1)
    ticks.later(100 * DAY)
    for number in range(8):
        (put_incremental_export if number % 3 else put_export)(account, number)
    found = []
    for _ in range(12):
        for request in ticks.tick():
            found.append(request.partition_key)
            ticks.record(request, SUCCESS)
    assert sorted(filter(None, found)) == [export_id(number) for number in range(8)]
