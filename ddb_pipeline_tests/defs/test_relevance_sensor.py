"""The relevance sensor: new scores when hours of the stream have changed."""

from collections.abc import Callable

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
HOUR = "stream/delivery_date=2026-09-21/delivery_hour="


@pytest.fixture
def account(account_of: Callable[..., MockAccount], monkeypatch: pytest.MonkeyPatch) -> MockAccount:
    monkeypatch.setattr(relevance, "require_pyspark", lambda: None)
    return account_of(
        PipelineConfig(name="logs", start="2026-09-21T00:00:00Z", relevance=RelevanceConfig()),
        PipelineConfig(name="without-scores".replace("-", "_")),
    )


@pytest.fixture
def ticks(account: MockAccount, instance: dg.DagsterInstance, clock: Clock) -> Ticks:
    return Ticks(relevance_sensor(account.settings), instance, account.cloud, clock)


@pytest.fixture
def landed(account: MockAccount, ticks: Ticks) -> MockAccount:
    """The account with an hour that ``parquet_stream`` has materialised."""
    account.put(f"{HOUR}09/part.parquet")
    hour = dg.AssetMaterialization(["logs", "parquet_stream"], partition="2026-09-21-09:00")
    ticks.instance.report_runless_asset_event(hour)
    return account


def test_it_waits_for_the_first_partition(account: MockAccount, ticks: Ticks) -> None:
    account.put(f"{HOUR}09/part.parquet")
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
    landed.put(f"{HOUR}10/part.parquet")
    assert ticks.tick() == []
    ticks.later(PAUSE_SECONDS)
    assert len(ticks.tick()) == 1


def test_a_stream_that_returns_to_its_former_content_has_another_run_key(
    landed: MockAccount, ticks: Ticks
) -> None:
    run_keys = []
    for step in ("first", "added", "removed"):
        if step == "added":
            landed.put(f"{HOUR}10/part.parquet")
        elif step == "removed":
            landed.delete(f"{HOUR}10/part.parquet")
        request = ticks.one()
        run_keys.append(request.run_key)
        ticks.record(request, SUCCESS)
        ticks.later(PAUSE_SECONDS)
    assert len(set(run_keys)) == 3


def test_the_stream_is_not_listed_while_a_run_is_on(landed: MockAccount, ticks: Ticks) -> None:
    ticks.record(ticks.one(), STARTED)
    landed.cloud.requests.clear()
    assert ticks.tick() == []
    assert ticks.skipped == "logs: a run is in progress"
    assert not landed.cloud.requests


def test_a_failed_run_is_requested_again(landed: MockAccount, ticks: Ticks) -> None:
    ticks.record(ticks.one(), FAILURE)
    assert ticks.tick() == []
    ticks.later(10)
    assert ticks.one().tags["ddb_pipeline/attempt"] == "1"


def test_a_former_cursor_is_read(landed: MockAccount, ticks: Ticks) -> None:
    ticks.cursor = '{"logs": ["0123456789abcdef", 2, 1.5]}'
    assert len(ticks.tick()) == 1
