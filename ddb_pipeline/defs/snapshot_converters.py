"""How an export is converted to a partition: in this process, or by a Spark job."""

import time
from dataclasses import dataclass
from pathlib import Path
from typing import Literal, Protocol

import dagster as dg
from pydantic import Field

from ddb_pipeline.arrow_types import arrow_schema
from ddb_pipeline.config.pipeline import PipelineConfig
from ddb_pipeline.config.settings import Settings
from ddb_pipeline.export.columns_file import read_columns_file, write_columns_file
from ddb_pipeline.export.convert import (
    ConversionFailedError,
    ConvertedExport,
    Progress,
    convert_export,
    infer_export,
    published_export,
)
from ddb_pipeline.export.layout import Export
from ddb_pipeline.export.source import ExportFolder
from ddb_pipeline.glue.snapshot_table import PARTITION_KEY
from ddb_pipeline.hive.infer import InferenceOptions, inferred_schema, notes
from ddb_pipeline.hive.types import Column
from ddb_pipeline.lake.layout import CHANGES_PREFIX, SNAPSHOT_PREFIX, SPARK_COLUMNS_PREFIX
from ddb_pipeline.parquet.partition_by import parse_partition_by
from ddb_pipeline.parquet.parts import PartOptions
from ddb_pipeline.parquet.publish import Destination
from ddb_pipeline.resources.cloud import CloudResource
from ddb_pipeline.resources.spark import spark_runner
from ddb_pipeline.spark.export_arguments import ExportArguments
from ddb_pipeline.spark.submission import SparkJob

SPARK_MODULE = "ddb_pipeline.spark.export_job"
LOG_SECONDS = 5.0
OBSERVE_SECONDS = 20.0


class SnapshotConfig(dg.Config):
    """How an export is converted to Parquet."""

    infer: bool = Field(
        default=True,
        description=(
            "Read all items first, and widen the lake table to hold attributes that no crawl has "
            "seen."
        ),
    )
    partition_by: str = Field(
        default="",
        description=("Directories inside the snapshot: hash(column,16), date(column) or a column."),
    )
    compression: str = Field(default="zstd", description="Compression of the Parquet files.")
    file_mb: int = Field(default=256, description="Size at which a Parquet file ends, in MiB.")
    engine: Literal["auto", "here", "spark"] = Field(
        default="auto",
        description=(
            "here: convert in the run's process; spark: by a Spark job; auto: by Spark where the "
            "table has the size that spark.snapshot_from_gb gives."
        ),
    )
    workers: int = Field(
        default=0,
        description=(
            "Data files converted in parallel in the run's process; 0 for the number of cores."
        ),
    )


@dataclass(frozen=True, slots=True)
class Snapshot:
    """An export that is being converted: to a snapshot, or to changes if it is incremental."""

    cloud: CloudResource
    pipeline: PipelineConfig
    config: SnapshotConfig
    open_object: ExportFolder
    export: Export
    export_id: str

    @property
    def source(self) -> str:
        """``bucket/prefix`` of the export."""
        return self.open_object.path

    @property
    def location(self) -> str:
        """``bucket/prefix`` of the dataset."""
        prefix = CHANGES_PREFIX if self.export.summary.incremental else SNAPSHOT_PREFIX
        return self.pipeline.lake.path(f"{prefix}{PARTITION_KEY.name}={self.export_id}")

    @property
    def uri(self) -> str:
        """The dataset's ``s3://`` URI."""
        return f"s3://{self.location}/"

    @property
    def destination(self) -> Destination:
        """Where the dataset is published."""
        return Destination(self.open_object.filesystem, self.location)

    def options(self, columns: tuple[Column, ...]) -> PartOptions:
        """How the Parquet files are written.

        Raises:
            PartitionError: ``partition_by`` names no column, or one of another type.
        """
        text = self.config.partition_by
        return PartOptions(
            compression=self.config.compression,
            file_bytes=self.config.file_mb * 1024 * 1024,
            partition_by=parse_partition_by(text, arrow_schema(columns)) if text else None,
        )


class Converter(Protocol):
    """Reads an export."""

    def inferred(self, snapshot: Snapshot) -> tuple[Column, ...]:
        """The columns that hold all items of the export."""

    def converted(self, snapshot: Snapshot, columns: tuple[Column, ...]) -> ConvertedExport:
        """Write and publish the dataset with these columns."""


def chosen_converter(
    context: dg.AssetExecutionContext, settings: Settings, snapshot: Snapshot
) -> Converter:
    """The converter for this export, by the run's ``engine`` and the table's size."""
    size = snapshot.export.summary.billed_size_bytes
    if wants_spark(snapshot.config.engine, size, snapshot.pipeline.spark.snapshot_from_gb):
        return BySpark(context, settings.home)
    return InProcess(context)


