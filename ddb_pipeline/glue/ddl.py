"""``CREATE TABLE`` statements, which make a catalog table known to Spark, Hive or Athena."""

from collections.abc import Sequence
from enum import Enum

from ddb_pipeline.glue.catalog import CatalogError, CatalogTable
from ddb_pipeline.glue.repair import pending_changes
from ddb_pipeline.hive.types import Column, HiveTypeError, parse_type


class Dialect(Enum):
    """The engine of a statement.

    ``HIVE`` is for Hive, Athena, and Spark with Hive support. ``SPARK`` uses Spark's own Parquet
    data source (Spark SQL reference, "CREATE DATASOURCE TABLE").
    """

    HIVE = "hive"
    SPARK = "spark"


def create_statement(
    table: CatalogTable, dialect: Dialect, *, name: str = "", location: str = ""
) -> str:
    """Return ``CREATE TABLE`` for the Parquet data that a catalog table describes.

    ``name`` and ``location`` replace those of the catalog, for a reader to which the data has
    another URL (``s3a://``, a folder).

    Raises:
        CatalogError: a column has a type that these engines refuse, or there is no location.
    """
    _check(table, location)
    keys = table.partition_keys
    partitioned = [f"PARTITIONED BY ({_columns(keys)})"] if keys else []
    if dialect is Dialect.SPARK:
        head, clauses = "CREATE TABLE", ["USING PARQUET", *partitioned]
    else:
        head, clauses = "CREATE EXTERNAL TABLE", [*partitioned, "STORED AS PARQUET"]
    target = name or f"{_name(table.reference.database)}.{_name(table.reference.name)}"
    return "\n".join(
        [
            f"{head} IF NOT EXISTS {target} (",
            "  " + _columns(table.columns, ",\n  "),
            ")",
            *clauses,
            f"LOCATION {_literal(location or table.location)}",
        ]
    )


def _check(table: CatalogTable, location: str) -> None:
    pending = pending_changes(table)
    if pending:
        first = pending[0]
        raise CatalogError(
            f"Table {table.reference}: {first.path} has type {first.before!r} ({first.reason}). "
            f"Run ddb-pipeline fix {table.reference.database} {table.reference.name} first."
        )
    for column in table.columns:
        try:
            parse_type(column.type)
        except HiveTypeError as error:
            raise CatalogError(
                f"Table {table.reference}: {column.name} has type {column.type!r}, which Hive does "
                f"not have ({error}). Correct the table in the catalog."
            ) from error
    if not (location or table.location):
        raise CatalogError(f"Table {table.reference} has no location; pass one.")


def _columns(columns: Sequence[Column], separator: str = ", ") -> str:
    return separator.join(f"{_name(column.name)} {column.type}" for column in columns)


def _name(name: str) -> str:
    return "`" + name.replace("`", "``") + "`"


def _literal(text: str) -> str:
    return "'" + text.replace("\\", "\\\\").replace("'", "\\'") + "'"
