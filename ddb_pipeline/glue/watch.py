"""Watching catalog tables: which versions they have, and which of them need the schema fix."""

from collections import defaultdict
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from botocore.exceptions import ClientError

from ddb_pipeline.client_errors import error_code
from ddb_pipeline.glue.catalog import (
    CatalogTable,
    TableReference,
    catalog_error,
    fingerprint,
    table_input,
)
from ddb_pipeline.glue.repair import repaired_columns

if TYPE_CHECKING:
    from mypy_boto3_glue.client import GlueClient


@dataclass(frozen=True, slots=True)
class TableState:
    """A catalog table as found.

    Attributes:
        table: its newest version.
        created_at: when it was created, epoch seconds; differs for a dropped and recreated table.
        pending: whether the schema fix would change something.
        repaired_fingerprint: the fingerprint of the schema that the fix leads to.
    """

    table: CatalogTable
    created_at: int
    pending: bool
    repaired_fingerprint: str

    @property
    def version_key(self) -> str:
        """Identifies this version of this table; a recreated table's versions have other keys."""
        return f"{self.created_at}.{self.table.version_id}"


def table_state(table: CatalogTable, created_at: int) -> TableState:
    """The state of a table version, of which the caller knows when the table was created."""
    columns, changes = repaired_columns(table)
    return TableState(
        table=table,
        created_at=created_at,
        pending=bool(changes),
        repaired_fingerprint=fingerprint((*columns, *table.partition_keys)),
    )


def read_states(
    glue: "GlueClient", references: Iterable[TableReference]
) -> dict[TableReference, TableState]:
    """The state of each table that exists, by one listing per database.

    Raises:
        CatalogError: ``glue:GetTables`` is denied or fails.
    """
    names_by_database: dict[str, set[str]] = defaultdict(set)
    for reference in references:
        names_by_database[reference.database].add(reference.name)
    states: dict[TableReference, TableState] = {}
    for database, names in names_by_database.items():
        for entry in _tables(glue, database):
            if entry["Name"] not in names:
                continue
            reference = TableReference(database, entry["Name"])
            table = CatalogTable(reference, entry.get("VersionId", ""), table_input(entry))
            states[reference] = table_state(table, _epoch(entry.get("CreateTime")))
    return states


def _tables(glue: "GlueClient", database: str) -> Iterable[Mapping[str, Any]]:
    try:
        for page in glue.get_paginator("get_tables").paginate(DatabaseName=database):
            yield from page["TableList"]
    except ClientError as error:
        if error_code(error) == "EntityNotFoundException":
            return
        raise catalog_error(error, TableReference(database, "*"), "glue:GetTables") from error


def _epoch(moment: Any) -> int:
    return int(moment.timestamp()) if moment is not None else 0
