"""Snapshots: exports of the whole table as Parquet, one partition for each export.

Incremental exports become partitions of ``parquet_changes`` in the same way (``defs.changes``).
"""

import time
from collections.abc import Iterator, Mapping
from dataclasses import dataclass

import dagster as dg

from ddb_pipeline.arrow_types import arrow_schema
from ddb_pipeline.config.names import (
    export_path,
    lake_table,
    snapshot_location,
    snapshot_table,
    stream_location,
)
from ddb_pipeline.config.pipeline import PipelineConfig
from ddb_pipeline.config.settings import Settings
from ddb_pipeline.defs.asset_keys import LAKE_TABLE, PARQUET_IO_MANAGER, PARQUET_SNAPSHOT, asset_key
from ddb_pipeline.defs.console_links import dataset_metadata
from ddb_pipeline.defs.lineage import same_columns
from ddb_pipeline.defs.pipeline_asset import pipeline_asset
from ddb_pipeline.defs.previews import preview_metadata
from ddb_pipeline.defs.snapshot_converters import (
    BySpark,
    Converter,
    Snapshot,
    SnapshotConfig,
    chosen_converter,
)
from ddb_pipeline.export.convert import ConversionFailedError, ConvertedExport
from ddb_pipeline.export.layout import Export, ExportSummary
from ddb_pipeline.export.manifest import ExportError, MalformedExportError
from ddb_pipeline.export.source import open_export
from ddb_pipeline.glue.catalog import TableReference, read_table
from ddb_pipeline.glue.lake_table import widen_lake_table
from ddb_pipeline.glue.snapshot_table import item_columns, publish_export
from ddb_pipeline.hive.types import Column
from ddb_pipeline.lake.layout import SNAPSHOT_PREFIX
from ddb_pipeline.parquet.footers import differing_schemas
from ddb_pipeline.parquet.partition_by import PartitionError
from ddb_pipeline.parquet.publish import Destination, PublishError
from ddb_pipeline.resources.cloud import CloudResource
from ddb_pipeline.resources.table_metadata import COLUMN_SCHEMA, TABLE_NAME, column_schema


def exports(pipeline: PipelineConfig) -> dg.DynamicPartitionsDefinition:
    """A partition for each export that the sensor has found; its key is the export's id."""
    return dg.DynamicPartitionsDefinition(name=f"{pipeline.name}_exports")


def snapshot_asset(settings: Settings, pipeline: PipelineConfig) -> dg.AssetsDefinition:
    """``parquet_snapshot``: an export converted, its partition added to the snapshot table."""
    key = asset_key(pipeline, PARQUET_SNAPSHOT)

    @pipeline_asset(
        key=key,
        deps=[asset_key(pipeline, LAKE_TABLE)],
        partitions_def=exports(pipeline),
        description=(
            "The whole table at a point in time, from a DynamoDB export to S3, one partition for "
            "each export. Every item is a row with exact values, or a rejected line with its "
            "reason."
        ),
        pipeline=pipeline,
        kinds={"parquet", "s3"},
        pool=f"snapshot_{pipeline.name}",
        io_manager_key=PARQUET_IO_MANAGER,
        metadata=dataset_metadata(settings, pipeline, snapshot_table(pipeline), SNAPSHOT_PREFIX),
        check_specs=converted_checks(key),
    )
    def parquet_snapshot(
        context: dg.AssetExecutionContext, cloud: CloudResource, config: SnapshotConfig
    ) -> Iterator[dg.MaterializeResult[None]]:
        snapshots = ExportTable(snapshot_table(pipeline), snapshot_location(pipeline))
        here = cloud.for_pipeline(pipeline)
        yield make_partition(context, here, settings, pipeline, config, snapshots)

    return parquet_snapshot


def converted_checks(key: dg.AssetKey) -> list[dg.AssetCheckSpec]:
    """The checks of each converted export."""
    return [
        dg.AssetCheckSpec(
            name="every_item_counted",
            asset=key,
            description=(
                "Rows and rejected lines add up to the number of items in the export's "
                "manifest, and no line was rejected."
            ),
        ),
        dg.AssetCheckSpec(
            name="schema_is_the_lake_tables",
            asset=key,
            description="The Parquet files have the columns and types of the lake table.",
        ),
    ]


@dataclass(frozen=True, slots=True)
class ExportTable:
    """The table whose partitions are converted exports.

    Attributes:
        location: its ``s3://`` URI.
        extra_columns: columns after those of the items.
        incremental: whether the exports are incremental ones.
    """

    reference: TableReference
    location: str
    extra_columns: tuple[Column, ...] = ()
    incremental: bool = False


