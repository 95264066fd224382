"""Delivery: the hours of Parquet that Firehose lands."""

from datetime import timezone

import dagster as dg

from ddb_pipeline.config.names import lake_table
from ddb_pipeline.config.pipeline import PipelineConfig
from ddb_pipeline.defs.asset_keys import LAKE_TABLE, PARQUET_STREAM, asset_key
from ddb_pipeline.defs.automation import RETRY
from ddb_pipeline.glue.catalog import find_table
from ddb_pipeline.glue.lake_table import LakePartition, register_partitions
from ddb_pipeline.lake.content import content_version
from ddb_pipeline.lake.layout import DeliveryHour
from ddb_pipeline.lake.parquet_objects import hour_statistics
from ddb_pipeline.resources.cloud import CloudResource


def hours(pipeline: PipelineConfig) -> dg.HourlyPartitionsDefinition:
    """The hours since the pipeline's start, UTC, up to the current one."""
    start = pipeline.start.astimezone(timezone.utc).replace(tzinfo=None)
    return dg.HourlyPartitionsDefinition(start_date=start, end_offset=1)


def stream_asset(pipeline: PipelineConfig) -> dg.AssetsDefinition:
    """``parquet_stream``: an hour's objects counted, and its partition added to the catalog."""

    @dg.asset(
        key=asset_key(pipeline, PARQUET_STREAM),
        deps=[asset_key(pipeline, LAKE_TABLE)],
        partitions_def=hours(pipeline),
        description=(
            "The table's changes as Parquet files, one partition for each hour of delivery (UTC). "
            "Firehose writes the files; a run counts their rows and registers the partition in "
            "the lake table."
        ),
        group_name=pipeline.name,
        kinds={"parquet", "s3"},
        retry_policy=RETRY,
    )
    def parquet_stream(
        context: dg.AssetExecutionContext, cloud: CloudResource
    ) -> dg.MaterializeResult[None]:
        hour = DeliveryHour.from_partition_key(context.partition_key)
        found = hour_statistics(cloud.s3, cloud.filesystem(), pipeline.bucket, hour)
        table = find_table(cloud.glue, lake_table(pipeline))
        uri = f"s3://{pipeline.bucket}/{hour.prefix}"
        if table is not None and found.objects:
            partition = LakePartition((hour.date, hour.hour), uri)
            if register_partitions(cloud.glue, table, [partition]):
                context.log.info("Registered partition %s in %s.", hour, table.reference)
        return dg.MaterializeResult(
            metadata={
                "dagster/partition_row_count": found.rows,
                "dagster/uri": uri,
                "files": len(found.objects),
                "bytes": found.size,
            },
            data_version=dg.DataVersion(content_version(found.objects)),
        )

    return parquet_stream
