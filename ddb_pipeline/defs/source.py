"""The source: the DynamoDB table, observed."""

import time
from collections.abc import Mapping, Sequence
from typing import Any

import dagster as dg

from ddb_pipeline.config.pipeline import PipelineConfig
from ddb_pipeline.config.settings import Settings
from ddb_pipeline.defs.asset_keys import (
    DYNAMODB_TABLE,
    asset_key,
    sensor_interval,
    sensor_status,
)
from ddb_pipeline.resources.cloud import CloudResource


def source_specs(settings: Settings) -> list[dg.AssetSpec]:
    return [
        dg.AssetSpec(
            key=asset_key(pipeline, DYNAMODB_TABLE),
            description=f"DynamoDB table `{pipeline.dynamodb_table}`, with its stream.",
            group_name=pipeline.name,
            kinds={"dynamodb"},
        )
        for pipeline in settings.pipelines
    ]


def observation(cloud: CloudResource, pipeline: PipelineConfig) -> dg.AssetObservation:
    """The table as DescribeTable shows it; DynamoDB counts items about every six hours."""
    table = cloud.dynamodb.describe_table(TableName=pipeline.dynamodb_table)["Table"]
    stream: Mapping[str, Any] = table.get("StreamSpecification") or {}
    return dg.AssetObservation(
        asset_key=asset_key(pipeline, DYNAMODB_TABLE),
        metadata={
            "items": table.get("ItemCount", 0),
            "size_bytes": table.get("TableSizeBytes", 0),
            "status": table.get("TableStatus", "UNKNOWN"),
            "stream": "on" if stream.get("StreamEnabled") else "off",
            "stream_view": stream.get("StreamViewType", "none"),
        },
    )


def source_sensor(settings: Settings) -> dg.SensorDefinition:
    """Observes each table; asks for no run."""

    @dg.sensor(
        name="dynamodb_table_sensor",
        description="Observes the DynamoDB tables: items, size, state of the stream.",
        minimum_interval_seconds=sensor_interval(settings, embedded=30, aws=300),
        default_status=sensor_status(settings),
    )
    def dynamodb_table_sensor(
        context: dg.SensorEvaluationContext, cloud: CloudResource
    ) -> dg.SensorResult:
        observations: Sequence[dg.AssetObservation] = [
            observation(cloud, pipeline) for pipeline in settings.pipelines
        ]
        return dg.SensorResult(
            asset_events=list(observations),
            cursor=str(int(time.time())),
            skip_reason=f"Observed {len(observations)} table(s).",
        )

    return dynamodb_table_sensor
