"""The stream consumer sensor: one run at a time for each pipeline that a job reads."""

from collections.abc import Callable

import dagster as dg
import pytest

from ddb_pipeline.config.choices import StreamReader
from ddb_pipeline.config.pipeline import PipelineConfig
from ddb_pipeline.defs import consume
from ddb_pipeline.defs.consume import OP, RECORDS_TAG, consume_sensor
from ddb_pipeline_tests.support.sensor_ticks import (
    FAILURE,
    STARTED,
    SUCCESS,
    Clock,
    MockAccount,
    Ticks,
)


@pytest.fixture
def ticks(
    account_of: Callable[..., MockAccount],
    instance: dg.DagsterInstance,
    clock: Clock,
    monkeypatch: pytest.MonkeyPatch,
) -> Ticks:
    monkeypatch.setattr(consume, "time", clock)
    account = account_of(
        PipelineConfig(name="first", stream_reader=StreamReader.CONSUMER),
        PipelineConfig(name="by_lambda"),
        PipelineConfig(name="second", stream_reader=StreamReader.CONSUMER),
    )
    return Ticks(consume_sensor(account.settings), instance, account.cloud, clock)


def pipelines(requests: list[dg.RunRequest]) -> list[str]:
    return [request.run_config["ops"][OP]["config"]["pipeline"] for request in requests]


def test_each_stream_without_a_lambda_is_read(ticks: Ticks) -> None:
    assert pipelines(ticks.tick()) == ["first", "second"]


def test_one_run_at_a_time_for_each_pipeline(ticks: Ticks) -> None:
    first, second = ticks.tick()
    ticks.record(first, STARTED)
    ticks.later(30)
    assert pipelines(ticks.tick()) == ["second"]
    ticks.record(second, STARTED)
    ticks.later(30)
    assert ticks.tick() == []
    assert ticks.skipped == "Every stream is being read, or had no new record."


@pytest.mark.parametrize("status", [SUCCESS, FAILURE])
def test_the_next_run_follows_whatever_became_of_the_last(
    ticks: Ticks, status: dg.DagsterRunStatus
) -> None:
    first = ticks.tick()
    for request in first:
        ticks.record(request, status)
    ticks.later(30)
    second = ticks.tick()
    assert pipelines(second) == ["first", "second"]
    assert len({request.run_key for request in [*first, *second]}) == 4


def test_after_a_run_without_records_the_pause_is_longer(ticks: Ticks) -> None:
    first, second = ticks.tick()
    for request, records in ((first, "0"), (second, "7")):
        ticks.record(request, SUCCESS)
        run = ticks.instance.get_runs(limit=1)[0]
        ticks.instance.add_run_tags(run.run_id, {RECORDS_TAG: records})
    ticks.later(30)
    assert pipelines(ticks.tick()) == ["second"]
    ticks.later(300)
    assert "first" in pipelines(ticks.tick())
