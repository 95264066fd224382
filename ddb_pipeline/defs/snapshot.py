"""Snapshots: exports of the whole table as Parquet, one partition an export."""

import time
from collections.abc import Iterator, Mapping

import dagster as dg
import pyarrow as pa
import pyarrow.parquet as pq

from ddb_pipeline.config import PipelineConfig
from ddb_pipeline.defs.asset_keys import LAKE_TABLE, PARQUET_SNAPSHOT, asset_key
from ddb_pipeline.defs.crawl import RETRY
from ddb_pipeline.defs.metadata import COLUMN_SCHEMA, column_schema
from ddb_pipeline.defs.schema import lake_location, lake_reference
from ddb_pipeline.deploy.stack import snapshot_table
from ddb_pipeline.dynamodb.export import FOLDER, Export
from ddb_pipeline.dynamodb.export_read import ExportError
from ddb_pipeline.glue.catalog import TableReference, read_table
from ddb_pipeline.glue.lake_table import widen_lake_table
from ddb_pipeline.glue.snapshot_table import PARTITION_KEY, item_columns, publish_snapshot
from ddb_pipeline.hive.infer import inferred_schema, notes
from ddb_pipeline.hive.types import Column
from ddb_pipeline.lake.arrow_types import arrow_schema
from ddb_pipeline.lake.convert_export import (
    Conversion,
    ConversionFailedError,
    Progress,
    convert_export,
    infer_export,
)
from ddb_pipeline.lake.export_source import ExportFolder, open_export
from ddb_pipeline.lake.layout import SNAPSHOT_PREFIX
from ddb_pipeline.lake.partition_by import PartitionError, parse_partition_by
from ddb_pipeline.lake.parts import PartOptions
from ddb_pipeline.lake.publish import Destination, PublishError
from ddb_pipeline.resources.cloud import CloudResource

LOG_SECONDS = 5.0
OBSERVE_SECONDS = 20.0


class SnapshotConfig(dg.Config):
    """How an export becomes Parquet."""

    infer: bool = True
    """Look at all items first and widen the lake table by what no crawl has seen yet."""
    partition_by: str = ""
    """``hash(column,16)``, ``date(column)`` or a column: directories inside the snapshot."""
    compression: str = "zstd"
    file_mb: int = 256
    workers: int = 0
    """Data files converted side by side; 0 for as many as there are cores."""


def exports(pipeline: PipelineConfig) -> dg.DynamicPartitionsDefinition:
    """A partition for each export that was found, by its id."""
    return dg.DynamicPartitionsDefinition(name=f"{pipeline.name}_exports")


def snapshot_reference(pipeline: PipelineConfig) -> TableReference:
    return TableReference(pipeline.database, snapshot_table(pipeline))


def snapshot_asset(pipeline: PipelineConfig) -> dg.AssetsDefinition:
    key = asset_key(pipeline, PARQUET_SNAPSHOT)

    @dg.asset(
        key=key,
        deps=[asset_key(pipeline, LAKE_TABLE)],
        partitions_def=exports(pipeline),
        description=(
            "The whole table at a point in time, from DynamoDB's export to S3: every item a row "
            "with each value exact, or a rejected line with its reason."
        ),
        group_name=pipeline.name,
        kinds={"parquet", "s3"},
        retry_policy=RETRY,
        pool=f"snapshot_{pipeline.name}",
        check_specs=[
            dg.AssetCheckSpec(
                name="every_item_counted",
                asset=key,
                description="Rows and rejected lines add up to the items of the manifest.",
            ),
            dg.AssetCheckSpec(
                name="schema_is_the_lake_tables",
                asset=key,
                description="The Parquet files have the lake table's columns and types.",
            ),
        ],
    )
    def parquet_snapshot(
        context: dg.AssetExecutionContext, cloud: CloudResource, config: SnapshotConfig
    ) -> Iterator[dg.MaterializeResult[None]]:
        yield snapshot(context, cloud, pipeline, config)

    return parquet_snapshot


def snapshot(
    context: dg.AssetExecutionContext,
    cloud: CloudResource,
    pipeline: PipelineConfig,
    config: SnapshotConfig,
) -> dg.MaterializeResult[None]:
    """Convert the partition's export and make it known to the catalog.

    Raises:
        dagster.Failure: what is wrong will not mend itself.
    """
    export_id = context.partition_key
    filesystem = cloud.filesystem()
    location = f"{pipeline.bucket}/{SNAPSHOT_PREFIX}{PARTITION_KEY.name}={export_id}"
    destination = Destination(filesystem, location)
    started = time.monotonic()
    try:
        source = f"{pipeline.bucket}/{pipeline.export_prefix.strip('/')}/{FOLDER}/{export_id}"
        open_object, export = open_export(filesystem, source)
        columns = snapshot_columns(context, cloud, pipeline, config, (open_object, export))
        conversion = convert_export(
            open_object,
            export,
            columns,
            destination,
            options=part_options(config, columns),
            workers=config.workers or None,
            on_progress=ProgressLog(context, "Converting"),
        )
    except (ExportError, ConversionFailedError, PartitionError, PublishError) as error:
        raise dg.Failure(str(error), allow_retries=False) from error
    table = publish_snapshot(
        cloud.glue,
        snapshot_reference(pipeline),
        f"s3://{pipeline.bucket}/{SNAPSHOT_PREFIX}",
        columns,
        export_id,
        f"s3://{location}/",
    )
    return dg.MaterializeResult(
        metadata={
            **snapshot_metadata(conversion, columns, time.monotonic() - started),
            "dagster/table_name": str(table.reference),
            "dagster/uri": f"s3://{location}/",
            "export_time": export.summary.export_time,
        },
        data_version=dg.DataVersion(export_id),
        check_results=[
            every_item_counted(export, conversion),
            schema_is_the_lake_tables(destination, conversion, columns),
        ],
    )


