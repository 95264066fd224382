"""The source: the DynamoDB table, an external asset that a sensor observes."""

import time

import dagster as dg

from ddb_pipeline.config.pipeline import PipelineConfig
from ddb_pipeline.config.settings import Settings
from ddb_pipeline.defs.asset_keys import DYNAMODB_TABLE, asset_key
from ddb_pipeline.defs.automation import sensor_interval, sensor_status
from ddb_pipeline.dynamodb.tables import describe_table
from ddb_pipeline.resources.cloud import CloudResource


def source_specs(settings: Settings) -> list[dg.AssetSpec]:
    """The DynamoDB table of each pipeline."""
    return [
        dg.AssetSpec(
            key=asset_key(pipeline, DYNAMODB_TABLE),
            description=f"The DynamoDB table `{pipeline.dynamodb_table}` and its stream.",
            group_name=pipeline.name,
            kinds={"dynamodb"},
        )
        for pipeline in settings.pipelines
    ]


def observation(cloud: CloudResource, pipeline: PipelineConfig) -> dg.AssetObservation:
    """The table as DescribeTable shows it now."""
    table = describe_table(cloud.dynamodb, pipeline.dynamodb_table)
    return dg.AssetObservation(
        asset_key=asset_key(pipeline, DYNAMODB_TABLE),
        metadata={
            "items": table.items,
            "size_bytes": table.size_bytes,
            "status": table.status,
            "stream": "on" if table.stream_enabled else "off",
            "stream_view": table.stream_view or "none",
        },
    )


def source_sensor(settings: Settings) -> dg.SensorDefinition:
    """Observes each table; requests no run."""

    @dg.sensor(
        name="dynamodb_table_sensor",
        description=(
            "Observes the DynamoDB tables: number of items, size, status, and whether the stream "
            "is on. DynamoDB updates the first two about every six hours."
        ),
        minimum_interval_seconds=sensor_interval(settings, embedded=30, aws=300),
        default_status=sensor_status(settings),
    )
    def dynamodb_table_sensor(
        context: dg.SensorEvaluationContext, cloud: CloudResource
    ) -> dg.SensorResult:
        observations = [observation(cloud, pipeline) for pipeline in settings.pipelines]
        return dg.SensorResult(
            asset_events=observations,
            cursor=str(int(time.time())),
            skip_reason=f"Observed {len(observations)} table(s).",
        )

    return dynamodb_table_sensor
