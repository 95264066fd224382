"""The landing sensor: a run for each hour whose objects changed, by few LIST requests."""

import json
from collections.abc import Callable
from datetime import datetime, timezone

import dagster as dg
import pytest

from ddb_pipeline.config.lake import CompactionConfig
from ddb_pipeline.config.pipeline import PipelineConfig
from ddb_pipeline.defs import landing_sensor as module
from ddb_pipeline.defs import partition_requests
from ddb_pipeline.defs.landing_sensor import landing_sensor
from ddb_pipeline.defs.partition_requests import MAX_ATTEMPTS
from ddb_pipeline.lake import content
from ddb_pipeline.lake.layout import DeliveryHour
from ddb_pipeline.lake.root import LakeRoot
from ddb_pipeline_tests.support.sensor_ticks import (
    FAILURE,
    STARTED,
    SUCCESS,
    Clock,
    MockAccount,
    Ticks,
)

PAUSE_SECONDS = 300
DAY = 86_400
NOW = datetime(2026, 9, 23, 9, 30, tzinfo=timezone.utc).timestamp()
"""The pipeline starts on 2026-09-21 at 00:00."""


def hour(ago: int) -> DeliveryHour:
    return DeliveryHour.of(NOW - 3600 * ago)


def key(ago: int, name: str = "part") -> str:
    return f"{hour(ago).prefix}{name}.parquet"


def partition(ago: int) -> str:
    return hour(ago).partition_key


@pytest.fixture
def ticks(account: MockAccount, instance: dg.DagsterInstance, clock: Clock) -> Ticks:
    clock.now = NOW
    return Ticks(landing_sensor(account.settings), instance, account.cloud, clock)


@pytest.fixture
def passed(account: MockAccount, ticks: Ticks) -> Ticks:
    """Ticks of which the first has passed over all hours since the start, which are empty."""
    assert ticks.tick() == []
    return ticks


def lists(ticks: Ticks) -> int:
    """The LIST requests of the next tick."""
    requests = ticks.cloud.requests  # type: ignore[attr-defined]
    requests.clear()
    ticks.tick()
    return int(requests["ListObjectsV2"])


def of_a_pass(ticks: Ticks) -> list[dg.RunRequest]:
    """The run requests of a day's pass over all hours."""
    ticks.later(DAY)
    return [request for _ in range(3) for request in ticks.tick()]


def test_nothing_has_landed(ticks: Ticks) -> None:
    assert ticks.tick() == []
    assert ticks.skipped == "No hour of the stream has changed."


def test_an_hour_is_requested_once(account: MockAccount, ticks: Ticks) -> None:
    account.put(key(0))
    request = ticks.one()
    assert request.partition_key == partition(0)
    assert request.asset_selection == [dg.AssetKey(["logs", "parquet_stream"])]
    assert request.tags["ddb_pipeline/pipeline"] == "logs"
    assert ticks.tick() == []
    ticks.record(request, SUCCESS)
    for seconds in (1, PAUSE_SECONDS, 2 * PAUSE_SECONDS):
        ticks.later(seconds)
        assert ticks.tick() == []


def test_an_hour_is_requested_once_more_when_it_is_closed(
    account: MockAccount, ticks: Ticks
) -> None:
    account.put(key(0))
    ticks.record(ticks.one(), SUCCESS)
    closed_after = 30 * 60 + account.pipeline.buffer_seconds + 15 * 60
    ticks.later(closed_after - 1)
    assert ticks.tick() == []
    ticks.later(1)
    request = ticks.one()
    assert request.partition_key == hour(0).partition_key
    assert "-compacted." in str(request.run_key)
    ticks.record(request, SUCCESS)
    for seconds in (1, PAUSE_SECONDS, DAY, 50 * DAY):
        ticks.later(seconds)
        assert ticks.tick() == []


def test_without_compaction_a_closed_hour_needs_no_further_run(
    account_of: Callable[..., MockAccount], instance: dg.DagsterInstance, clock: Clock
) -> None:
    clock.now = NOW
    start = datetime(2026, 9, 21, tzinfo=timezone.utc)
    off = CompactionConfig(enabled=False)
    account = account_of(
        PipelineConfig(name="logs", lake_prefix="sales", start=start, compaction=off)
    )
    ticks = Ticks(landing_sensor(account.settings), instance, account.cloud, clock)
    account.put(key(0))
    ticks.record(ticks.one(), SUCCESS)
    ticks.later(DAY)
    assert [*ticks.tick(), *ticks.tick()] == []
    account.delete(key(0))
    (request,) = of_a_pass(ticks)
    assert request.partition_key == partition(0)


def test_an_hour_landed_before_compaction_was_there_is_compacted(
    account: MockAccount, ticks: Ticks
) -> None:
    account.put(key(20))
    request = ticks.one()
    ticks.materialize(
        request, content.hour_version(account.cloud.s3, LakeRoot("logs-lake"), hour(20))
    )
    (again,) = of_a_pass(ticks)
    assert again.partition_key == partition(20)


