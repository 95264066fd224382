"""Columns from a file, for commands that take a schema."""

import json
from pathlib import Path
from typing import Any

import click

from ddb_pipeline.hive.types import Column, HiveTypeError, parse_type
from ddb_pipeline.lake.arrow_types import NoParquetTypeError, arrow_schema


class SchemaFileError(click.UsageError):
    """A schema file that cannot be read; the message names the file and the column."""


def read_schema(path: Path) -> tuple[Column, ...]:
    """Columns from a file: ``{"name": "type"}``, ``[{"Name": ..., "Type": ...}]`` or GetTable's.

    Raises:
        SchemaFileError: it is none of them, or a type is not Hive's or not Parquet's.
    """
    try:
        document: Any = json.loads(path.read_text("utf-8"))
    except (OSError, ValueError) as error:
        raise SchemaFileError(f"{path} is not JSON: {error}") from error
    if isinstance(document, dict):
        table = document.get("Table", document)
        document = table.get("StorageDescriptor", {}).get("Columns", table)
    try:
        columns = (
            tuple(Column(name, text) for name, text in document.items())
            if isinstance(document, dict)
            else tuple(Column(entry["Name"], entry["Type"]) for entry in document)
        )
        for column in columns:
            parse_type(column.type)
        arrow_schema(columns)
    except HiveTypeError as error:
        raise SchemaFileError(f"{path}: column {column.name!r}: {error}") from error
    except NoParquetTypeError as error:
        raise SchemaFileError(f"{path}: {error}") from error
    except (AttributeError, KeyError, TypeError) as error:
        raise SchemaFileError(
            f'{path} holds no columns. Write {{"name": "type", ...}} or Glue\'s form.'
        ) from error
    if not columns:
        raise SchemaFileError(f"{path} holds no columns.")
    return columns
