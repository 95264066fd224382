"""Iceberg tables published by assets, and their vacuum: thin functions over ``lake.iceberg``."""

from typing import TYPE_CHECKING, Any

import dagster as dg

from ddb_pipeline.config.pipeline import PipelineConfig
from ddb_pipeline.lake.current.store import Store
from ddb_pipeline.lake.hour_generations import read_generation
from ddb_pipeline.lake.layout import DeliveryHour
from ddb_pipeline.lake.removals import MAX_OBJECTS, Snapshots
from ddb_pipeline.resources.cloud import CloudResource
from ddb_pipeline.resources.iceberg import current_target, iceberg_targets, stream_target
from ddb_pipeline.resources.table_metadata import TABLE_NAME

if TYPE_CHECKING:
    from ddb_pipeline.lake.iceberg.publish import Published, Target


def publish_current(
    cloud: CloudResource, pipeline: PipelineConfig, store: Store
) -> tuple[str, dict[str, Any]]:
    """Commit the view's present version; returns the table's location, and metadata.

    Raises:
        DdbPipelineError: it cannot be committed; the version before stays.
    """
    target = current_target(cloud, pipeline)
    from ddb_pipeline.lake.iceberg.publish import publish
    from ddb_pipeline.lake.iceberg.tables import wanted_view

    done = publish(target, lambda: wanted_view(store.read().manifest, store.path))
    metadata = {TABLE_NAME: str(target.reference), **published_metadata(target, done)}
    return f"{target.scheme}{target.folder}", metadata


def publish_hour(
    cloud: CloudResource, pipeline: PipelineConfig, hour: DeliveryHour
) -> dict[str, Any]:
    """Commit an hour's current generation; returns metadata.

    Raises:
        DdbPipelineError: it cannot be committed; the table keeps the generation before.
    """
    target = stream_target(cloud, pipeline)
    from ddb_pipeline.lake.iceberg.publish import Wanted, publish
    from ddb_pipeline.lake.iceberg.tables import wanted_hour

    def wanted() -> Wanted:
        generation, _ = read_generation(cloud.s3, pipeline.lake, hour)
        if generation is None:
            raise dg.Failure(f"The generation of {hour.partition_key} has been removed.")
        return wanted_hour(generation, hour, pipeline.lake)

    return published_metadata(target, publish(target, wanted))


def published_metadata(target: "Target", done: "Published") -> dict[str, Any]:
    """What a publication did, for the asset's page."""
    return {
        "iceberg_table": str(target.reference),
        "iceberg_snapshot": str(done.snapshot_id),
        "iceberg_files_added": done.added,
        "iceberg_files_removed": done.removed,
        "iceberg_files_rewritten": done.rewritten,
        "iceberg_replaced_columns": dg.MetadataValue.json(list(done.replaced_columns)),
        "iceberg_attempts": done.attempts,
        "iceberg_seconds": done.seconds,
    }


def vacuum_iceberg(
    cloud: CloudResource, pipeline: PipelineConfig, now: float, *, dry_run: bool
) -> tuple[Snapshots, ...]:
    """Expire snapshots of the pipeline's Iceberg tables, and remove files of none, or list both.

    Raises:
        VacuumError: objects cannot be removed.
    """
    targets = iceberg_targets(cloud, pipeline)
    if not targets:
        return ()
    from ddb_pipeline.lake.iceberg.maintenance import vacuum_table

    return tuple(
        vacuum_table(
            cloud.s3,
            pipeline.lake,
            target,
            replaced_seconds=pipeline.retention.replaced_days * 86_400.0,
            limit=MAX_OBJECTS,
            now=now,
            dry_run=dry_run,
        )
        for target in targets
    )
