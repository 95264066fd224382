"""Fixtures of the sensors' tests: an instance, a clock, and AWS as moto imitates it."""

from collections.abc import Callable, Iterator
from datetime import datetime, timezone

import dagster as dg
import pytest
from moto import mock_aws

from ddb_pipeline.config.pipeline import PipelineConfig
from ddb_pipeline.defs import lost_runs, partition_requests, run_requests
from ddb_pipeline_tests.support.sensor_ticks import Clock, MockAccount


@pytest.fixture
def instance() -> Iterator[dg.DagsterInstance]:
    """A Dagster instance in memory."""
    with dg.DagsterInstance.ephemeral() as instance:
        yield instance


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> Clock:
    """The time that sensors see."""
    clock = Clock()
    for module in (run_requests, partition_requests, lost_runs):
        monkeypatch.setattr(module, "time", clock)
    return clock


@pytest.fixture
def account_of() -> Iterator[Callable[..., MockAccount]]:
    """Makes accounts with the given pipelines."""
    with mock_aws():
        yield MockAccount


@pytest.fixture
def account(account_of: Callable[..., MockAccount]) -> MockAccount:
    """An account with one pipeline, ``logs``."""
    return account_of(PipelineConfig(name="logs", start=datetime(2026, 9, 21, tzinfo=timezone.utc)))
