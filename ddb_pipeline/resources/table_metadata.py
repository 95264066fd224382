"""Metadata on the pages of assets that are tables: columns, rows, tables in Markdown."""

from collections.abc import Sequence
from typing import Final

import dagster as dg
import pyarrow as pa

from ddb_pipeline.hive.types import Column

COLUMN_SCHEMA: Final = "dagster/column_schema"
"""The metadata key under which Dagster's UI finds an asset's columns."""
TABLE_NAME: Final = "dagster/table_name"
TABLE_REGION: Final = "ddb_pipeline/region"
"""The region of a catalog table, where it is not that of the IO manager."""
TABLE_CATALOG: Final = "ddb_pipeline/catalog_id"
"""The account whose catalog has a table, where it is not that of the IO manager."""
URI: Final = "dagster/uri"
ROW_COUNT: Final = "dagster/row_count"
PARTITION_ROW_COUNT: Final = "dagster/partition_row_count"

LONGEST_CELL: Final = 80
"""Characters of a value that a preview shows."""
PREVIEW_COLUMNS: Final = 20


def column_schema(columns: Sequence[Column]) -> dg.TableSchema:
    """Columns as Dagster shows them."""
    return dg.TableSchema(columns=[dg.TableColumn(c.name, type=c.type) for c in columns])


def arrow_column_schema(schema: pa.Schema) -> dg.TableSchema:
    """The columns of an Arrow schema as Dagster shows them."""
    return column_schema([Column(field.name, str(field.type)) for field in schema])


def preview(rows: pa.Table) -> str:
    """Rows as a table in Markdown; of many columns the first ones, of long values the beginning."""
    shown = rows.select(range(min(PREVIEW_COLUMNS, rows.num_columns)))
    values = [[_value(value) for value in column.to_pylist()] for column in shown.columns]
    table = markdown_table(shown.column_names, list(zip(*values, strict=True)))
    left = rows.num_columns - shown.num_columns
    return f"{table}\n\n{left} more columns" if left else table


def markdown_table(header: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    """A table in Markdown, with special characters in the cells escaped."""
    lines = [header, ["---"] * len(header), *rows]
    return "\n".join("| " + " | ".join(map(_cell, line)) + " |" for line in lines)


def _value(value: object) -> str:
    """A value as code, so that nothing in it is read as Markdown."""
    if value is None:
        return ""
    text = str(value)
    short = text if len(text) <= LONGEST_CELL else f"{text[:LONGEST_CELL]}…"
    return f"`{short}`" if "`" not in short else f"`` {short} ``" if "``" not in short else "…"


def _cell(text: str) -> str:
    return text.replace("|", "\\|").replace("\n", " ")
