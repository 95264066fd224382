"""Columns read from a schema file, for commands that can work without a catalog."""

import json
from pathlib import Path
from typing import Any

import click

from ddb_pipeline.arrow_types import NoParquetTypeError, arrow_schema
from ddb_pipeline.hive.types import Column, HiveTypeError, parse_type


class SchemaFileError(click.UsageError):
    """A schema file cannot be used; the message names the file and the column."""


def read_schema_file(path: Path) -> tuple[Column, ...]:
    """Columns from a JSON file: ``{"name": "type"}``, Glue's columns or a GetTable response.

    Raises:
        SchemaFileError: the file has none of these forms.
    """
    try:
        document: Any = json.loads(path.read_text("utf-8"), object_pairs_hook=_members)
    except (OSError, ValueError, RecursionError) as error:
        raise SchemaFileError(f"{path} is not JSON: {error}") from error
    try:
        if isinstance(document, dict):
            table = document.get("Table", document)
            document = table.get("StorageDescriptor", {}).get("Columns", table)
        pairs = (
            list(document.items())
            if isinstance(document, dict)
            else [(entry["Name"], entry["Type"]) for entry in document]
        )
    except (AttributeError, KeyError, TypeError) as error:
        raise _no_columns(path) from error
    if not pairs or not all(isinstance(text, str) for pair in pairs for text in pair):
        raise _no_columns(path)
    _check_names(path, [name for name, _ in pairs])
    return tuple(Column(name, text) for name, text in pairs)


def _members(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    members = dict(pairs)
    if len(members) < len(pairs):
        raise ValueError("a name comes twice in one object")
    return members


def _check_names(path: Path, names: list[str]) -> None:
    """Check that names are texts and differ; Hive and Parquet's readers ignore letter case."""
    seen: set[str] = set()
    for name in names:
        if not name or "\0" in name or name != name.encode("utf-8", "replace").decode():
            raise SchemaFileError(f"{path}: {name!r} is not a column's name.")
        if name.lower() in seen:
            raise SchemaFileError(f"{path}: column {name!r} comes twice; letter case is ignored.")
        seen.add(name.lower())


def read_parquet_schema_file(path: Path) -> tuple[Column, ...]:
    """As ``read_schema_file``, for columns that are written to Parquet.

    Raises:
        SchemaFileError: also a type that Hive does not have, or Parquet cannot store.
    """
    columns = read_schema_file(path)
    try:
        for column in columns:
            parse_type(column.type)
        arrow_schema(columns)
    except HiveTypeError as error:
        raise SchemaFileError(f"{path}: column {column.name!r}: {error}") from error
    except NoParquetTypeError as error:
        raise SchemaFileError(f"{path}: {error}") from error
    return columns


def _no_columns(path: Path) -> SchemaFileError:
    return SchemaFileError(
        f'{path} holds no columns. Write {{"name": "type", ...}}, or columns as Glue has them.'
    )