def snapshot_columns(
    context: dg.AssetExecutionContext,
    cloud: CloudResource,
    pipeline: PipelineConfig,
    config: SnapshotConfig,
    source: tuple[ExportFolder, Export],
) -> tuple[Column, ...]:
    """The lake table's item columns, widened first by what all items of the export tell."""
    if not config.infer:
        return item_columns(read_table(cloud.glue, lake_reference(pipeline)).columns)
    found = inferred_schema(
        infer_export(
            *source, workers=config.workers or None, on_progress=ProgressLog(context, "Reading")
        )
    )
    for note in notes(found):
        context.log.warning(note)
    update = widen_lake_table(
        cloud.glue, lake_reference(pipeline), lake_location(pipeline), found.columns
    )
    if update.written:
        context.log.info("Lake table %s widened.", update.table.reference)
    return item_columns(update.table.columns)


def part_options(config: SnapshotConfig, columns: tuple[Column, ...]) -> PartOptions:
    text = config.partition_by
    return PartOptions(
        compression=config.compression,
        file_bytes=config.file_mb * 1024 * 1024,
        partition_by=parse_partition_by(text, arrow_schema(columns)) if text else None,
    )


class ProgressLog:
    """Tells of progress while a run lasts: in its log, and as observations of the asset."""

    def __init__(self, context: dg.AssetExecutionContext, doing: str) -> None:
        self._context = context
        self._doing = doing
        self._started = self._logged = self._observed = time.monotonic()

    def __call__(self, progress: Progress) -> None:
        now = time.monotonic()
        done = progress.items >= progress.total_items and progress.tasks >= progress.total_tasks
        if now < self._logged + LOG_SECONDS and not done:
            return
        self._logged = now
        told = progress_metadata(progress, now - self._started)
        self._context.log.info(
            "%s: %d of %d items, %d items/s, %d s left.",
            self._doing,
            progress.items,
            progress.total_items,
            told["items_per_second"],
            told["seconds_left"],
        )
        if now >= self._observed + OBSERVE_SECONDS:
            self._observed = now
            self._context.log_event(
                dg.AssetObservation(
                    asset_key=self._context.asset_key,
                    partition=self._context.partition_key,
                    description=self._doing,
                    metadata=told,
                )
            )


def progress_metadata(progress: Progress, seconds: float) -> dict[str, int]:
    rate = progress.items / max(seconds, 1e-9)
    left = (progress.total_items - progress.items) / rate if rate else 0.0
    return {
        "items": progress.items,
        "items_in_export": progress.total_items,
        "tasks": progress.tasks,
        "items_per_second": round(rate),
        "seconds_left": round(left),
    }


def snapshot_metadata(
    conversion: Conversion, columns: tuple[Column, ...], seconds: float
) -> Mapping[str, dg.MetadataValue]:
    return {
        COLUMN_SCHEMA: dg.MetadataValue.table_schema(column_schema(columns)),
        "dagster/partition_row_count": dg.MetadataValue.int(conversion.rows),
        "rejected": dg.MetadataValue.int(conversion.rejected),
        "read_one_by_one": dg.MetadataValue.int(conversion.exact_lines),
        "files": dg.MetadataValue.int(len(conversion.parts)),
        "bytes": dg.MetadataValue.int(conversion.size),
        "seconds": dg.MetadataValue.float(round(seconds, 1)),
        "tasks_done_by_an_earlier_run": dg.MetadataValue.int(conversion.resumed_tasks),
    }


def every_item_counted(export: Export, conversion: Conversion) -> dg.AssetCheckResult:
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
    destination: Destination, conversion: Conversion, columns: tuple[Column, ...]
) -> dg.AssetCheckResult:
    """Compares the schemas in the files' own footers with the table's."""
    wanted = arrow_schema(columns)
    differing = {}
    for part in conversion.parts:
        found: pa.Schema = pq.read_schema(
            f"{destination.path}/{part.path}", filesystem=destination.filesystem
        )
        partitioned = {field.partition("=")[0] for field in part.path.split("/")[:-1]}
        expected = pa.schema([field for field in wanted if field.name not in partitioned])
        if not as_readers_see(found).equals(as_readers_see(expected)):
            differing[part.path] = found.to_string()
    return dg.AssetCheckResult(
        check_name="schema_is_the_lake_tables",
        passed=not differing,
        metadata={"files": len(conversion.parts), "differing": dg.MetadataValue.json(differing)},
    )


def as_readers_see(schema: pa.Schema) -> pa.Schema:
    """The schema without what only Arrow knows: a timestamp of INT96 reads as nanoseconds."""
    fields = [
        field.with_type(pa.timestamp("us")) if pa.types.is_timestamp(field.type) else field
        for field in schema
    ]
    return pa.schema([field.remove_metadata() for field in fields])
