"""Metadata on the assets' pages: catalog tables, and tables of changes."""

from collections.abc import Sequence

import dagster as dg

from ddb_pipeline.glue.catalog import TableReference
from ddb_pipeline.glue.history import ColumnEvent
from ddb_pipeline.hive.normalize import ColumnChange
from ddb_pipeline.hive.types import Column
from ddb_pipeline.resources.table_metadata import (
    COLUMN_SCHEMA,
    TABLE_NAME,
    column_schema,
    markdown_table,
)

LONGEST_TYPE = 200
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
    """A Markdown table of the columns that a crawl added, removed or gave another type."""
    old, new = dict(before), dict(after)
    rows = [
        (name, _code(old[name]) if name in old else "", _code(new[name]) if name in new else "")
        for name in {**old, **new}
        if old.get(name) != new.get(name)
    ]
    if not rows:
        return dg.MetadataValue.md("The crawl changed nothing.")
    return dg.MetadataValue.md(markdown_table(("column", "before", "after"), rows))


def timeline_table(events: Sequence[ColumnEvent]) -> dg.MetadataValue:
    """Changes of columns as a Markdown table, the newest first."""
    if not events:
        return dg.MetadataValue.md("No version that is stored has changed a column.")
    rows = [
        (
            f"{event.version.written_at:%Y-%m-%d %H:%M:%S}",
            event.version.version_id,
            event.column,
            _code(event.before) if event.before else "(new)",
            _code(event.after) if event.after else "(removed)",
        )
        for event in events[:LONGEST_TIMELINE]
    ]
    table = markdown_table(("written at", "version", "column", "before", "after"), rows)
    left = len(events) - len(rows)
    return dg.MetadataValue.md(f"{table}\n\n{left} earlier changes" if left else table)


def _code(text: str) -> str:
    short = text if len(text) <= LONGEST_TYPE else f"{text[:LONGEST_TYPE]}…"
    return f"`{short}`"
