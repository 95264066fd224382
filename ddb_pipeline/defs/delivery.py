"""Delivery: the hours of Parquet that Firehose lands, compacted when they are closed."""

import time
from collections.abc import Mapping, Sequence
from datetime import timezone
from typing import Any

import dagster as dg
import pyarrow.fs

from ddb_pipeline.config.names import lake_table
from ddb_pipeline.config.pipeline import PipelineConfig
from ddb_pipeline.config.settings import Settings
from ddb_pipeline.defs.asset_keys import LAKE_TABLE, PARQUET_IO_MANAGER, PARQUET_STREAM, asset_key
from ddb_pipeline.defs.console_links import dataset_metadata
from ddb_pipeline.defs.iceberg import publish_hour
from ddb_pipeline.defs.lineage import same_columns
from ddb_pipeline.defs.pipeline_asset import fresh_within, pipeline_asset
from ddb_pipeline.defs.previews import preview_metadata
from ddb_pipeline.dynamodb.tables import describe_table
from ddb_pipeline.glue.catalog import CatalogTable, find_table, read_table
from ddb_pipeline.glue.lake_table import LakePartition, register_partitions
from ddb_pipeline.glue.partitions import CatalogPartition, point_partition
from ddb_pipeline.hive.names import EVENT_TIME, column_name
from ddb_pipeline.hive.types import Column
from ddb_pipeline.lake.compaction import (
    Compaction,
    CompactionError,
    CompactionOptions,
    Lake,
    compact_hour,
)
from ddb_pipeline.lake.content import content_version, processed_version
from ddb_pipeline.lake.hour_generations import Generation
from ddb_pipeline.lake.layout import REDELIVERED_NAME, STREAM_PREFIX, DeliveryHour
from ddb_pipeline.lake.objects import StoredObject
from ddb_pipeline.lake.parquet_objects import delivery_lag, hour_statistics
from ddb_pipeline.resources.cloud import CloudResource
from ddb_pipeline.resources.iceberg import is_iceberg
from ddb_pipeline.resources.parquet_io_manager import ALLOW_MISSING
from ddb_pipeline.resources.partition_values import PARTITION_EXPR
from ddb_pipeline.resources.table_metadata import COLUMN_SCHEMA, TABLE_NAME, column_schema

MIB = 1024 * 1024


def hours(pipeline: PipelineConfig) -> dg.HourlyPartitionsDefinition:
    """The hours since the pipeline's start, UTC, up to the current one."""
    start = pipeline.start.astimezone(timezone.utc).replace(tzinfo=None)
    return dg.HourlyPartitionsDefinition(start_date=start, end_offset=1)


def stream_asset(settings: Settings, pipeline: PipelineConfig) -> dg.AssetsDefinition:
    """``parquet_stream``: an hour counted and registered, and compacted once it is closed."""

    @pipeline_asset(
        key=asset_key(pipeline, PARQUET_STREAM),
        deps=[asset_key(pipeline, LAKE_TABLE)],
        partitions_def=hours(pipeline),
        description=(
            "The table's changes as Parquet files, one partition for each hour of delivery (UTC). "
            "Firehose writes the files; a run counts their rows and registers the partition in "
            "the lake table. A run for an hour that is closed compacts it: few files, sorted by "
            "key, without repeats, with the lake table's types, to which the partition is switched."
        ),
        pipeline=pipeline,
        kinds={"parquet", "s3"},
        pool=f"stream_{pipeline.name}",
        io_manager_key=PARQUET_IO_MANAGER,
        metadata={
            **dataset_metadata(settings, pipeline, lake_table(pipeline), STREAM_PREFIX),
            PARTITION_EXPR: {"delivery_date": "%Y-%m-%d", "delivery_hour": "%H"},
            # No delivery makes a partition of an hour without changes.
            ALLOW_MISSING: True,
        },
        freshness_policy=fresh_within(pipeline),
    )
    def parquet_stream(
        context: dg.AssetExecutionContext, cloud: CloudResource
    ) -> dg.MaterializeResult[None]:
        cloud = cloud.for_pipeline(pipeline)
        hour = DeliveryHour.from_partition_key(context.partition_key)
        table = find_table(cloud.glue, lake_table(pipeline))
        if table is None or not is_closed(pipeline, hour, time.time()):
            return landed(context, cloud, pipeline, hour, table)
        published: dict[str, Any] = {}
        try:
            done = compact(cloud, pipeline, hour, published)
        except CompactionError as error:
            context.log.warning("The hour is not compacted: %s", error)
            result = landed(context, cloud, pipeline, hour, table)
            return result._replace(
                metadata={**(result.metadata or {}), "not_compacted": str(error)}
            )
        return compacted(pipeline, cloud.filesystem(), hour, done, published)

    return parquet_stream


def is_closed(pipeline: PipelineConfig, hour: DeliveryHour, now: float) -> bool:
    """Whether an hour is compacted at ``now``, epoch seconds: no more objects are expected."""
    settings = pipeline.compaction
    wait = pipeline.buffer_seconds + 60 * settings.after_minutes
    return settings.enabled and now >= hour.ends_at + wait


def wanted_version(pipeline: PipelineConfig, hour: DeliveryHour, content: str, now: float) -> str:
    """The data version that a run of an hour with this content records at ``now``."""
    return processed_version(content, compacted=is_closed(pipeline, hour, now))


