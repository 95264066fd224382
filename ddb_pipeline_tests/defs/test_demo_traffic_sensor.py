"""Demo traffic: search logs written at each tick, many at first."""

import json
from typing import Any

import dagster as dg
import pytest

from ddb_pipeline.defs import demo
from ddb_pipeline.defs.demo import BUSY_ITEMS, BUSY_TICKS, TRICKLE_ITEMS, demo_traffic_sensor
from ddb_pipeline_tests.support.sensor_ticks import Clock, MockAccount, Ticks


@pytest.fixture
def ticks(
    account: MockAccount,
    instance: dg.DagsterInstance,
    clock: Clock,
    tmp_path: Any,
    monkeypatch: pytest.MonkeyPatch,
) -> Ticks:
    monkeypatch.setattr(demo, "time", clock)
    settings = account.settings.model_copy(update={"home": tmp_path})
    return Ticks(demo_traffic_sensor(settings, account.pipeline), instance, account.cloud, clock)


def items(ticks: Ticks) -> list[dict[str, Any]]:
    found: list[dict[str, Any]] = ticks.cloud.dynamodb.scan(TableName="logs")["Items"]
    return found


def test_many_items_at_first_then_few(ticks: Ticks) -> None:
    for _ in range(BUSY_TICKS):
        assert ticks.tick() == []
        assert ticks.skipped == f"Wrote {BUSY_ITEMS} items."
    ticks.tick()
    assert ticks.skipped == f"Wrote {TRICKLE_ITEMS} items."
    assert json.loads(ticks.cursor or "")["ticks"] == BUSY_TICKS + 1


def test_a_new_attribute_appears_after_three_minutes(ticks: Ticks) -> None:
    ticks.tick()
    assert not any("refinements" in item for item in items(ticks))
    ticks.later(181)
    ticks.tick()
    assert any("refinements" in item for item in items(ticks))
