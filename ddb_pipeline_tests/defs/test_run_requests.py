"""When a run is requested: pure decisions, cursors, and the requests of a tick."""

import time
from typing import Any

import dagster as dg
import pytest

from ddb_pipeline.config.pipeline import PipelineConfig
from ddb_pipeline.defs.lost_runs import LOST_SECONDS, report_lost_runs
from ddb_pipeline.defs.run_requests import (
    KEYS_PER_QUERY,
    LONGEST_RETRY_SECONDS,
    Cursor,
    Requested,
    RunRequests,
    RunState,
    next_request,
    pipelines_in_progress,
    retry_delay,
    run_key,
    run_states,
)
from ddb_pipeline_tests.support.sensor_ticks import Clock

NOW = 1_000_000.0
SUCCEEDED, FAILED, UNKNOWN, IN_PROGRESS = (
    RunState.SUCCEEDED,
    RunState.FAILED,
    RunState.UNKNOWN,
    RunState.IN_PROGRESS,
)


def requested(version: str, attempt: int = 0, ago: float = 0.0) -> Requested:
    return Requested(version, attempt, NOW - ago)


@pytest.mark.parametrize(
    ("case", "last", "state", "options", "expected"),
    [
        ("nothing was requested yet", None, UNKNOWN, {}, ("new", 0)),
        ("the same version succeeded", requested("new"), SUCCEEDED, {}, None),
        ("another version", requested("old"), SUCCEEDED, {}, ("new", 0)),
        ("another version after a failure", requested("old", 3), FAILED, {}, ("new", 0)),
        ("another version while a run is on", requested("old"), IN_PROGRESS, {}, None),
        ("the same version while a run is on", requested("new"), IN_PROGRESS, {}, None),
        (
            "another version within the pause",
            requested("old", ago=50),
            SUCCEEDED,
            {"pause_seconds": 100},
            None,
        ),
        (
            "another version after the pause",
            requested("old", ago=100),
            SUCCEEDED,
            {"pause_seconds": 100},
            ("new", 0),
        ),
        ("failed a moment ago", requested("new", ago=1), FAILED, {}, None),
        ("failed long enough ago", requested("new", ago=11), FAILED, {}, ("new", 1)),
        ("failed twice, a while ago", requested("new", 1, ago=15), FAILED, {}, None),
        ("failed twice, long enough ago", requested("new", 1, ago=21), FAILED, {}, ("new", 2)),
        ("never started", requested("new", ago=11), UNKNOWN, {}, ("new", 1)),
    ],
)
def test_next_request(
    case: str,
    last: Requested | None,
    state: RunState,
    options: dict[str, Any],
    expected: tuple[str, int] | None,
) -> None:
    found = next_request(last, "new", state, now=NOW, **options)
    assert (None if found is None else (found.version, found.attempt)) == expected, case
    assert found is None or found.at == NOW


def test_retry_delays_double_up_to_half_an_hour() -> None:
    delays = [retry_delay(attempt) for attempt in range(12)]
    assert delays[:4] == [10, 20, 40, 80]
    assert delays[-1] == retry_delay(10_000) == LONGEST_RETRY_SECONDS


CURSOR = Cursor(
    {
        "logs": Requested("3.7-ab", 2, 1_780_000_000.125),
        "orders": Requested("x", 0, 0.0, succeeded=True),
    },
    compared_at={"logs": 12.5},
    first="logs",
)


def test_a_cursor_is_the_same_after_a_round_trip() -> None:
    assert Cursor.parse(CURSOR.render()) == CURSOR