def make_partition(
    context: dg.AssetExecutionContext,
    cloud: CloudResource,
    settings: Settings,
    pipeline: PipelineConfig,
    config: SnapshotConfig,
    table: ExportTable,
) -> dg.MaterializeResult[None]:
    """Convert the partition's export to Parquet and add it to the table.

    Raises:
        dagster.Failure: the export cannot be converted, and a retry would not help.
    """
    started = time.monotonic()
    try:
        snapshot = open_snapshot(cloud, pipeline, config, context.partition_key)
        require_kind(snapshot, table)
        converter = chosen_converter(context, settings, snapshot)
        columns = snapshot_columns(context, snapshot, converter)
        conversion = converter.converted(snapshot, columns)
    except (ExportError, ConversionFailedError, PartitionError, PublishError) as error:
        raise dg.Failure(str(error), allow_retries=False) from error
    columns += table.extra_columns
    if conversion.parts or not table.incremental:  # a window without a change has no partition
        publish_export(
            cloud.glue,
            table.reference,
            location=table.location,
            columns=columns,
            export_id=snapshot.export_id,
            partition_location=snapshot.uri,
        )
    return dg.MaterializeResult(
        metadata={
            **partition_metadata(snapshot, conversion, columns, time.monotonic() - started),
            **same_columns(
                [column.name for column in columns],
                {asset_key(pipeline, LAKE_TABLE): [c.name for c in item_columns(columns)]},
            ),
            **converted_preview(pipeline, snapshot.destination, conversion),
            TABLE_NAME: dg.MetadataValue.text(str(table.reference)),
            "converted_by": "Spark" if isinstance(converter, BySpark) else "one machine",
        },
        data_version=dg.DataVersion(snapshot.export_id),
        check_results=[
            every_item_counted(snapshot.export, conversion),
            schema_is_the_lake_tables(snapshot.destination, conversion, columns),
        ],
    )


def converted_preview(
    pipeline: PipelineConfig, destination: Destination, conversion: ConvertedExport
) -> Mapping[str, dg.MetadataValue]:
    """The first rows of a converted export."""
    for part in conversion.parts[:1]:
        path = f"{destination.path}/{part.path}"
        return preview_metadata(pipeline, destination.filesystem, path)
    return {}


def require_kind(snapshot: Snapshot, table: ExportTable) -> None:
    """Refuse an export of the other kind.

    Raises:
        MalformedExportError: the table's partitions are made of other exports.
    """
    incremental = snapshot.export.summary.incremental
    if incremental is not table.incremental:
        kind, asset = ("incremental", "changes") if incremental else ("full", "snapshot")
        raise MalformedExportError(
            snapshot.export.summary.manifest_files_key,
            f"the export is {kind}: materialise its partition of parquet_{asset}.",
        )


def open_snapshot(
    cloud: CloudResource, pipeline: PipelineConfig, config: SnapshotConfig, export_id: str
) -> Snapshot:
    """Open a finished export of the pipeline's bucket.

    Raises:
        ExportError: it is missing, not finished or damaged.
    """
    source = export_path(pipeline, export_id)
    return Snapshot(cloud, pipeline, config, *open_export(cloud.filesystem(), source), export_id)


def snapshot_columns(
    context: dg.AssetExecutionContext, snapshot: Snapshot, converter: Converter
) -> tuple[Column, ...]:
    """The lake table's item columns; with ``infer``, widened first to hold the export's items."""
    glue, reference = snapshot.cloud.glue, lake_table(snapshot.pipeline)
    if not snapshot.config.infer:
        return item_columns(read_table(glue, reference).columns)
    found = converter.inferred(snapshot)
    update = widen_lake_table(glue, reference, stream_location(snapshot.pipeline), found)
    if update.written:
        context.log.info("Widened the lake table %s.", update.table.reference)
    return item_columns(update.table.columns)


def partition_metadata(
    snapshot: Snapshot, conversion: ConvertedExport, columns: tuple[Column, ...], seconds: float
) -> Mapping[str, dg.MetadataValue]:
    """What an export became, for the asset's page."""
    return {
        COLUMN_SCHEMA: dg.MetadataValue.table_schema(column_schema(columns)),
        "dagster/uri": dg.MetadataValue.text(snapshot.uri),
        **{
            name: dg.MetadataValue.text(text)
            for name, text in export_times(snapshot.export.summary).items()
        },
        "dagster/partition_row_count": dg.MetadataValue.int(conversion.rows),
        "rejected": dg.MetadataValue.int(conversion.rejected),
        "read_one_by_one": dg.MetadataValue.int(conversion.exact_lines),
        "files": dg.MetadataValue.int(len(conversion.parts)),
        "bytes": dg.MetadataValue.int(conversion.size),
        "seconds": dg.MetadataValue.float(round(seconds, 1)),
        "tasks_done_by_an_earlier_run": dg.MetadataValue.int(conversion.resumed_tasks),
    }


def export_times(summary: ExportSummary) -> dict[str, str]:
    """The time of a full export, or the window of an incremental one, for the asset's page."""
    if summary.incremental:
        return {"from_time": summary.from_time, "to_time": summary.to_time, "view": summary.view}
    return {"export_time": summary.export_time}


def every_item_counted(export: Export, conversion: ConvertedExport) -> dg.AssetCheckResult:
    """Fails where items are missing; warns where lines were rejected."""
    items = export.summary.item_count
    whole = conversion.rows + conversion.rejected == items
    return dg.AssetCheckResult(
        check_name="every_item_counted",
        passed=whole and not conversion.rejected,
        severity=dg.AssetCheckSeverity.WARN if whole else dg.AssetCheckSeverity.ERROR,
        metadata={
            "items_in_manifest": items,
            "rows": conversion.rows,
            "rejected": conversion.rejected,
        },
    )


def schema_is_the_lake_tables(
    destination: Destination, conversion: ConvertedExport, columns: tuple[Column, ...]
) -> dg.AssetCheckResult:
    """Compares the schemas in the files' footers with the lake table's columns."""
    paths = [part.path for part in conversion.parts]
    differing = differing_schemas(destination, paths, arrow_schema(columns))
    return dg.AssetCheckResult(
        check_name="schema_is_the_lake_tables",
        passed=not differing,
        metadata={"files": len(paths), "differing": dg.MetadataValue.json(differing)},
    )
