"""Iceberg tables in a local folder, with a catalog in SQLite."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pyarrow.fs
from pyiceberg.catalog import Catalog
from pyiceberg.catalog.sql import SqlCatalog
from pyiceberg.table import Table

from ddb_pipeline.glue.catalog import TableReference
from ddb_pipeline.hive.types import Column
from ddb_pipeline.lake.iceberg.publish import Target


def sqlite_catalog(folder: Path) -> Catalog:
    """A catalog in a file of this folder; each call opens it anew."""
    folder.mkdir(exist_ok=True)
    uri = f"sqlite:///{folder}/catalog.db?timeout=60"
    return SqlCatalog("test", uri=uri, warehouse=folder.as_uri())


def local_target(folder: Path, partitions: Sequence[Column], name: str = "orders") -> Target:
    """A table in this folder."""
    return Target(
        sqlite_catalog(folder),
        pyarrow.fs.LocalFileSystem(),
        TableReference("lake_iceberg", name),
        f"{folder}/iceberg/{name}",
        tuple(partitions),
        scheme="file://",
    )


def table_of(target: Target) -> Table:
    """The table as it is now."""
    return target.catalog.load_table(target.identifier)


def rows_of(target: Target) -> list[dict[str, Any]]:
    """All rows, as pyiceberg reads them."""
    rows: list[dict[str, Any]] = table_of(target).scan().to_arrow().to_pylist()
    return rows