@pytest.mark.parametrize(
    ("case", "text", "expected"),
    [
        ("no cursor", None, {}),
        ("an empty cursor", "", {}),
        ("text that is not JSON", "1780000000 seconds", {}),
        ("a number", "1780000000", {}),
        ("a format of the future", '{"format": 2, "requested": 7}', {}),
        ("a damaged cursor", '{"format": 1, "requested": {"logs": [1]}}', {}),
        (
            "the failed-records and relevance sensors'",
            '{"logs": ["v", 3, 5.0]}',
            {"logs": Requested("v", 0, 5.0, succeeded=True)},
        ),
        (
            "the table-change sensor's",
            '{"seen": {"logs": {"version_key": "7.3", "fingerprint": "f", "attempt": 0, '
            '"requested_at": 5.0}}, "reconciled_at": 5.0}',
            {},
        ),
    ],
)
def test_former_and_foreign_cursors(
    case: str, text: str | None, expected: dict[str, Requested]
) -> None:
    assert Cursor.parse(text) == Cursor(expected), case


def test_a_cursor_forgets_pipelines_that_are_no_longer_configured(
    instance: dg.DagsterInstance, clock: Clock
) -> None:
    cursor = Cursor({"logs": Requested("v", 0, 0.0), "removed": Requested("v", 0, 0.0)})
    result = tick(instance, cursor.render()).result("nothing")
    assert list(Cursor.parse(result.cursor).requested) == ["logs"]


def test_a_run_key_differs_by_pipeline_version_attempt_and_time() -> None:
    keys = [
        run_key("schema", pipeline, Requested(version, attempt, at))
        for pipeline in ("logs", "orders")
        for version in ("v", "w")
        for attempt in (0, 1)
        for at in (5.0, 6.0)
    ]
    assert len(set(keys)) == len(keys)
    assert keys[0] == "logs:schema:v:0:5"


LOGS = PipelineConfig(name="logs")


def tick(instance: dg.DagsterInstance, cursor: str | None) -> RunRequests:
    context = dg.build_sensor_context(instance=instance, cursor=cursor)
    return RunRequests(context, "schema", [LOGS])


def add_run(
    instance: dg.DagsterInstance, request: dg.RunRequest, status: dg.DagsterRunStatus
) -> None:
    tags = {**request.tags, "dagster/run_key": request.run_key or ""}
    instance.add_run(dg.DagsterRun("job", status=status, tags=tags))


def test_work_left_after_a_successful_run_counts_as_a_failure(
    instance: dg.DagsterInstance, clock: Clock
) -> None:
    first = tick(instance, None)
    assert first.request(LOGS, "v", "normalized_schema", unresolved=True)
    result = first.result("nothing")
    (request,) = result.run_requests or ()
    add_run(instance, request, dg.DagsterRunStatus.SUCCESS)
    assert tick(instance, result.cursor).succeeded(LOGS)
    assert not tick(instance, result.cursor).request(LOGS, "v", "a", unresolved=True)
    clock.now += retry_delay(0)
    assert not tick(instance, result.cursor).request(LOGS, "v", "a")
    again = tick(instance, result.cursor)
    assert again.request(LOGS, "v", "a", unresolved=True)
    (second,) = again.result("nothing").run_requests or ()
    assert second.tags["ddb_pipeline/attempt"] == "1"


def test_a_run_is_found_again_whatever_the_fraction_of_its_second(
    instance: dg.DagsterInstance, clock: Clock
) -> None:
    clock.now = 1_780_000_000.9996
    first = tick(instance, None)
    first.request(LOGS, "v", "a")
    result = first.result("nothing")
    (request,) = result.run_requests or ()
    add_run(instance, request, dg.DagsterRunStatus.SUCCESS)
    assert tick(instance, result.cursor).succeeded(LOGS)


def test_a_successful_run_is_not_looked_up_again(
    instance: dg.DagsterInstance, clock: Clock
) -> None:
    first = tick(instance, None)
    first.request(LOGS, "v", "a")
    result = first.result("nothing")
    (request,) = result.run_requests or ()
    add_run(instance, request, dg.DagsterRunStatus.SUCCESS)
    cursor = tick(instance, result.cursor).result("nothing").cursor
    # Dagster deletes old runs where retention is configured.
    for run in instance.get_runs():
        instance.delete_run(run.run_id)
    clock.now += 1e6
    assert tick(instance, cursor).succeeded(LOGS)
    assert not tick(instance, cursor).request(LOGS, "v", "a")


