"""Watching catalog tables: which versions they have, and which of them need the schema fix."""

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
from ddb_pipeline.hive.type_decisions import NO_DECISIONS, TypeDecisions

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


def table_state(
    table: CatalogTable, created_at: int, decisions: TypeDecisions = NO_DECISIONS
) -> TableState:
    """The state of a table version, of which the caller knows when the table was created."""
    columns, changes = repaired_columns(table, decisions)
    return TableState(
        table=table,
        created_at=created_at,
        pending=bool(changes),
        repaired_fingerprint=fingerprint((*columns, *table.partition_keys)),
    )


class TableStates:
    """The states of some tables, by one listing of a database when the first is asked for."""

    def __init__(
        self,
        glue: "GlueClient",
        tables: Mapping[TableReference, TypeDecisions],
    ) -> None:
        """
        Args:
            tables: the tables, each with what is decided about its types.
        """
        self._glue = glue
        self._tables = tables
        self._listed: dict[str, dict[str, TableState]] = {}

    def find(self, reference: TableReference) -> TableState | None:
        """The state of one of the tables; None where it does not exist.

        Raises:
            CatalogError: ``glue:GetTables`` is denied or fails.
        """
        database = reference.database
        if database not in self._listed:
            self._listed[database] = self._list(database)
        return self._listed[database].get(reference.name)

    def _list(self, database: str) -> dict[str, TableState]:
        found = {}
        for entry in _tables(self._glue, database):
            name = entry["Name"]
            reference = TableReference(database, name)
            decisions = self._tables.get(reference)
            if decisions is not None:
                table = CatalogTable(reference, entry.get("VersionId", ""), table_input(entry))
                found[name] = table_state(table, _epoch(entry.get("CreateTime")), decisions)
        return found


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
