"""Metadata on the assets' pages: column schemas, and tables of changes."""

from collections.abc import Sequence

import dagster as dg

from ddb_pipeline.glue.catalog import TableReference
from ddb_pipeline.hive.normalize import ColumnChange
from ddb_pipeline.hive.types import Column

LONGEST_TYPE = 200
COLUMN_SCHEMA = "dagster/column_schema"
"""The metadata key under which Dagster's UI finds an asset's columns."""


def column_schema(columns: Sequence[Column]) -> dg.TableSchema:
    """Columns as Dagster shows them."""
    return dg.TableSchema(columns=[dg.TableColumn(c.name, type=c.type) for c in columns])


def schema_metadata(
    table: TableReference, version: str, columns: Sequence[Column]
) -> dict[str, dg.MetadataValue]:
    """The metadata of every asset that is a catalog table."""
    return {
        COLUMN_SCHEMA: dg.MetadataValue.table_schema(column_schema(columns)),
        "dagster/table_name": dg.MetadataValue.text(str(table)),
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


def markdown_table(header: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    """A table in Markdown, with special characters in the cells escaped."""
    lines = [header, ["---"] * len(header), *rows]
    return "\n".join("| " + " | ".join(map(_cell, line)) + " |" for line in lines)


def _code(text: str) -> str:
    short = text if len(text) <= LONGEST_TYPE else f"{text[:LONGEST_TYPE]}…"
    return f"`{short}`"


def _cell(text: str) -> str:
    return text.replace("|", "\\|").replace("\n", " ")
