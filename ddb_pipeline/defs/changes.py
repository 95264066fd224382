"""Net changes of windows: incremental exports as Parquet, one partition for each export."""

from collections.abc import Iterator

import dagster as dg

from ddb_pipeline.config.names import changes_location, changes_table
from ddb_pipeline.config.pipeline import PipelineConfig
from ddb_pipeline.config.settings import Settings
from ddb_pipeline.defs.asset_keys import LAKE_TABLE, PARQUET_CHANGES, PARQUET_IO_MANAGER, asset_key
from ddb_pipeline.defs.console_links import dataset_metadata
from ddb_pipeline.defs.pipeline_asset import pipeline_asset
from ddb_pipeline.defs.snapshot import ExportTable, converted_checks, make_partition
from ddb_pipeline.defs.snapshot_converters import SnapshotConfig
from ddb_pipeline.export.rows.changes import CHANGE_COLUMNS
from ddb_pipeline.lake.layout import CHANGES_PREFIX
from ddb_pipeline.resources.cloud import CloudResource


def change_exports(pipeline: PipelineConfig) -> dg.DynamicPartitionsDefinition:
    """A partition for each incremental export that the sensor has found, by the export's id."""
    return dg.DynamicPartitionsDefinition(name=f"{pipeline.name}_change_exports")


def changes_asset(settings: Settings, pipeline: PipelineConfig) -> dg.AssetsDefinition:
    """``parquet_changes``: an incremental export converted and added to the changes table."""
    key = asset_key(pipeline, PARQUET_CHANGES)

    @pipeline_asset(
        key=key,
        deps=[asset_key(pipeline, LAKE_TABLE)],
        partitions_def=change_exports(pipeline),
        description=(
            "The items that changed in a window, from an incremental DynamoDB export to S3, one "
            "partition for each export: each item as it was at the window's end, or only its key "
            "where it was deleted, with ddb_keys, ddb_event_name (UPSERT, REMOVE) and "
            "ddb_write_time."
        ),
        pipeline=pipeline,
        kinds={"parquet", "s3"},
        pool=f"snapshot_{pipeline.name}",
        io_manager_key=PARQUET_IO_MANAGER,
        metadata=dataset_metadata(settings, pipeline, changes_table(pipeline), CHANGES_PREFIX),
        check_specs=converted_checks(key),
    )
    def parquet_changes(
        context: dg.AssetExecutionContext, cloud: CloudResource, config: SnapshotConfig
    ) -> Iterator[dg.MaterializeResult[None]]:
        table = ExportTable(
            changes_table(pipeline), changes_location(pipeline), CHANGE_COLUMNS, incremental=True
        )
        here = cloud.for_pipeline(pipeline)
        yield make_partition(context, here, settings, pipeline, config, table)

    return parquet_changes
