"""The DynamoDB table sensor: observations, and no runs."""

from collections.abc import Callable

import dagster as dg

from ddb_pipeline.config.pipeline import PipelineConfig
from ddb_pipeline.defs.source import source_sensor
from ddb_pipeline_tests.support.sensor_ticks import Clock, MockAccount, Ticks


def test_each_table_is_observed_when_it_has_changed(
    account_of: Callable[..., MockAccount], instance: dg.DagsterInstance, clock: Clock
) -> None:
    account = account_of(PipelineConfig(name="logs"), PipelineConfig(name="orders"))
    account.cloud.dynamodb.put_item(TableName="logs", Item={"log_id": {"S": "a"}})
    ticks = Ticks(source_sensor(account.settings), instance, account.cloud, clock)
    assert ticks.tick() == []
    assert ticks.skipped == "2 of 2 table(s) have changed."
    logs, orders = ticks.events
    assert logs.asset_key == dg.AssetKey(["logs", "dynamodb_table"])
    assert {name: value.value for name, value in logs.metadata.items()} == {
        "items": 1,
        "size_bytes": logs.metadata["size_bytes"].value,
        "status": "ACTIVE",
        "stream": "on",
        "stream_view": "NEW_AND_OLD_IMAGES",
    }
    assert orders.metadata["items"].value == 0

    assert ticks.tick() == []
    assert (ticks.events, ticks.skipped) == ([], "0 of 2 table(s) have changed.")
    account.cloud.dynamodb.put_item(TableName="orders", Item={"log_id": {"S": "a"}})
    ticks.tick()
    assert [event.metadata["items"].value for event in ticks.events] == [1]
    ticks.cursor = "1780000000"
    ticks.tick()
    assert len(ticks.events) == 2
