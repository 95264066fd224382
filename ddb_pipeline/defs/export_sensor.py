"""The sensor that requests a run for each finished export.

An export's id begins with the time of its request, so that one LIST request shows the exports of
the last days. Older ones, which took longer or were copied into the bucket, are found by slices
of a pass over all of them, once a day.
"""

import dagster as dg

from ddb_pipeline.config.settings import Settings
from ddb_pipeline.defs.asset_keys import PARQUET_SNAPSHOT, asset_key, selection
from ddb_pipeline.defs.automation import sensor_interval, sensor_name, sensor_status
from ddb_pipeline.defs.partition_requests import (
    PartitionRequests,
    PipelinePartitions,
    recorded,
)
from ddb_pipeline.defs.snapshot import exports
from ddb_pipeline.export.finished import export_ids, first_id, is_finished
from ddb_pipeline.resources.cloud import CloudResource

STAGE = "snapshot"
MAX_REQUESTS_PER_TICK = 4
RECENT_SECONDS = 2 * 86_400.0
"""The age up to which every tick looks for the end of an export."""
RECENT_EXPORTS = 1000
SLICE_EXPORTS = 100
MAX_MANIFESTS_PER_TICK = 50
"""Exports without a snapshot of which a tick looks whether they are finished."""
PASS_SECONDS = 86_400.0


def export_sensor(settings: Settings) -> dg.SensorDefinition:
    """Requests one run for each finished export, and a few more where it fails."""

    @dg.sensor(
        name=sensor_name(settings, "export_sensor"),
        description=(
            "Materialises parquet_snapshot for each finished export under the export prefix of "
            "the lake's bucket."
        ),
        minimum_interval_seconds=sensor_interval(settings, embedded=10, aws=120),
        default_status=sensor_status(settings),
        asset_selection=selection(settings, PARQUET_SNAPSHOT),
    )
    def sensor(context: dg.SensorEvaluationContext, cloud: CloudResource) -> dg.SensorResult:
        requests = PartitionRequests(
            context, STAGE, PARQUET_SNAPSHOT, settings.pipelines, limit=MAX_REQUESTS_PER_TICK
        )
        requests.visit(lambda each: compare_exports(context.instance, cloud, each, requests.now))
        added = [
            exports(each.pipeline).build_add_request(
                [run.partition_key for run in each.runs if run.partition_key]
            )
            for each in requests.pipelines
            if each.runs
        ]
        return requests.result("No new export is finished.", dynamic_partitions_requests=added)

    return sensor


def compare_exports(
    instance: dg.DagsterInstance, cloud: CloudResource, partitions: PipelinePartitions, now: float
) -> None:
    """Compare one pipeline's recent exports, those that are open, and a slice of the others."""
    bucket, prefix = partitions.pipeline.bucket, partitions.pipeline.export_prefix
    oldest = first_id(now - RECENT_SECONDS)
    recent = export_ids(cloud.s3, bucket, prefix, after=oldest, limit=RECENT_EXPORTS)
    ready = [each for each in partitions.ready(MAX_REQUESTS_PER_TICK) if each < oldest]
    compare_finished(instance, cloud, partitions, [*reversed(recent), *ready])
    progress = partitions.progress
    if not progress.position and now < progress.pass_at + PASS_SECONDS:
        return
    listed = export_ids(cloud.s3, bucket, prefix, after=progress.position, limit=SLICE_EXPORTS)
    older = [export_id for export_id in listed if export_id < oldest]
    compared = compare_finished(instance, cloud, partitions, older)
    if not progress.position and (compared or not older):
        progress.pass_at = now
    if compared == len(older) < SLICE_EXPORTS:
        progress.position = ""
    elif compared:
        progress.position = older[compared - 1]


def compare_finished(
    instance: dg.DagsterInstance,
    cloud: CloudResource,
    partitions: PipelinePartitions,
    export_ids: list[str],
) -> int:
    """Request snapshots of those of the exports that are finished and have none.

    Returns how many of the exports, from the first on, were compared.
    """
    pipeline = partitions.pipeline
    known = recorded(instance, asset_key(pipeline, PARQUET_SNAPSHOT), export_ids)
    for settled in known:
        partitions.settle(settled)
    missing = [export_id for export_id in export_ids if export_id not in known]
    finished = [
        export_id
        for export_id in missing[:MAX_MANIFESTS_PER_TICK]
        if is_finished(cloud.s3, pipeline.bucket, pipeline.export_prefix, export_id)
    ]
    # An export never changes: its id is its version.
    without_room = partitions.compare({export_id: export_id for export_id in finished})
    if without_room is not None:
        return export_ids.index(without_room)
    if len(missing) > MAX_MANIFESTS_PER_TICK:
        return export_ids.index(missing[MAX_MANIFESTS_PER_TICK])
    return len(export_ids)
