"""Catalog tables over the Parquet of Dagster assets, one table for each asset that asks for it.

An asset without partitions is replaced whole: its table gets the columns of the newest data. The
table of an asset with partitions only widens, as every table of the lake, so that all partitions
stay readable.
"""

import re
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

import pyarrow as pa

from ddb_pipeline.arrow_types import hive_columns
from ddb_pipeline.glue.catalog import (
    CatalogError,
    CatalogTable,
    TableReference,
    create_table,
    find_table,
    update_table,
)
from ddb_pipeline.glue.lake_table import parquet_definition, storage_descriptor, widened
from ddb_pipeline.glue.partitions import CatalogPartition, point_partition
from ddb_pipeline.hive.evolve import merge_columns
from ddb_pipeline.hive.names import MAX_NAME_BYTES, column_name
from ddb_pipeline.hive.types import Column, StructType, parse_type, walk

if TYPE_CHECKING:
    from mypy_boto3_glue.client import GlueClient
    from mypy_boto3_glue.type_defs import TableInputTypeDef

OWNER: Final = "ddb_pipeline.asset"
"""The table's parameter that names the asset whose data it describes."""
_NAME: Final = re.compile(rf"[a-z0-9_]{{1,{MAX_NAME_BYTES}}}")


class AssetTableError(CatalogError):
    """An asset's data has no place in its catalog table; the message says what to change."""


@dataclass(frozen=True, slots=True)
class AssetTable:
    """The catalog table of an asset.

    Attributes:
        reference: the table.
        asset: the asset's key as text. A table that another asset registered is refused.
        partition_columns: the names of the partition columns, which are strings.
    """

    reference: TableReference
    asset: str
    partition_columns: tuple[str, ...] = ()

    @property
    def partition_keys(self) -> tuple[Column, ...]:
        """The partition columns as the table's partition keys."""
        return tuple(Column(name, "string") for name in self.partition_columns)


def stored_columns(glue: "GlueClient", target: AssetTable, schema: pa.Schema) -> tuple[Column, ...]:
    """The columns that the asset's files are to have: wide enough for the data and for the table.

    Columns without any value (Arrow's null type) are not stored: a type would have to be guessed.

    Raises:
        AssetTableError: the table belongs to something else, has other partition keys, or has
            columns whose types neither hold the data nor can be widened; or a name or a type is
            none that Hive, Spark and Athena accept.
    """
    present = pa.schema([field for field in schema if not pa.types.is_null(field.type)])
    columns = hive_columns(present)
    _check_names(target, columns)
    table = find_table(glue, target.reference)
    if table is None:
        return columns
    _check_owner(target, table)
    if not target.partition_columns:
        return columns
    evolution = merge_columns(table.columns, columns)
    for difference in evolution.diff.conflicting:
        raise AssetTableError(
            f"Asset {target.asset}: {difference.path} is {difference.after}, but "
            f"{difference.before} in table {target.reference}, and no type holds both. Cast the "
            "column, or drop the table and materialise all partitions again."
        )
    merged = dict(evolution.columns)
    return tuple(Column(column.name, merged[column.name]) for column in columns)


def publish_table(
    glue: "GlueClient", target: AssetTable, columns: tuple[Column, ...], location: str
) -> None:
    """Have the catalog read an asset without partitions at this location, by one write.

    Raises:
        CatalogError: the table cannot be written.
    """
    if find_table(glue, target.reference) is None:
        create_table(glue, target.reference, _definition(target, columns, location))

    def moved(table: CatalogTable) -> "TableInputTypeDef":
        _check_owner(target, table)
        descriptor = storage_descriptor(location, columns)
        return {**table.definition, "StorageDescriptor": descriptor}

    update_table(glue, target.reference, moved)


def publish_partition(
    glue: "GlueClient",
    target: AssetTable,
    columns: tuple[Column, ...],
    *,
    root: str,
    values: tuple[str, ...],
    location: str,
) -> None:
    """Have the catalog read a partition at this location, after widening the table for it.

    Args:
        glue: a client.
        target: the asset's table.
        columns: of the partition's files.
        root: the location of the asset, for a table that does not exist yet.
        values: the partition's values.
        location: of the partition's files.

    Raises:
        CatalogError: the table or the partition cannot be written.
    """
    if find_table(glue, target.reference) is None:
        create_table(glue, target.reference, _definition(target, columns, root))

    def wider(table: CatalogTable) -> "TableInputTypeDef | None":
        _check_owner(target, table)
        return widened(table, columns)

    table = update_table(glue, target.reference, wider).after
    point_partition(glue, target.reference, CatalogPartition(values, location, table.columns))


def _definition(
    target: AssetTable, columns: tuple[Column, ...], location: str
) -> "TableInputTypeDef":
    name = target.reference.name
    definition = parquet_definition(name, location, columns, target.partition_keys)
    return {**definition, "Parameters": {**definition["Parameters"], OWNER: target.asset}}


def _check_owner(target: AssetTable, table: CatalogTable) -> None:
    owner = (table.definition.get("Parameters") or {}).get(OWNER)
    if owner != target.asset:
        raise AssetTableError(
            f"Table {target.reference} is not the table of asset {target.asset}: "
            f"{f'asset {owner} registered it' if owner else 'no asset registered it'}. Give the "
            "asset a table of its own."
        )
    if table.partition_keys != target.partition_keys:
        found = ", ".join(key.name for key in table.partition_keys) or "no partition keys"
        raise AssetTableError(
            f"Table {target.reference} is partitioned by {found}, asset {target.asset} by "
            f"{', '.join(target.partition_columns) or 'nothing'}. Drop the table, or change the "
            "asset's partition_expr."
        )


def _check_names(target: AssetTable, columns: tuple[Column, ...]) -> None:
    for name in target.partition_columns:
        if name in dict(columns):
            raise AssetTableError(
                f"Asset {target.asset} is partitioned by {name!r}, and its data has a column of "
                "that name, which a catalog table cannot have twice. Drop or rename the column, "
                "or name another partition column in partition_expr."
            )
    if not columns:
        raise AssetTableError(
            f"Asset {target.asset} has no column with values, so that there is nothing to "
            f"register in {target.reference}."
        )
    fields = {column.name: column.name for column in columns}
    for column in columns:
        for part in walk(parse_type(column.type)):
            if isinstance(part, StructType):
                fields |= {f"{column.name}.{field.name}": field.name for field in part.fields}
    fields |= {name: name for name in target.partition_columns}
    for path, name in fields.items():
        if not _NAME.fullmatch(name):
            raise AssetTableError(
                f"Asset {target.asset}: not every engine accepts the name of {path!r}. Rename it, "
                f"for example to {column_name(name)!r}."
            )
