"""The rows of an export read in memory, with the columns of changes, for a merge by key.

open_object, export = open_export(filesystem, "exports/AWSDynamoDB/0178...")
columns = inferred_schema(infer_export(open_object, export)).columns
for rows in change_rows(open_object, export, columns):
    rows.table    # the columns, ddb_keys, ddb_event_name, ddb_write_time
"""

from collections.abc import Iterator, Sequence
from datetime import datetime, timezone
from typing import NamedTuple

import pyarrow as pa

from ddb_pipeline.export.layout import DataFile, Export
from ddb_pipeline.export.lines import RejectedLine
from ddb_pipeline.export.manifest import MalformedExportError, Open
from ddb_pipeline.export.read import check_item_count, read_blocks, read_changes
from ddb_pipeline.export.rows.changes import ChangeReader, KeyedItemReader
from ddb_pipeline.hive.times import read_timestamp
from ddb_pipeline.hive.type_decisions import NO_DECISIONS, TypeDecisions
from ddb_pipeline.hive.types import Column


class ChangeRows(NamedTuple):
    """Rows of a block of an export, in no particular order, and its lines that are none."""

    table: pa.Table
    rejected: tuple[RejectedLine, ...]


def change_rows(
    open_object: Open,
    export: Export,
    columns: Sequence[Column | tuple[str, str]],
    *,
    key_names: Sequence[str] = (),
    files: Sequence[DataFile] | None = None,
    decisions: TypeDecisions = NO_DECISIONS,
) -> Iterator[ChangeRows]:
    """The rows of an export in blocks, with ``CHANGE_COLUMNS`` after the columns given.

    A row of an incremental export is the new image of a changed item, or the key of a deleted one.
    A row of a full export is an item, an ``UPSERT`` at the export's time. Lines that cannot be
    converted are in ``rejected``. A data file is verified at its end: use no row as final
    before the iterator is exhausted.

    Args:
        columns: the columns of the items.
        key_names: the attributes of the table's key; required for a full export.
        files: data files of the export; all of them by default.
        decisions: what is decided about values of several types.

    Raises:
        ExportError: a data file is damaged, missing or differs from the manifest.
    """
    reader: ChangeReader | KeyedItemReader
    if export.summary.incremental:
        reader = ChangeReader(columns, decisions=decisions)
    else:
        micros = moment_micros(export, export.summary.export_time)
        reader = KeyedItemReader(columns, key_names, micros, decisions)
    for file in export.files if files is None else files:
        counted = 0
        for block, refused in read_blocks(open_object, file, export.format):
            rows = reader.rows(block)
            counted += rows.lines + len(refused)
            yield ChangeRows(rows.table, refused + rows.rejected)
        check_item_count(file, counted)


def key_names(open_object: Open, export: Export) -> tuple[str, ...]:
    """The attributes of the table's key, from the first change of an incremental export.

    Empty if the export has no change.

    Raises:
        ExportError: a data file is damaged or missing.
    """
    for file in export.files:
        for change in read_changes(open_object, file, export.format):
            return tuple(sorted(change.keys))
    return ()


def moment(export: Export, text: str) -> datetime:
    """A time in a summary manifest, in UTC.

    Raises:
        MalformedExportError: the text is not a time.
    """
    try:
        return read_timestamp(text).replace(tzinfo=timezone.utc)
    except ValueError as error:
        raise MalformedExportError(
            export.summary.manifest_files_key, f"its summary has no valid time: {error}."
        ) from None


def moment_micros(export: Export, text: str) -> int:
    """A time in a summary manifest, in microseconds of the epoch."""
    since = moment(export, text) - datetime(1970, 1, 1, tzinfo=timezone.utc)
    return (since.days * 86_400 + since.seconds) * 1_000_000 + since.microseconds
