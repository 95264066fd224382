"""The DynamoDB table sensor: observations, and no runs."""

from collections.abc import Callable

import dagster as dg

from ddb_pipeline.config.pipeline import PipelineConfig
from ddb_pipeline.defs.source import source_sensor
from ddb_pipeline_tests.support.sensor_ticks import Clock, MockAccount, Ticks


def test_each_table_is_observed(
    account_of: Callable[..., MockAccount], instance: dg.DagsterInstance, clock: Clock
) -> None:
    account = account_of(PipelineConfig(name="logs"), PipelineConfig(name="orders"))
    account.cloud.dynamodb.put_item(TableName="logs", Item={"log_id": {"S": "a"}})
    ticks = Ticks(source_sensor(account.settings), instance, account.cloud, clock)
    for _ in range(2):
        assert ticks.tick() == []
        assert ticks.skipped == "Observed 2 table(s)."
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
