"""Metadata on the assets' pages: catalog tables, and tables of changes."""

from collections.abc import Iterator, Sequence
from itertools import groupby

import dagster as dg

from ddb_pipeline.glue.catalog import TableReference
from ddb_pipeline.glue.history import ColumnEvent, TableVersion
from ddb_pipeline.hive.normalize import ColumnChange
from ddb_pipeline.hive.type_changes import TypeChange, column_changes
from ddb_pipeline.hive.types import Column
from ddb_pipeline.resources.table_metadata import (
    COLUMN_SCHEMA,
    TABLE_NAME,
    column_schema,
    markdown_table,
)

LONGEST_TYPE = 200
LONGEST_TYPE_OF_A_LINE = 60
LONGEST_TIMELINE = 100
"""Changes of columns that a timeline shows."""


def schema_metadata(
    table: TableReference, version: str, columns: Sequence[Column]
) -> dict[str, dg.MetadataValue]:
    """The metadata of every asset that is a catalog table."""
    return {
        COLUMN_SCHEMA: dg.MetadataValue.table_schema(column_schema(columns)),
        TABLE_NAME: dg.MetadataValue.text(str(table)),
        "table_version": dg.MetadataValue.text(version),
        "columns": dg.MetadataValue.int(len(columns)),
    }


def changes_table(changes: Sequence[ColumnChange]) -> dg.MetadataValue:
    """Column types before and after, as a Markdown table."""
    if not changes:
        return dg.MetadataValue.md("Nothing to change.")
    rows = [(c.column, c.path, _code(c.before), _code(c.after), c.reason) for c in changes]
    return dg.MetadataValue.md(markdown_table(("column", "at", "before", "after", "reason"), rows))


def crawled_changes(before: Sequence[Column], after: Sequence[Column]) -> dg.MetadataValue:
    """A Markdown table of the columns and fields that a crawl added, removed or changed."""
    rows = [
        (each.path, _code(each.before), _code(each.after)) for each in column_changes(before, after)
    ]
    if not rows:
        return dg.MetadataValue.md("The crawl changed nothing.")
    return dg.MetadataValue.md(markdown_table(("column", "before", "after"), rows))


def timeline_text(events: Sequence[ColumnEvent]) -> str:
    """Changes of columns as Markdown, a list for each version, the newest first."""
    if not events:
        return "No version that is stored has changed a column."
    shown = events[:LONGEST_TIMELINE]
    texts = [
        "\n".join([f"**{_heading(version)}**\n", *_version_lines([each.change for each in found])])
        for version, found in groupby(shown, key=lambda event: event.version)
    ]
    left = len(events) - len(shown)
    return "\n\n".join([*texts, f"{left:,} earlier changes"] if left else texts)


def _heading(version: TableVersion) -> str:
    return f"{version.written_at:%Y-%m-%d %H:%M:%S} UTC, version {version.version_id}"


def _version_lines(changes: Sequence[TypeChange]) -> Iterator[str]:
    new = [each for each in changes if not each.before]
    if new:
        columns = ", ".join(f"{_code(each.path)} {_short(each.after)}" for each in new)
        yield f"- new: {columns}"
    for each in changes:
        if each.before and each.after:
            yield f"- {_code(each.path)}: {_short(each.before)} → {_short(each.after)}"
        elif each.before:
            yield f"- {_code(each.path)}: removed, was {_short(each.before)}"


def _short(text: str) -> str:
    return _code(text, LONGEST_TYPE_OF_A_LINE)


def _code(text: str, longest: int = LONGEST_TYPE) -> str:
    short = text if len(text) <= longest else f"{text[:longest]}…"
    return f"`{short}`" if short else ""
