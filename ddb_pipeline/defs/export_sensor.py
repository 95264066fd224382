"""The sensor that requests a run for each finished export: its snapshot, or its changes.

An export's id begins with the time of its request, so that one LIST request shows the exports of
the last days. Older ones, which took longer or were copied into the bucket, are found by slices
of a pass over all of them, once a day.
"""

from dataclasses import dataclass

import dagster as dg

from ddb_pipeline.config.pipeline import PipelineConfig
from ddb_pipeline.config.settings import Settings
from ddb_pipeline.defs.asset_keys import PARQUET_CHANGES, PARQUET_SNAPSHOT, selection
from ddb_pipeline.defs.automation import sensor_interval, sensor_name, sensor_status
from ddb_pipeline.defs.changes import change_exports
from ddb_pipeline.defs.partition_requests import (
    PIPELINES,
    PartitionRequests,
    PipelinePartitions,
    recorded,
)
from ddb_pipeline.defs.snapshot import exports
from ddb_pipeline.export.finished import export_ids, first_id, is_incremental
from ddb_pipeline.resources.cloud import CloudResource

STAGE = "snapshot"
CHANGES_STAGE = "changes"
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
            "the lake's bucket, and parquet_changes for each incremental one."
        ),
        minimum_interval_seconds=sensor_interval(settings, embedded=10, aws=120),
        default_status=sensor_status(settings),
        asset_selection=selection(settings, PARQUET_SNAPSHOT, PARQUET_CHANGES),
    )
    def sensor(context: dg.SensorEvaluationContext, cloud: CloudResource) -> dg.SensorResult:
        full, incremental = (
            PartitionRequests(
                context,
                stage,
                asset,
                settings.pipelines,
                limit=MAX_REQUESTS_PER_TICK,
                member=member,
            )
            for stage, asset, member in (
                (STAGE, PARQUET_SNAPSHOT, PIPELINES),
                (CHANGES_STAGE, PARQUET_CHANGES, CHANGES_STAGE),
            )
        )
        changes = {each.pipeline.name: each for each in incremental.pipelines}

        def compare(snapshots: PipelinePartitions) -> None:
            pipeline = snapshots.pipeline
            here = cloud.for_pipeline(pipeline)
            found = Exports(context.instance, here, snapshots, changes[pipeline.name])
            found.compare(full.now)

        full.visit(compare)
        added = [
            definition(each.pipeline).build_add_request(
                [run.partition_key for run in each.runs if run.partition_key]
            )
            for requests, definition in ((full, exports), (incremental, change_exports))
            for each in requests.pipelines
            if each.runs
        ]
        return full.result(
            "No new export is finished.", incremental, dynamic_partitions_requests=added
        )

    return sensor


@dataclass(frozen=True, slots=True)
class Exports:
    """The exports of one pipeline in one tick: full ones for snapshots, others for changes."""

    instance: dg.DagsterInstance
    cloud: CloudResource
    snapshots: PipelinePartitions
    changes: PipelinePartitions

    @property
    def pipeline(self) -> PipelineConfig:
        """The pipeline."""
        return self.snapshots.pipeline

    def compare(self, now: float) -> None:
        """Compare the recent exports, those that are open, and a slice of the others."""
        bucket, prefix = self.pipeline.bucket, self.pipeline.bucket_export_prefix
        oldest = first_id(now - RECENT_SECONDS)
        s3 = self.cloud.s3
        recent = export_ids(s3, bucket, prefix, after=oldest, limit=RECENT_EXPORTS)
        ready = [
            each
            for partitions in (self.snapshots, self.changes)
            for each in partitions.ready(MAX_REQUESTS_PER_TICK)
            if each < oldest
        ]
        self.compare_finished([*reversed(recent), *ready])
        # The pass over all exports is that of both kinds.
        progress = self.snapshots.progress
        if not progress.position and now < progress.pass_at + PASS_SECONDS:
            return
        listed = export_ids(s3, bucket, prefix, after=progress.position, limit=SLICE_EXPORTS)
        older = [export_id for export_id in listed if export_id < oldest]
        compared = self.compare_finished(older)
        if not progress.position and (compared or not older):
            progress.pass_at = now
        if compared == len(older) < SLICE_EXPORTS:
            progress.position = ""
        elif compared:
            progress.position = older[compared - 1]

    def compare_finished(self, export_ids: list[str]) -> int:
        """Request partitions of those of the exports that are finished and have none.

        Returns how many of the exports, from the first on, were compared.
        """
        known: set[str] = set()
        for partitions in (self.snapshots, self.changes):
            settled = recorded(self.instance, partitions.key, export_ids)
            for export_id in settled:
                partitions.settle(export_id)
            known.update(settled)
        missing = [export_id for export_id in export_ids if export_id not in known]
        kinds = {each: self.is_incremental(each) for each in missing[:MAX_MANIFESTS_PER_TICK]}
        without_room = []
        for partitions, wanted in ((self.snapshots, False), (self.changes, True)):
            # An export never changes: its id is its version.
            found = {each: each for each, incremental in kinds.items() if incremental is wanted}
            without_room.append(partitions.compare(found))
        left = [*filter(None, without_room), *missing[MAX_MANIFESTS_PER_TICK:][:1]]
        return min(map(export_ids.index, left), default=len(export_ids))

    def is_incremental(self, export_id: str) -> bool | None:
        """Whether a finished export is incremental; None where it is not finished."""
        return is_incremental(
            self.cloud.s3, self.pipeline.bucket, self.pipeline.bucket_export_prefix, export_id
        )
