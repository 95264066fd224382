"""``ddb-pipeline convert-export``: an export of a DynamoDB table to Parquet, on this machine."""

import json
import sys
import time
from contextlib import AbstractContextManager, nullcontext
from dataclasses import asdict
from pathlib import Path

import click

from ddb_pipeline.arrow_types import arrow_schema
from ddb_pipeline.cli.places import located
from ddb_pipeline.cli.schema_file import read_parquet_schema_file
from ddb_pipeline.export.convert import (
    ConvertedExport,
    OnProgress,
    Progress,
    convert_export,
    infer_export,
)
from ddb_pipeline.export.source import open_export
from ddb_pipeline.hive.infer import Inference, inferred_schema, notes
from ddb_pipeline.hive.normalize import replace_sets
from ddb_pipeline.hive.types import Column
from ddb_pipeline.parquet.partition_by import parse_partition_by
from ddb_pipeline.parquet.parts import PartOptions
from ddb_pipeline.parquet.publish import Destination


@click.command("convert-export")
@click.argument("source")
@click.argument("destination")
@click.option(
    "--schema",
    type=click.Path(exists=True, dir_okay=False, path_type=Path),
    help="JSON: column names with Hive types, or Glue's GetTable answer.",
)
@click.option("--infer", is_flag=True, help="Take the types from all items (the default).")
@click.option("--partition-by", default="", help="hash(column,16), date(column) or column.")
@click.option(
    "--compression",
    default="zstd",
    show_default=True,
    type=click.Choice(["zstd", "snappy", "gzip", "lz4", "none"]),
)
@click.option(
    "--file-mb",
    default=256,
    show_default=True,
    type=click.IntRange(1, 4096),
    help="Size from which on another file is begun.",
)
@click.option("--workers", type=click.IntRange(1, 256), help="Data files read side by side.")
@click.option("--json", "as_json", is_flag=True, help="Print one JSON object.")
def convert_export_command(
    source: str,
    destination: str,
    schema: Path | None,
    infer: bool,
    partition_by: str,
    compression: str,
    file_mb: int,
    workers: int | None,
    as_json: bool,
) -> None:
    """Convert a full export of a DynamoDB table to Parquet.

    SOURCE is the export's folder (the one with manifest-summary.json), DESTINATION a folder that
    is empty or not there yet; each a local path or an s3:// URL. Each item becomes a row with
    every value exact, or is kept under _rejected with the reason; exit status 1 if any was.
    Run it again after a crash and it goes on where it was.
    """
    if schema is not None and infer:
        raise click.UsageError("Give --schema or --infer, not both.")
    started = time.monotonic()
    open_object, export = open_export(*located(source))
    told: list[str] = []
    if schema is not None:
        columns = read_parquet_schema_file(schema)
    else:
        with progress_bar("Reading the types", hidden=as_json) as bar:
            inference = infer_export(open_object, export, workers=workers, on_progress=bar)
        columns, told = inferred_columns(inference)
    options = PartOptions(
        compression=compression,
        file_bytes=file_mb * 1024 * 1024,
        partition_by=parse_partition_by(partition_by, arrow_schema(columns))
        if partition_by
        else None,
    )
    with progress_bar("Converting", hidden=as_json) as bar:
        conversion = convert_export(
            open_object,
            export,
            columns,
            Destination(*located(destination)),
            options=options,
            workers=workers,
            on_progress=bar,
        )
    seconds = time.monotonic() - started
    text = as_json_text if as_json else as_text
    click.echo(text(conversion, columns, told, destination, seconds))
    if conversion.rejected:
        sys.exit(1)


def inferred_columns(inference: Inference) -> tuple[tuple[Column, ...], list[str]]:
    """Columns that Spark, Hive and Athena read, and what a person should know of them."""
    found = inferred_schema(inference)
    columns = tuple(Column(c.name, replace_sets(c.type)) for c in found.columns)
    return columns, list(notes(found))


class _Bar(AbstractContextManager["_Bar"]):
    """A bar on a terminal: share, items a second, time left. Nothing where it is no terminal."""

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
    if hidden or not sys.stdout.isatty():
        return nullcontext(lambda progress: None)
    return _Bar(title)


def as_json_text(
    conversion: ConvertedExport,
    columns: tuple[Column, ...],
    told: list[str],
    destination: str,
    seconds: float,
) -> str:
    return json.dumps(
        {
            **asdict(conversion),
            "destination": destination,
            "columns": [list(column) for column in columns],
            "notes": told,
            "seconds": round(seconds, 3),
        }
    )


def as_text(
    conversion: ConvertedExport,
    columns: tuple[Column, ...],
    told: list[str],
    destination: str,
    seconds: float,
) -> str:
    size = conversion.size / 1e6
    lines = [
        f"{conversion.rows:,} rows of {len(columns)} columns in {len(conversion.parts)} files, "
        f"{size:,.1f} MB, in {seconds:.1f} s: {destination}",
        *(f"  {note}" for note in told),
    ]
    if conversion.resumed_tasks:
        lines.append(f"  {conversion.resumed_tasks} task(s) were done by an earlier run.")
    if conversion.rejected:
        lines.append(
            f"  {conversion.rejected:,} line(s) are no rows: "
            f"{destination.rstrip('/')}/_rejected has them whole, with the reasons."
        )
    return "\n".join(lines)
