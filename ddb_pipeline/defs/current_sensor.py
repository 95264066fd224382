"""The sensor that has ``parquet_current`` updated when what it is made of has changed."""

import hashlib
import json

import dagster as dg

from ddb_pipeline.config.choices import CurrentView
from ddb_pipeline.config.pipeline import PipelineConfig
from ddb_pipeline.config.settings import Settings
from ddb_pipeline.defs.asset_keys import (
    DATA_VERSION_TAG,
    PARQUET_CURRENT,
    PARQUET_STREAM,
    asset_key,
)
from ddb_pipeline.defs.automation import sensor_interval, sensor_name, sensor_status
from ddb_pipeline.defs.current_exports import ids_since, opened_or_none
from ddb_pipeline.defs.run_requests import RunRequests
from ddb_pipeline.lake.gaps import read_gaps
from ddb_pipeline.resources.cloud import CloudResource

STAGE = "current"
EXPORTS_SECONDS = 2 * 86_400.0
"""Age up to which a tick looks for the end of an export."""
MAX_MANIFESTS_PER_TICK = 10
"""Exports, the newest ones, of which a tick looks whether they are finished."""
CATCH_UP_SECONDS = 300
"""How often a run is requested while the stream is not delivered up to a full export."""


def viewed(settings: Settings) -> list[PipelineConfig]:
    """The pipelines with a current view."""
    return [p for p in settings.pipelines if p.current is not CurrentView.OFF]


def current_sensor(settings: Settings) -> dg.SensorDefinition:
    """Requests a run when hours have landed, exports are finished or gaps are healed."""
    pause = sensor_interval(settings, embedded=30, aws=300)
    pipelines = viewed(settings)

    @dg.sensor(
        name=sensor_name(settings, "current_sensor"),
        description=(
            "Materialises parquet_current when the stream has landed, an export is finished or a "
            "gap is healed."
        ),
        minimum_interval_seconds=sensor_interval(settings, embedded=10, aws=60),
        default_status=sensor_status(settings),
        asset_selection=dg.AssetSelection.assets(
            *(asset_key(pipeline, PARQUET_CURRENT) for pipeline in pipelines)
        ),
    )
    def sensor(context: dg.SensorEvaluationContext, cloud: CloudResource) -> dg.SensorResult:
        requests = RunRequests(context, STAGE, pipelines)

        def compare(pipeline: PipelineConfig) -> None:
            here = cloud.for_pipeline(pipeline)
            version = inputs_version(context.instance, here, pipeline, requests.now)
            if version:
                requests.request(pipeline, version, PARQUET_CURRENT, pause_seconds=pause)
            else:
                requests.skip(pipeline, "there is no export of the table yet")

        requests.visit(compare)
        return requests.result("Nothing has landed since the last update.")

    return sensor


def inputs_version(
    instance: dg.DagsterInstance, cloud: CloudResource, pipeline: PipelineConfig, now: float
) -> str:
    """Changes whenever there may be something to merge; empty while there is nothing at all."""
    recent = ids_since(cloud, pipeline, now - EXPORTS_SECONDS)
    finished = [
        export_id
        for export_id in recent[-MAX_MANIFESTS_PER_TICK:]
        if opened_or_none(cloud, pipeline, export_id) is not None
    ]
    known = instance.get_latest_materialization_event(asset_key(pipeline, PARQUET_CURRENT))
    if not finished and known is None and not ids_since(cloud, pipeline, 0.0):
        return ""
    parts: list[object] = [finished]
    if pipeline.current is CurrentView.STREAM:
        gaps = read_gaps(cloud.s3, pipeline.lake)
        parts.append([cure.export for gap in gaps for cure in gap.cures])
        parts.append(latest_landing(instance, pipeline))
        parts.append(0 if is_built(known) else int(now // CATCH_UP_SECONDS))
    return hashlib.sha256(json.dumps(parts).encode()).hexdigest()[:16]


def is_built(known: dg.EventLogEntry | None) -> bool:
    """Whether there is a version of the view."""
    event = known.asset_materialization if known is not None else None
    return event is not None and "-" in (event.tags or {}).get(DATA_VERSION_TAG, "")


def latest_landing(instance: dg.DagsterInstance, pipeline: PipelineConfig) -> int:
    """The place of the newest materialization of an hour in Dagster's event log."""
    key = asset_key(pipeline, PARQUET_STREAM)
    records = instance.fetch_materializations(key, limit=1).records
    return records[0].storage_id if records else 0
