"""The landing sensor: a run for each hour whose objects changed."""

import json

import dagster as dg
import pytest

from ddb_pipeline.defs import delivery
from ddb_pipeline.defs.delivery import landing_sensor
from ddb_pipeline_tests.support.sensor_ticks import (
    FAILURE,
    STARTED,
    SUCCESS,
    Clock,
    MockAccount,
    Ticks,
)

PAUSE_SECONDS = 300


def key(hour: int, name: str = "part") -> str:
    return f"stream/delivery_date=2026-09-21/delivery_hour={hour:02}/{name}.parquet"


def partition(hour: int) -> str:
    return f"2026-09-21-{hour:02}:00"


@pytest.fixture
def ticks(account: MockAccount, instance: dg.DagsterInstance, clock: Clock) -> Ticks:
    return Ticks(landing_sensor(account.settings), instance, account.cloud, clock)


def test_nothing_has_landed(ticks: Ticks) -> None:
    assert ticks.tick() == []
    assert ticks.skipped == "No hour of the stream has changed."


def test_an_hour_is_requested_once(account: MockAccount, ticks: Ticks) -> None:
    account.put(key(9))
    request = ticks.one()
    assert request.partition_key == partition(9)
    assert request.job_name == "logs_parquet_stream"
    assert request.tags["ddb_pipeline/pipeline"] == "logs"
    assert ticks.tick() == []
    ticks.record(request, SUCCESS)
    ticks.later(1e6)
    assert ticks.tick() == []


def test_the_newest_hours_come_first_and_the_others_at_the_next_ticks(
    account: MockAccount, ticks: Ticks, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(delivery, "MAX_REQUESTS_PER_TICK", 2)
    for hour in range(5):
        account.put(key(hour))
    found = [[request.partition_key for request in ticks.tick()] for _ in range(4)]
    assert found == [
        [partition(4), partition(3)],
        [partition(2), partition(1)],
        [partition(0)],
        [],
    ]


@pytest.mark.parametrize("change", ["added", "overwritten", "removed"])
def test_an_hour_that_changes_is_requested_once_a_pause(
    account: MockAccount, ticks: Ticks, change: str
) -> None:
    account.put(key(9))
    account.put(key(9, "second"))
    first = ticks.one()
    ticks.record(first, SUCCESS)
    if change == "added":
        account.put(key(9, "third"))
    elif change == "overwritten":
        account.put(key(9), b"other rows")
    else:
        account.delete(key(9))
    assert ticks.tick() == []
    ticks.later(PAUSE_SECONDS)
    second = ticks.one()
    assert (second.partition_key, second.tags["ddb_pipeline/attempt"]) == (partition(9), "0")
    assert second.run_key != first.run_key


def test_an_hour_that_returns_to_its_former_content_has_another_run_key(
    account: MockAccount, ticks: Ticks
) -> None:
    run_keys = []
    for body in (b"one", b"two", b"one"):
        account.put(key(9), body)
        request = ticks.one()
        run_keys.append(request.run_key)
        ticks.record(request, SUCCESS)
        ticks.later(PAUSE_SECONDS)
    assert len(set(run_keys)) == 3


def test_a_change_while_the_run_is_on_is_requested_afterwards(
    account: MockAccount, ticks: Ticks
) -> None:
    account.put(key(9))
    first = ticks.one()
    ticks.record(first, STARTED)
    account.put(key(9, "second"))
    ticks.later(PAUSE_SECONDS)
    assert ticks.tick() == []
    (run,) = ticks.instance.get_runs()
    ticks.instance.delete_run(run.run_id)
    ticks.record(first, SUCCESS)
    assert ticks.one().partition_key == partition(9)


def test_a_failed_hour_is_requested_again(account: MockAccount, ticks: Ticks) -> None:
    account.put(key(9))
    first = ticks.one()
    ticks.record(first, FAILURE)
    assert ticks.tick() == []
    ticks.later(10)
    second = ticks.one()
    assert second.tags["ddb_pipeline/attempt"] == "1"
    assert second.run_key != first.run_key


def test_hours_before_the_start_and_other_objects_are_ignored(
    account: MockAccount, ticks: Ticks
) -> None:
    account.put("stream/delivery_date=2026-09-20/delivery_hour=23/early.parquet")
    account.put("stream/notes.txt")
    assert ticks.tick() == []


def test_a_former_cursor_requests_changed_hours_only(account: MockAccount, ticks: Ticks) -> None:
    account.put(key(9))
    account.put(key(10))
    (_, known) = ticks.tick()
    version = (known.run_key or "").split(":")[4]
    assert known.partition_key == partition(9)
    ticks.cursor = json.dumps({"logs": {partition(9): [version, 1.0]}})
    assert [request.partition_key for request in ticks.tick()] == [partition(10)]
