"""The failure queue's sensor: each failed batch is replayed, or its loss is reported."""

import json
from datetime import datetime, timezone

import dagster as dg
import pytest

from ddb_pipeline.config.names import failure_queue
from ddb_pipeline.defs import failure_sensor as module
from ddb_pipeline.defs.failure_sensor import (
    STREAM_SECONDS,
    Replay,
    Step,
    failed_batches_sensor,
    next_step,
    parse_cursor,
)
from ddb_pipeline.defs.run_requests import RunState
from ddb_pipeline.lake.gaps import read_gaps
from ddb_pipeline.queues import Queue
from ddb_pipeline_tests.support.sensor_ticks import (
    FAILURE,
    STARTED,
    SUCCESS,
    Clock,
    MockAccount,
    Ticks,
)

NOW = 1_000_000.0


@pytest.mark.parametrize(
    ("case", "last", "state", "trimmed", "expected"),
    [
        ("a new message", None, RunState.UNKNOWN, False, Step.REQUEST),
        ("a run in progress", Replay(0, 0, 0), RunState.IN_PROGRESS, False, Step.WAIT),
        ("a run that succeeded", Replay(0, 0, 0), RunState.SUCCEEDED, False, Step.DELETE),
        ("failed a moment ago", Replay(0, NOW - 1, NOW - 1), RunState.FAILED, False, Step.WAIT),
        (
            "failed, the pause is over",
            Replay(0, NOW - 10, NOW),
            RunState.FAILED,
            False,
            Step.REQUEST,
        ),
        ("never started", Replay(0, NOW - 10, NOW), RunState.UNKNOWN, False, Step.REQUEST),
        ("the records are gone", Replay(0, NOW - 1, NOW), RunState.FAILED, True, Step.REPORT),
        (
            "failed for a day",
            Replay(50, NOW - 1, NOW - STREAM_SECONDS),
            RunState.FAILED,
            False,
            Step.REPORT,
        ),
        ("reported", Replay(3, NOW, NOW, lost=True), RunState.FAILED, True, Step.DELETE),
    ],
)
def test_next_step(
    case: str, last: Replay | None, state: RunState, trimmed: bool, expected: Step
) -> None:
    assert next_step(last, state, trimmed=trimmed, now=NOW) is expected, case


@pytest.mark.parametrize("text", [None, "", "x", "7", "[]", '{"logs": 1}', '{"logs": {"m": [1]}}'])
def test_foreign_cursors_are_empty(text: str | None) -> None:
    assert parse_cursor(text) == ({}, "")


@pytest.fixture
def ticks(
    account: MockAccount,
    instance: dg.DagsterInstance,
    clock: Clock,
    monkeypatch: pytest.MonkeyPatch,
) -> Ticks:
    monkeypatch.setattr(module, "time", clock)
    queue = failure_queue(account.pipeline)
    url = account.cloud.sqs.get_queue_url(QueueName=queue)["QueueUrl"]
    # A message is visible again at the next tick.
    account.cloud.sqs.set_queue_attributes(QueueUrl=url, Attributes={"VisibilityTimeout": "0"})
    return Ticks(failed_batches_sensor(account.settings), instance, account.cloud, clock)


def fail(account: MockAccount, body: str = '{"DDBStreamBatchInfo": {}}') -> None:
    account.send(failure_queue(account.pipeline), body)


def messages(account: MockAccount) -> int:
    return len(Queue(account.cloud.sqs, failure_queue(account.pipeline)).receive())


def test_a_batch_is_replayed_and_its_message_deleted(account: MockAccount, ticks: Ticks) -> None:
    fail(account, "the batch")
    request = ticks.one()
    assert request.run_config["ops"]["deliver_stream_records"]["config"] == {
        "pipeline": "logs",
        "failure_message": "the batch",
        "shard_id": "",
        "first_sequence_number": "",
        "last_sequence_number": "",
    }
    ticks.record(request, STARTED)
    ticks.later(1e4)
    assert ticks.tick() == []
    assert messages(account) == 1
    (run,) = ticks.instance.get_runs()
    ticks.instance.delete_run(run.run_id)
    ticks.record(request, SUCCESS)
    assert ticks.tick() == []
    assert messages(account) == 0
    assert parse_cursor(ticks.cursor)[0] == {"logs": {}}


def test_a_failing_batch_is_replayed_until_the_stream_has_trimmed_it(
    account: MockAccount, ticks: Ticks
) -> None:
    fail(account)
    requested = 0
    for _ in range(100):
        for request in ticks.tick():
            ticks.record(request, FAILURE)
            requested += 1
        if ticks.events:
            break
        ticks.later(1800)
    assert requested == 48
    (event,) = ticks.events
    assert "lost_batch" in event.metadata
    assert messages(account) == 1, "the report is not in the event log before the tick ends"
    assert ticks.tick() == []
    assert (messages(account), ticks.events) == (0, [])


def test_a_batch_whose_records_are_gone_is_reported_at_once(
    account: MockAccount, ticks: Ticks
) -> None:
    fail(account)
    request = ticks.one()
    ticks.record(request, FAILURE)
    (run,) = ticks.instance.get_runs()
    ticks.instance.add_run_tags(run.run_id, {"ddb_pipeline/trimmed": "true"})
    assert ticks.tick() == []
    assert len(ticks.events) == 1


def test_a_lost_batch_is_a_gap(account: MockAccount, ticks: Ticks) -> None:
    batch = {
        "streamArn": "arn",
        "shardId": "shard-1",
        "startSequenceNumber": "1",
        "endSequenceNumber": "3",
        "batchSize": 3,
        "approximateArrivalOfFirstRecord": "2026-05-28T10:00:00Z",
        "approximateArrivalOfLastRecord": "2026-05-28T10:05:00Z",
    }
    fail(account, json.dumps({"DDBStreamBatchInfo": batch}))
    ticks.record(ticks.one(), FAILURE)
    (run,) = ticks.instance.get_runs()
    ticks.instance.add_run_tags(run.run_id, {"ddb_pipeline/trimmed": "true"})
    ticks.tick()
    (gap,) = read_gaps(account.cloud.s3, account.pipeline.lake)
    first = datetime(2026, 5, 28, 10, tzinfo=timezone.utc).timestamp()
    assert (gap.start, gap.end) == (first - 10, first + 301 + 60)
    assert "3 record(s) of shard shard-1" in gap.causes[0]
    ticks.tick()
    assert read_gaps(account.cloud.s3, account.pipeline.lake) == (gap,)


def test_runs_and_stored_messages_are_bounded(
    account: MockAccount, ticks: Ticks, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "MAX_REQUESTS_PER_TICK", 3)
    monkeypatch.setattr(module, "MAX_MESSAGES", 5)
    for number in range(12):
        fail(account, str(number))
    replayed: set[str] = set()
    for _ in range(60):
        requests = ticks.tick()
        assert len(requests) <= 3
        assert len(parse_cursor(ticks.cursor)[0]["logs"]) <= 5
        for request in requests:
            body = request.run_config["ops"]["deliver_stream_records"]["config"]["failure_message"]
            assert body not in replayed
            replayed.add(body)
            ticks.record(request, SUCCESS)
        if len(replayed) == 12:
            break
    assert len(replayed) == 12
