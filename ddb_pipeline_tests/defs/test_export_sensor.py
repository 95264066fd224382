"""The export sensor: one run for each finished export, and a few more where it fails."""

import json

import dagster as dg
import pytest

from ddb_pipeline.defs import exports
from ddb_pipeline.defs.exports import MAX_ATTEMPTS, export_sensor
from ddb_pipeline_tests.support.sensor_ticks import (
    FAILURE,
    STARTED,
    SUCCESS,
    Clock,
    MockAccount,
    Ticks,
)


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
    assert (request.job_name, request.partition_key) == ("logs_parquet_snapshot", export_id(1))
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
    monkeypatch.setattr(exports, "MAX_REQUESTS_PER_TICK", 2)
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


def test_exports_of_a_former_cursor_are_not_requested_again(
    account: MockAccount, ticks: Ticks
) -> None:
    put_export(account, 1)
    put_export(account, 2)
    ticks.cursor = json.dumps({"logs": {export_id(1): [export_id(1), 0, 1_780_000_000.0]}})
    assert ticks.one().partition_key == export_id(2)
