"""The relevance sensor: new scores when hours of the stream have changed."""

from collections.abc import Callable
from datetime import datetime, timezone

import dagster as dg
import pytest

from ddb_pipeline.config.pipeline import PipelineConfig
from ddb_pipeline.config.spark import RelevanceConfig
from ddb_pipeline.defs import relevance
from ddb_pipeline.defs.relevance import relevance_sensor
from ddb_pipeline.spark.java import SparkMissingError
from ddb_pipeline_tests.support.sensor_ticks import (
    FAILURE,
    STARTED,
    SUCCESS,
    Clock,
    MockAccount,
    Ticks,
)

PAUSE_SECONDS = 900


@pytest.fixture
def account(account_of: Callable[..., MockAccount], monkeypatch: pytest.MonkeyPatch) -> MockAccount:
    monkeypatch.setattr(relevance, "require_pyspark", lambda: None)
    return account_of(
        PipelineConfig(
            name="logs",
            start=datetime(2026, 9, 21, tzinfo=timezone.utc),
            relevance=RelevanceConfig(),
        ),
        PipelineConfig(name="without-scores".replace("-", "_")),
    )


@pytest.fixture
def ticks(account: MockAccount, instance: dg.DagsterInstance, clock: Clock) -> Ticks:
    return Ticks(relevance_sensor(account.settings), instance, account.cloud, clock)


def land(ticks: Ticks, hour: int) -> None:
    """Record that ``parquet_stream`` has materialised an hour."""
    partition = f"2026-09-21-{hour:02}:00"
    landed = dg.AssetMaterialization(["logs", "parquet_stream"], partition=partition)
    ticks.instance.report_runless_asset_event(landed)


@pytest.fixture
def landed(account: MockAccount, ticks: Ticks) -> MockAccount:
    """The account with an hour that ``parquet_stream`` has materialised."""
    land(ticks, 9)
    return account


def test_it_waits_for_the_first_partition(ticks: Ticks) -> None:
    assert ticks.tick() == []
    assert ticks.skipped == "logs: parquet_stream has no materialised partition yet"


def test_without_pyspark_the_skip_reason_says_so(
    landed: MockAccount, ticks: Ticks, monkeypatch: pytest.MonkeyPatch
) -> None:
    def missing() -> None:
        raise SparkMissingError("Install pyspark.")

    monkeypatch.setattr(relevance, "require_pyspark", missing)
    assert ticks.tick() == []
    assert ticks.skipped == "logs: Install pyspark."


def test_scores_are_requested_once(landed: MockAccount, ticks: Ticks) -> None:
    request = ticks.one()
    assert request.asset_selection == [dg.AssetKey(["logs", "relevance_scores"])]
    ticks.record(request, SUCCESS)
    ticks.later(1e6)
    assert ticks.tick() == []
    assert ticks.skipped == "The scores are up to date."


def test_changed_hours_are_scored_once_a_pause(landed: MockAccount, ticks: Ticks) -> None:
    ticks.record(ticks.one(), SUCCESS)
    land(ticks, 10)
    assert ticks.tick() == []
    ticks.later(PAUSE_SECONDS)
    assert len(ticks.tick()) == 1


def test_an_hour_that_is_materialised_again_is_a_change(landed: MockAccount, ticks: Ticks) -> None:
    ticks.record(ticks.one(), SUCCESS)
    land(ticks, 9)
    ticks.later(PAUSE_SECONDS)
    assert len(ticks.tick()) == 1


def test_nothing_is_requested_while_a_run_is_in_progress(landed: MockAccount, ticks: Ticks) -> None:
    ticks.record(ticks.one(), STARTED)
    land(ticks, 10)
    ticks.later(PAUSE_SECONDS)
    assert ticks.tick() == []
    assert ticks.skipped == "logs: a run is in progress"


def test_the_bucket_is_never_listed(landed: MockAccount, ticks: Ticks) -> None:
    landed.cloud.requests.clear()
    for _ in range(3):
        ticks.tick()
        ticks.later(PAUSE_SECONDS)
    assert not landed.cloud.requests


def test_a_failed_run_is_requested_again(landed: MockAccount, ticks: Ticks) -> None:
    ticks.record(ticks.one(), FAILURE)
    assert ticks.tick() == []
    ticks.later(10)
    assert ticks.one().tags["ddb_pipeline/attempt"] == "1"


def test_a_former_cursor_is_read(landed: MockAccount, ticks: Ticks) -> None:
    ticks.cursor = '{"logs": ["0123456789abcdef", 2, 1.5]}'
    assert len(ticks.tick()) == 1