def wants_spark(engine: str, size_bytes: int, from_gb: float) -> bool:
    """Whether Spark converts: requested by ``engine``, or the table has ``from_gb`` (0: never)."""
    large = from_gb > 0 and size_bytes >= from_gb * 1e9
    return engine == "spark" or (engine == "auto" and large)


@dataclass(frozen=True, slots=True)
class InProcess:
    """Converts in this process, with data files in parallel on its cores."""

    context: dg.AssetExecutionContext

    def inferred(self, snapshot: Snapshot) -> tuple[Column, ...]:
        found = inferred_schema(
            infer_export(
                snapshot.open_object,
                snapshot.export,
                workers=snapshot.config.workers or None,
                on_progress=ProgressLog(self.context, "Reading"),
            ),
            InferenceOptions(decisions=snapshot.pipeline.type_decisions),
        )
        for note in notes(found):
            self.context.log.warning(note)
        return found.columns

    def converted(self, snapshot: Snapshot, columns: tuple[Column, ...]) -> ConvertedExport:
        return convert_export(
            snapshot.open_object,
            snapshot.export,
            columns,
            snapshot.destination,
            options=snapshot.options(columns),
            decisions=snapshot.pipeline.type_decisions,
            workers=snapshot.config.workers or None,
            on_progress=ProgressLog(self.context, "Converting"),
        )


@dataclass(frozen=True, slots=True)
class BySpark:
    """Converts by a Spark job: the same code on many machines, with the same dataset as result."""

    context: dg.AssetExecutionContext
    home: Path

    def inferred(self, snapshot: Snapshot) -> tuple[Column, ...]:
        columns = columns_uri(snapshot, "inferred")
        decisions = snapshot.pipeline.type_decisions.text
        self._run(
            snapshot,
            ExportArguments(f"s3://{snapshot.source}", infer_to=columns, type_conflicts=decisions),
        )
        return read_columns_file(snapshot.open_object.filesystem, columns.removeprefix("s3://"))

    def converted(self, snapshot: Snapshot, columns: tuple[Column, ...]) -> ConvertedExport:
        options, config = snapshot.options(columns), snapshot.config
        decisions = snapshot.pipeline.type_decisions
        schema = columns_uri(snapshot, "columns")
        write_columns_file(snapshot.open_object.filesystem, schema.removeprefix("s3://"), columns)
        self._run(
            snapshot,
            ExportArguments(
                f"s3://{snapshot.source}",
                f"s3://{snapshot.location}",
                schema,
                partition_by=config.partition_by,
                compression=config.compression,
                file_mb=config.file_mb,
                type_conflicts=decisions.text,
            ),
        )
        conversion = published_export(
            snapshot.export,
            columns,
            snapshot.destination,
            options=options,
            decisions=decisions,
        )
        if conversion is None:
            raise ConversionFailedError(
                f"The Spark job succeeded, but {snapshot.location} contains no dataset."
            )
        return conversion

    def _run(self, snapshot: Snapshot, arguments: ExportArguments) -> None:
        command_line = tuple(arguments.command_line())
        job = SparkJob("export_job", SPARK_MODULE, command_line, libraries=True)
        with spark_runner(snapshot.cloud, snapshot.pipeline, self.home) as runner:
            runner.run(self.context, job)


def columns_uri(snapshot: Snapshot, name: str) -> str:
    """The object by which columns are passed to or from the Spark job."""
    return snapshot.pipeline.lake.uri(f"{SPARK_COLUMNS_PREFIX}{snapshot.export_id}/{name}.json")


class ProgressLog:
    """Reports a run's progress: in its log, and as observations of the asset.

    Args:
        doing: the activity, as a word: ``Converting``.
    """

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
        metadata = progress_metadata(progress, now - self._started)
        self._context.log.info(
            "%s: %d of %d items, %d items/s, %d s left.",
            self._doing,
            progress.items,
            progress.total_items,
            metadata["items_per_second"],
            metadata["seconds_left"],
        )
        if now >= self._observed + OBSERVE_SECONDS:
            self._observed = now
            self._context.log_event(
                dg.AssetObservation(
                    asset_key=self._context.asset_key,
                    partition=self._context.partition_key,
                    description=self._doing,
                    metadata=metadata,
                )
            )


def progress_metadata(progress: Progress, seconds: float) -> dict[str, int]:
    """Progress after so many seconds, with the rate and an estimate of the seconds left."""
    rate = progress.items / max(seconds, 1e-9)
    left = (progress.total_items - progress.items) / rate if rate else 0.0
    return {
        "items": progress.items,
        "items_in_export": progress.total_items,
        "tasks": progress.tasks,
        "items_per_second": round(rate),
        "seconds_left": round(left),
    }
