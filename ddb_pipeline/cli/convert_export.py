"""``ddb-pipeline convert-export``: an export of a DynamoDB table to Parquet, on this machine."""

import json
import sys
import time
from collections.abc import Sequence
from contextlib import AbstractContextManager, nullcontext
from dataclasses import asdict, dataclass
from pathlib import Path

import click

from ddb_pipeline.arrow_types import arrow_schema
from ddb_pipeline.cli.decide_option import decide_option
from ddb_pipeline.cli.locations import filesystem_and_path
from ddb_pipeline.cli.schema_file import read_parquet_schema_file
from ddb_pipeline.export.convert import (
    ConvertedExport,
    OnProgress,
    Progress,
    convert_export,
    infer_export,
)
from ddb_pipeline.export.layout import Export
from ddb_pipeline.export.manifest import Open
from ddb_pipeline.export.rows.changes import CHANGE_COLUMNS
from ddb_pipeline.export.source import open_export
from ddb_pipeline.hive.infer import InferenceOptions, inferred_schema
from ddb_pipeline.hive.infer import notes as schema_notes
from ddb_pipeline.hive.normalize import replace_sets
from ddb_pipeline.hive.type_decisions import TypeDecisions
from ddb_pipeline.hive.types import Column
from ddb_pipeline.native.library import library
from ddb_pipeline.parquet.partition_by import parse_partition_by
from ddb_pipeline.parquet.parts import PartOptions
from ddb_pipeline.parquet.publish import Destination


@dataclass(frozen=True, slots=True)
class ConversionReport:
    """What the command prints.

    Attributes:
        notes: on the inferred types, such as values of several types in one attribute.
        reader: ``native`` if the reader in C ran, otherwise ``arrow``.
        seconds: wall-clock time of inference and conversion.
    """

    converted: ConvertedExport
    destination: str
    columns: Sequence[Column]
    notes: Sequence[str]
    reader: str
    seconds: float


@click.command("convert-export")
@click.argument("source")
@click.argument("destination")
@click.option(
    "--schema",
    type=click.Path(exists=True, dir_okay=False, path_type=Path),
    help="JSON file of column names and Hive types, or of Glue's GetTable response.",
)
@click.option("--infer", is_flag=True, help="Infer the types from all items (the default).")
@click.option(
    "--partition-by",
    default="",
    help="Partition the dataset: hash(column,16), date(column) or column.",
)
@click.option(
    "--compression",
    default="zstd",
    show_default=True,
    type=click.Choice(["zstd", "snappy", "gzip", "lz4", "none"]),
    help="Compression of the Parquet files.",
)
@click.option(
    "--file-mb",
    default=256,
    show_default=True,
    type=click.IntRange(1, 4096),
    help="Size in MiB at which a Parquet file is closed and another is started.",
)
@click.option(
    "--workers",
    type=click.IntRange(1, 256),
    help="Number of threads. Default: one for each CPU core.",
)
@click.option(
    "--no-checksums",
    is_flag=True,
    help="Accept manifests without their .md5 objects. Data files are verified all the same.",
)
@decide_option
@click.option("--json", "as_json", is_flag=True, help="Print the result as one JSON object.")
def convert_export_command(
    source: str,
    destination: str,
    schema: Path | None,
    infer: bool,
    partition_by: str,
    compression: str,
    file_mb: int,
    workers: int | None,
    no_checksums: bool,
    decide: TypeDecisions,
    as_json: bool,
) -> None:
    """Convert a DynamoDB export to Parquet.

    SOURCE is the folder of an export, the one with manifest-summary.json. DESTINATION is a folder
    that is empty or does not exist. Both are local paths or s3:// URLs.

    Each item becomes a row with exact values. An item that does not fit the columns is written to
    the folder _rejected of the destination, with the reason; the exit status is then 1.

    Each change of an incremental export becomes a row of the item's columns, only the key's for a
    deleted item, and of ddb_keys, ddb_event_name (UPSERT or REMOVE) and ddb_write_time.

    A conversion that was interrupted continues when the same command is run again.
    """
    if schema is not None and infer:
        raise click.UsageError("Give --schema or --infer, not both.")
    started = time.monotonic()
    opened = open_export(*filesystem_and_path(source), checksums=not no_checksums)
    columns, notes = (
        (read_parquet_schema_file(schema), [])
        if schema is not None
        else inferred_columns(*opened, workers, decide, hidden=as_json)
    )
    target = Destination(*filesystem_and_path(destination))
    options = part_options(columns, partition_by, compression, file_mb)
    with progress_bar("Converting", hidden=as_json) as bar:
        converted = convert_export(
            *opened,
            columns,
            target,
            options=options,
            decisions=decide,
            workers=workers,
            on_progress=bar,
        )
    if opened[1].summary.incremental:
        columns = (*columns, *CHANGE_COLUMNS)
    reader, seconds = reader_name(), time.monotonic() - started
    report = ConversionReport(converted, destination, columns, notes, reader, seconds)
    click.echo(report_json(report) if as_json else report_text(report))
    sys.exit(1 if converted.rejected else 0)