def landed(
    context: dg.AssetExecutionContext,
    cloud: CloudResource,
    pipeline: PipelineConfig,
    hour: DeliveryHour,
    table: CatalogTable | None,
    **notes: str,
) -> dg.MaterializeResult[None]:
    """Count an hour's objects, and add its partition to the catalog; ``notes`` are metadata."""
    filesystem = cloud.filesystem()
    found = hour_statistics(cloud.s3, filesystem, pipeline.lake, hour)
    uri = pipeline.lake.uri(hour.prefix)
    if table is not None and found.objects:
        partition = LakePartition((hour.date, hour.hour), uri)
        if register_partitions(cloud.glue, table, [partition]):
            context.log.info("Registered partition %s in %s.", hour, table.reference)
    content = content_version(found.objects)
    return dg.MaterializeResult(
        metadata={
            TABLE_NAME: str(lake_table(pipeline)),
            "dagster/partition_row_count": found.rows,
            "dagster/uri": uri,
            "files": len(found.objects),
            "bytes": found.size,
            **newest_metadata(pipeline, filesystem, found.objects),
            **(lineage(pipeline, table.columns) if table is not None else {}),
            **notes,
        },
        data_version=dg.DataVersion(wanted_version(pipeline, hour, content, time.time())),
    )


def newest_metadata(
    pipeline: PipelineConfig, filesystem: pyarrow.fs.FileSystem, objects: Sequence[StoredObject]
) -> Mapping[str, Any]:
    """The first rows of the newest object of Firehose, and how long its changes took to get there.

    The plot of the lag over the hours shows whether delivery keeps up.
    """
    delivered = [stored for stored in objects if REDELIVERED_NAME not in stored.key]
    if not delivered:
        return {}
    newest = max(delivered, key=lambda stored: stored.modified_at)
    lag = delivery_lag(filesystem, pipeline.lake, newest, EVENT_TIME)
    return {
        **preview_metadata(pipeline, filesystem, pipeline.lake.path(newest.key)),
        **({} if lag is None else {"delivery_lag_seconds": round(lag, 1)}),
    }


def lineage(pipeline: PipelineConfig, columns: Sequence[Column]) -> Mapping[str, Any]:
    """The metadata that the columns are those of the lake table."""
    names = [column.name for column in columns]
    return same_columns(names, {asset_key(pipeline, LAKE_TABLE): names})


def compact(
    cloud: CloudResource,
    pipeline: PipelineConfig,
    hour: DeliveryHour,
    published: dict[str, Any],
) -> Compaction | None:
    """Compact an hour, and have the catalog and the Iceberg table read the result.

    ``published`` is given what was committed to the Iceberg table.

    Raises:
        CompactionError: the hour cannot be compacted.
        CatalogError: the catalog cannot be read or written.
    """
    reference, values = lake_table(pipeline), (hour.date, hour.hour)
    keys = describe_table(cloud.dynamodb, pipeline.dynamodb_table).key_attributes
    settings = pipeline.compaction

    def switch(generation: Generation) -> None:
        location = pipeline.lake.uri(generation.prefix(hour))
        point_partition(
            cloud.glue, reference, CatalogPartition(values, location, generation.columns)
        )
        if is_iceberg(pipeline):
            published.update(publish_hour(cloud, pipeline, hour))

    return compact_hour(
        Lake(cloud.s3, cloud.filesystem(), pipeline.lake),
        hour,
        lambda: read_table(cloud.glue, reference).columns,
        switch,
        CompactionOptions(
            key_columns=tuple(map(column_name, keys)),
            file_bytes=settings.file_mb * MIB,
            memory_bytes=settings.memory_mb * MIB,
            int96=not is_iceberg(pipeline),
        ),
    )


def compacted(
    pipeline: PipelineConfig,
    filesystem: pyarrow.fs.FileSystem,
    hour: DeliveryHour,
    done: Compaction | None,
    published: Mapping[str, Any],
) -> dg.MaterializeResult[None]:
    """What a compaction did, for the asset's page; None where the hour has no objects.

    ``published`` are metadata of the commit to the Iceberg table.
    """
    if done is None:
        return dg.MaterializeResult(
            metadata={"dagster/partition_row_count": 0, "files": 0, "bytes": 0},
            data_version=dg.DataVersion(content_version(())),
        )
    generation = done.generation
    content = processed_version(content_version(done.raw), compacted=True)
    return dg.MaterializeResult(
        metadata={
            COLUMN_SCHEMA: column_schema(generation.columns),
            TABLE_NAME: str(lake_table(pipeline)),
            "dagster/partition_row_count": generation.rows,
            "dagster/uri": pipeline.lake.uri(generation.prefix(hour)),
            "files": len(generation.files),
            "bytes": generation.size,
            "generation": generation.number,
            "repeats": generation.repeats,
            "compacted_objects": done.objects,
            "compacted_bytes": done.read_bytes,
            "raw_objects": len(done.raw),
            "raw_bytes": sum(stored.size for stored in done.raw),
            **lineage(pipeline, generation.columns),
            **compacted_preview(pipeline, filesystem, generation.prefix(hour), generation),
            **published,
        },
        data_version=dg.DataVersion(content),
    )


def compacted_preview(
    pipeline: PipelineConfig,
    filesystem: pyarrow.fs.FileSystem,
    prefix: str,
    generation: Generation,
) -> Mapping[str, Any]:
    """The first rows of a generation whose files lie under the prefix."""
    for part in generation.files[:1]:
        path = pipeline.lake.path(f"{prefix}{part.path}")
        return preview_metadata(pipeline, filesystem, path)
    return {}
