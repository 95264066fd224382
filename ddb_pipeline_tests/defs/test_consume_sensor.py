"""The stream consumer sensor: one run at a time for each pipeline that a job reads."""

from collections.abc import Callable

import dagster as dg
import pytest

from ddb_pipeline.config.pipeline import PipelineConfig, StreamReader
from ddb_pipeline.defs.consume import OP, consume_sensor
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
    account_of: Callable[..., MockAccount], instance: dg.DagsterInstance, clock: Clock
) -> Ticks:
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
    assert pipelines(ticks.tick()) == ["second"]
    ticks.record(second, STARTED)
    assert ticks.tick() == []
    assert ticks.skipped == "Every stream is being read."


@pytest.mark.parametrize("status", [SUCCESS, FAILURE])
def test_the_next_run_follows_whatever_became_of_the_last(
    ticks: Ticks, status: dg.DagsterRunStatus
) -> None:
    for request in ticks.tick():
        ticks.record(request, status)
    requests = ticks.tick()
    assert pipelines(requests) == ["first", "second"]
    # Without a run key, Dagster takes none of them for a repetition.
    assert {request.run_key for request in requests} == {None}