def test_hours_that_are_there_before_the_first_tick_are_requested_some_at_a_time(
    account: MockAccount, ticks: Ticks, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "MAX_REQUESTS_PER_TICK", 2)
    for ago in (0, 1, 20, 30, 40):
        account.put(key(ago))
    found = [[request.partition_key for request in ticks.tick()] for _ in range(4)]
    assert found == [
        [partition(0), partition(1)],
        [partition(40), partition(30)],
        [partition(20)],
        [],
    ]


@pytest.mark.parametrize("change", ["added", "overwritten", "removed", "all removed"])
@pytest.mark.parametrize("ago", [0, 1])
def test_a_recent_hour_that_changes_is_requested_once_a_pause(
    account: MockAccount, ticks: Ticks, change: str, ago: int
) -> None:
    """Except for a closed hour whose objects are gone: its rows are in the compacted files."""
    account.put(key(ago))
    account.put(key(ago, "second"))
    first = ticks.one()
    ticks.record(first, SUCCESS)
    if change == "added":
        account.put(key(ago, "third"))
    elif change == "overwritten":
        account.put(key(ago), b"other rows")
    else:
        account.delete(key(ago))
    if change == "all removed":
        account.delete(key(ago, "second"))
    assert ticks.tick() == []
    ticks.later(PAUSE_SECONDS)
    if (change, ago) == ("all removed", 1):
        assert ticks.tick() == []
        return
    second = ticks.one()
    assert (second.partition_key, second.tags["ddb_pipeline/attempt"]) == (partition(ago), "0")
    assert second.run_key != first.run_key


def test_an_older_hour_that_changes_is_requested_when_an_event_names_it(
    account: MockAccount, passed: Ticks
) -> None:
    account.put(key(20))
    assert passed.tick() == []
    account.send_object_event(key(20))
    assert passed.one().partition_key == partition(20)


def test_an_older_hour_is_found_within_a_day_without_an_event(
    account: MockAccount, passed: Ticks
) -> None:
    account.put(key(20))
    assert passed.tick() == []
    assert [request.partition_key for request in of_a_pass(passed)] == [partition(20)]


def test_an_older_hour_is_found_within_a_day_when_some_of_its_objects_were_removed(
    account: MockAccount, ticks: Ticks
) -> None:
    account.put(key(20))
    account.put(key(20, "second"))
    ticks.record(ticks.one(), SUCCESS)
    account.delete(key(20))
    (request,) = of_a_pass(ticks)
    assert request.partition_key == partition(20)
    ticks.record(request, SUCCESS)
    assert of_a_pass(ticks) == []
    account.delete(key(20, "second"))
    assert of_a_pass(ticks) == []


def test_an_hour_that_has_just_become_an_older_one_is_compared_once_more(
    account: MockAccount, passed: Ticks
) -> None:
    account.put(key(1, "flushed late"))
    passed.later(3600)
    assert passed.one().partition_key == partition(1)


def test_events_that_name_no_hour_of_the_pipeline_are_ignored(
    account: MockAccount, passed: Ticks
) -> None:
    for name in (
        "stream/delivery_date=2026-09-20/delivery_hour=23/early.parquet",
        "stream/delivery_date=2199-01-01/delivery_hour=00/late.parquet",
        "stream/delivery_date=2026-13-45/delivery_hour=99/never.parquet",
        "errors/delivery_date=2026-09-22/delivery_hour=00/other",
        "stream/notes.txt",
    ):
        account.put(name)
        account.send_object_event(name)
    for body in ("", "null", "[]", '{"detail": 1}', '{"detail": {"object": {"key": 7}}}'):
        account.send("logs-object-changes", body or " ")
    assert passed.tick() == []
    assert of_a_pass(passed) == []


def test_a_pipeline_that_starts_later_has_no_hours_yet(account: MockAccount, ticks: Ticks) -> None:
    ticks.clock.now -= 30 * DAY
    account.put(f"{DeliveryHour.of(ticks.clock.now).prefix}early.parquet")
    assert lists(ticks) == 0
    assert ticks.tick() == []


def test_without_a_queue_hours_are_found_without_events(account: MockAccount, ticks: Ticks) -> None:
    url = account.cloud.sqs.get_queue_url(QueueName="logs-object-changes")["QueueUrl"]
    account.cloud.sqs.delete_queue(QueueUrl=url)
    account.put(key(0))
    account.put(key(20))
    assert {r.partition_key for r in ticks.tick()} == {partition(0), partition(20)}