def test_run_states_are_looked_up_in_few_queries(
    instance: dg.DagsterInstance, clock: Clock, monkeypatch: pytest.MonkeyPatch
) -> None:
    queries = []
    get_runs = instance.get_run_records

    def counted(*arguments: Any, **keywords: Any) -> Any:
        queries.append(1)
        return get_runs(*arguments, **keywords)

    monkeypatch.setattr(instance, "get_run_records", counted)
    run_states(instance, [str(number) for number in range(2 * KEYS_PER_QUERY + 1)])
    assert len(queries) == 3


def test_skip_reasons_are_bounded(instance: dg.DagsterInstance, clock: Clock) -> None:
    requests = tick(instance, None)
    for number in range(1000):
        requests.skip(PipelineConfig(name=f"pipeline{number}"), "no failed records")
    message = requests.result("nothing").skip_reason
    assert message is not None
    assert len(str(message)) < 1000


def test_pipelines_in_progress(instance: dg.DagsterInstance) -> None:
    for name, stage, status in [
        ("running", "crawl", dg.DagsterRunStatus.STARTED),
        ("starting", "crawl", dg.DagsterRunStatus.STARTING),
        ("done", "crawl", dg.DagsterRunStatus.SUCCESS),
        ("other", "schema", dg.DagsterRunStatus.STARTED),
    ]:
        tags = {"ddb_pipeline/pipeline": name, "ddb_pipeline/stage": stage}
        instance.add_run(dg.DagsterRun("job", status=status, tags=tags))
    assert pipelines_in_progress(instance, "crawl") == {"running", "starting"}


@pytest.mark.parametrize(
    ("status", "logs", "expected"),
    [
        (dg.DagsterRunStatus.STARTED, False, FAILED),
        (dg.DagsterRunStatus.STARTING, False, FAILED),
        (dg.DagsterRunStatus.STARTED, True, IN_PROGRESS),
        (dg.DagsterRunStatus.NOT_STARTED, False, IN_PROGRESS),
    ],
)
def test_a_run_whose_process_was_killed_counts_as_failed(
    instance: dg.DagsterInstance, clock: Clock, status: Any, logs: bool, expected: RunState
) -> None:
    tags = {
        "ddb_pipeline/pipeline": "logs",
        "ddb_pipeline/stage": "crawl",
        "dagster/run_key": "key",
    }
    run = dg.DagsterRun("job", status=status, tags=tags)
    clock.now = time.time()
    instance.add_run(run)
    assert run_states(instance, ["key"]) == {"key": IN_PROGRESS}
    time.sleep(0.01)
    clock.now = time.time() + LOST_SECONDS
    if logs:
        instance.report_engine_event("progress", run)
    assert run_states(instance, ["key"])["key"] is expected
    assert (pipelines_in_progress(instance, "crawl") == {"logs"}) == (expected is IN_PROGRESS)
    assert report_lost_runs(instance, [LOGS]) == 0
    if expected is FAILED:
        assert instance.get_runs()[0].status is dg.DagsterRunStatus.FAILURE


def test_lost_runs_that_no_sensor_requested_are_reported(
    instance: dg.DagsterInstance, clock: Clock
) -> None:
    for name in ("logs", "another location's"):
        tags = {"ddb_pipeline/pipeline": name}
        instance.add_run(dg.DagsterRun("job", status=dg.DagsterRunStatus.STARTED, tags=tags))
    clock.now = time.time()
    assert report_lost_runs(instance, [LOGS]) == 0
    clock.now += LOST_SECONDS + 60
    assert report_lost_runs(instance, [LOGS]) == 1
    found = {run.tags["ddb_pipeline/pipeline"]: run.status for run in instance.get_runs()}
    assert found["logs"] is dg.DagsterRunStatus.FAILURE
    assert found["another location's"] is dg.DagsterRunStatus.STARTED
