"""The source: the DynamoDB table, an external asset that a sensor observes."""

import json
from typing import Any

import dagster as dg

from ddb_pipeline.config.pipeline import PipelineConfig
from ddb_pipeline.config.settings import Settings
from ddb_pipeline.defs.asset_keys import DYNAMODB_TABLE, asset_key
from ddb_pipeline.defs.automation import sensor_interval, sensor_name, sensor_status
from ddb_pipeline.defs.console_links import console_links
from ddb_pipeline.defs.run_requests import SHOWN_REASONS
from ddb_pipeline.defs.turns import Turns
from ddb_pipeline.dynamodb.tables import describe_table
from ddb_pipeline.resources.cloud import CloudResource

FIRST = "/first"
"""The cursor's entry for the pipeline with which the next tick begins; no pipeline's name."""


def source_specs(settings: Settings) -> list[dg.AssetSpec]:
    """The DynamoDB table of each pipeline."""
    return [
        dg.AssetSpec(
            key=asset_key(pipeline, DYNAMODB_TABLE),
            description=f"The DynamoDB table `{pipeline.dynamodb_table}` and its stream.",
            group_name=pipeline.group_name,
            owners=pipeline.assets.owners,
            tags=pipeline.assets.tags,
            kinds={"dynamodb"},
            metadata=console_links(settings, pipeline, dynamodb_table=pipeline.dynamodb_table),
        )
        for pipeline in settings.pipelines
    ]


def observed(cloud: CloudResource, pipeline: PipelineConfig) -> dict[str, Any]:
    """The table as DescribeTable shows it now, as metadata."""
    table = describe_table(cloud.dynamodb, pipeline.dynamodb_table)
    return {
        "items": table.items,
        "size_bytes": table.size_bytes,
        "status": table.status,
        "stream": "on" if table.stream_enabled else "off",
        "stream_view": table.stream_view or "none",
    }


def source_sensor(settings: Settings) -> dg.SensorDefinition:
    """Observes each table that has changed; requests no run.

    An observation is an entry of Dagster's event log for good: a table that does not change gets
    none.
    """

    @dg.sensor(
        name=sensor_name(settings, "dynamodb_table_sensor"),
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
        pipelines = {pipeline.name: pipeline for pipeline in settings.pipelines}
        stored = stored_observations(context.cursor)
        turns = Turns(str(stored.get(FIRST, "")))
        known = {name: stored[name] for name in pipelines if name in stored}
        changed: list[dg.AssetObservation] = []

        def observe(pipeline: PipelineConfig) -> None:
            now = observed(cloud.for_pipeline(pipeline), pipeline)
            if now != known.get(pipeline.name):
                known[pipeline.name] = now
                changed.append(
                    dg.AssetObservation(asset_key(pipeline, DYNAMODB_TABLE), metadata=now)
                )

        turns.visit(pipelines, observe, context.log)
        summary = f"{len(changed)} of {len(pipelines)} table(s) have changed."
        return dg.SensorResult(
            asset_events=changed,
            cursor=json.dumps({**known, FIRST: turns.first}),
            skip_reason="; ".join([*turns.reasons()[:SHOWN_REASONS], summary]),
        )

    return dynamodb_table_sensor


def stored_observations(cursor: str | None) -> dict[str, Any]:
    """What was last observed of each pipeline; nothing where the cursor is of another form."""
    try:
        stored = json.loads(cursor or "{}")
    except ValueError:
        return {}
    return stored if isinstance(stored, dict) else {}
