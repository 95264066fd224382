"""Metadata that the assets show: column schemas, before-and-after tables."""

from collections.abc import Sequence

import dagster as dg

from ddb_pipeline.glue.catalog import TableReference
from ddb_pipeline.hive.normalize import ColumnChange
from ddb_pipeline.hive.types import Column

LONGEST_TYPE = 200


def column_schema(columns: Sequence[Column]) -> dg.TableSchema:
    return dg.TableSchema(columns=[dg.TableColumn(c.name, type=c.type) for c in columns])


def schema_metadata(
    table: TableReference, version: str, columns: Sequence[Column]
) -> dict[str, dg.MetadataValue]:
    """What every catalog table asset shows."""
    return {
        "dagster/column_schema": dg.MetadataValue.table_schema(column_schema(columns)),
        "dagster/table_name": dg.MetadataValue.text(str(table)),
        "table_version": dg.MetadataValue.text(version),
        "columns": dg.MetadataValue.int(len(columns)),
    }


def changes_table(changes: Sequence[ColumnChange]) -> dg.MetadataValue:
    """Column types before and after, as a Markdown table."""
    if not changes:
        return dg.MetadataValue.md("Nothing to change.")
    rows = ["| column | at | before | after | reason |", "|---|---|---|---|---|"]
    for c in changes:
        cells = (c.column, c.path, _code(c.before), _code(c.after), c.reason)
        rows.append("| " + " | ".join(_cell(cell) for cell in cells) + " |")
    return dg.MetadataValue.md("\n".join(rows))


def _code(text: str) -> str:
    short = text if len(text) <= LONGEST_TYPE else f"{text[:LONGEST_TYPE]}…"
    return f"`{short}`"


def _cell(text: str) -> str:
    return text.replace("|", "\\|").replace("\n", " ")