def reader_name() -> str:
    """The reader of this installation: ``native`` or ``arrow``."""
    return "native" if library() is not None else "arrow"


def inferred_columns(
    open_object: Open,
    export: Export,
    workers: int | None,
    decisions: TypeDecisions,
    *,
    hidden: bool,
) -> tuple[tuple[Column, ...], list[str]]:
    """Columns that Spark, Hive and Athena can read, and notes on how they were inferred."""
    with progress_bar("Inferring types", hidden=hidden) as bar:
        inference = infer_export(open_object, export, workers=workers, on_progress=bar)
    schema = inferred_schema(inference, InferenceOptions(decisions=decisions))
    columns = tuple(Column(c.name, replace_sets(c.type)) for c in schema.columns)
    return columns, list(schema_notes(schema))


def part_options(
    columns: Sequence[Column], partition_by: str, compression: str, file_mb: int
) -> PartOptions:
    """The options of the Parquet files.

    Raises:
        PartitionError: the partition expression is invalid or does not fit the columns.
    """
    return PartOptions(
        compression=compression,
        file_bytes=file_mb * 1024 * 1024,
        partition_by=(
            parse_partition_by(partition_by, arrow_schema(columns)) if partition_by else None
        ),
    )


class _Bar(AbstractContextManager["_Bar"]):
    """A progress bar on a terminal: percentage, items per second, time left."""

    def __init__(self, title: str) -> None:
        from rich.progress import BarColumn, TextColumn, TimeRemainingColumn
        from rich.progress import Progress as RichProgress

        self._progress = RichProgress(
            TextColumn(title),
            BarColumn(),
            TextColumn("{task.percentage:>3.0f} %  {task.fields[rate]}"),
            TimeRemainingColumn(),
            transient=True,
        )
        self._task = self._progress.add_task(title, total=None, rate="")
        self._started = time.monotonic()

    def __enter__(self) -> "_Bar":
        self._progress.start()
        return self

    def __exit__(self, *exception: object) -> None:
        self._progress.stop()

    def __call__(self, progress: Progress) -> None:
        rate = progress.items / max(time.monotonic() - self._started, 1e-9)
        self._progress.update(
            self._task,
            completed=progress.items,
            total=progress.total_items,
            rate=f"{rate:,.0f} items/s",
        )


def progress_bar(title: str, *, hidden: bool) -> AbstractContextManager[OnProgress]:
    """A progress bar; nothing if it is hidden or standard output is not a terminal."""
    if hidden or not sys.stdout.isatty():
        return nullcontext(lambda progress: None)
    return _Bar(title)


def report_json(report: ConversionReport) -> str:
    """The report as one JSON object."""
    return json.dumps(
        {
            **asdict(report.converted),
            "destination": report.destination,
            "columns": [list(column) for column in report.columns],
            "notes": list(report.notes),
            "reader": report.reader,
            "seconds": round(report.seconds, 3),
        }
    )


def report_text(report: ConversionReport) -> str:
    """The report for a terminal."""
    converted, files = report.converted, len(report.converted.parts)
    lines = [
        f"{converted.rows:,} rows of {len(report.columns)} columns in {files} files, "
        f"{converted.size / 1e6:,.1f} MB, in {report.seconds:.1f} s: {report.destination}",
        *(f"  {note}" for note in report.notes),
    ]
    if converted.resumed_tasks:
        lines.append(f"  {converted.resumed_tasks} task(s) were done by an earlier run.")
    if converted.rejected:
        lines.append(
            f"  {converted.rejected:,} line(s) were rejected. They are in "
            f"{report.destination.rstrip('/')}/_rejected, with the reasons."
        )
    return "\n".join(lines)