def test_more_hours_named_than_a_tick_lists_are_listed_by_the_next_ticks(
    account: MockAccount, passed: Ticks, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "MAX_LISTED_PER_TICK", 3)
    for ago in range(10, 18):
        account.put(key(ago))
        account.send_object_event(key(ago))
    found = [sorted(r.partition_key or "" for r in passed.tick()) for _ in range(4)]
    assert [len(keys) for keys in found] == [3, 3, 2, 0]
    assert len({each for keys in found for each in keys}) == 8


def test_an_hour_that_returns_to_its_former_content_has_another_run_key(
    account: MockAccount, ticks: Ticks
) -> None:
    run_keys = []
    for body in (b"one", b"two", b"one"):
        account.put(key(0), body)
        request = ticks.one()
        run_keys.append(request.run_key)
        ticks.record(request, SUCCESS)
        ticks.later(PAUSE_SECONDS)
    assert len(set(run_keys)) == 3


def test_a_change_while_the_run_is_in_progress_is_requested_afterwards(
    account: MockAccount, ticks: Ticks
) -> None:
    account.put(key(0))
    first = ticks.one()
    ticks.record(first, STARTED)
    account.put(key(0, "second"))
    ticks.later(PAUSE_SECONDS)
    assert ticks.tick() == []
    (run,) = ticks.instance.get_runs()
    ticks.instance.delete_run(run.run_id)
    ticks.record(first, SUCCESS)
    assert ticks.one().partition_key == partition(0)


def test_a_run_that_saw_the_change_needs_no_other(account: MockAccount, ticks: Ticks) -> None:
    account.put(key(0))
    first = ticks.one()
    ticks.record(first, STARTED)
    account.put(key(0, "second"))
    (run,) = ticks.instance.get_runs()
    ticks.instance.delete_run(run.run_id)
    ticks.materialize(first, content.hour_version(account.cloud.s3, LakeRoot("logs-lake"), hour(0)))
    ticks.later(PAUSE_SECONDS)
    assert ticks.tick() == []


@pytest.mark.parametrize("ago", [1, 20])
def test_a_failed_hour_is_requested_a_few_times(
    account: MockAccount, ticks: Ticks, ago: int
) -> None:
    account.put(key(ago))
    for attempt in range(MAX_ATTEMPTS):
        request = ticks.one()
        assert request.tags["ddb_pipeline/attempt"] == str(attempt)
        ticks.record(request, FAILURE)
        assert ticks.tick() == []
        ticks.later(1800)
    for _ in range(50):
        assert ticks.tick() == []
        ticks.later(1800)
    assert json.loads(ticks.cursor or "")["pipelines"]["logs"]["open"] == {}
    account.put(key(ago, "second"))
    (request,) = of_a_pass(ticks)
    assert request.tags["ddb_pipeline/attempt"] == "0"


def test_a_deleted_cursor_requests_nothing_again(account: MockAccount, ticks: Ticks) -> None:
    account.put(key(0))
    account.put(key(20))
    account.put(key(21))
    materialized, failed, running = ticks.tick()
    ticks.record(materialized, SUCCESS)
    ticks.record(failed, FAILURE)
    ticks.record(running, STARTED)
    ticks.cursor = None
    (request,) = ticks.tick()
    assert (request.partition_key, request.tags["ddb_pipeline/attempt"]) == (
        failed.partition_key,
        "1",
    )


def test_a_former_cursor_is_no_obstacle(account: MockAccount, ticks: Ticks) -> None:
    account.put(key(0))
    ticks.record(ticks.one(), SUCCESS)
    ticks.cursor = json.dumps({"format": 1, "requested": {"logs": {partition(0): ["v", 0, 1, 1]}}})
    assert ticks.tick() == []


def test_hours_beyond_the_room_of_the_cursor_wait(
    account: MockAccount, ticks: Ticks, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(partition_requests, "MAX_OPEN", 5)
    for ago in range(2, 12):
        account.put(key(ago))
    first = ticks.tick()
    assert len(first) == 5
    ticks.later(PAUSE_SECONDS)
    for request in first:
        ticks.record(request, STARTED)
    assert ticks.tick() == []
    for run in ticks.instance.get_runs():
        ticks.instance.delete_run(run.run_id)
    for request in first:
        ticks.record(request, SUCCESS)
    second = ticks.tick()
    assert {r.partition_key for r in [*first, *second]} >= {partition(ago) for ago in range(4, 12)}


def test_a_slice_is_one_request_however_many_objects_there_are(
    account: MockAccount, ticks: Ticks, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(content, "SLICE_OBJECTS", 5)
    for ago in range(2, 30):
        account.put(key(ago))
        account.put(key(ago, "second"))
    found = []
    for _ in range(20):
        ticks.later(60)
        for request in ticks.tick():
            found.append(request.partition_key)
            ticks.record(request, SUCCESS)
    assert sorted(map(str, found)) == sorted(partition(ago) for ago in range(2, 30))
    ticks.later(DAY)
    assert lists(ticks) <= module.RECENT_HOURS + module.MAX_LISTED_PER_TICK + 1
