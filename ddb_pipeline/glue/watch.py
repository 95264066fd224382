"""Watching catalog tables: which of them need their schema mended, by their state alone."""

from collections import defaultdict
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace
from enum import Enum
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
from ddb_pipeline.hive.normalize import normalize_columns

if TYPE_CHECKING:
    from mypy_boto3_glue.client import GlueClient

FIRST_RETRY_SECONDS = 10.0
LONGEST_RETRY_SECONDS = 1800.0


class RunState(Enum):
    """What became of the run that was last asked for."""

    UNKNOWN = "unknown"
    IN_PROGRESS = "in progress"
    SUCCEEDED = "succeeded"
    FAILED = "failed"


@dataclass(frozen=True, slots=True)
class TableState:
    """A catalog table as found.

    Attributes:
        table: its newest version.
        created_at: epoch seconds; tells a table made anew from the one before it.
        pending: whether the fix has something to change.
        mended_fingerprint: the schema's fingerprint once the fix is done.
    """

    table: CatalogTable
    created_at: int
    pending: bool
    mended_fingerprint: str

    @property
    def version_key(self) -> str:
        """Names this version of this table; a dropped and recreated table gets other keys."""
        return f"{self.created_at}.{self.table.version_id}"


@dataclass(frozen=True, slots=True)
class Seen:
    """What a sensor remembers of a table between two ticks.

    Attributes:
        version_key: the version for which a run was last asked for.
        fingerprint: the mended schema that this run leads to.
        attempt: how often a run was asked for at this version, from 0.
        requested_at: when, epoch seconds.
    """

    version_key: str
    fingerprint: str
    attempt: int
    requested_at: float

    @property
    def run_key(self) -> str:
        return f"{self.version_key}:{self.attempt}"


def table_state(table: CatalogTable, created_at: int) -> TableState:
    columns, changes = normalize_columns(table.columns)
    return TableState(
        table=table,
        created_at=created_at,
        pending=bool(changes),
        mended_fingerprint=fingerprint((*columns, *table.partition_keys)),
    )


def next_request(
    state: TableState | None, seen: Seen | None, run: RunState, now: float
) -> Seen | None:
    """The run to ask for now, if any, as what is to be remembered of it.

    A run is due when the fix has something to change, or when the schema is another than the one
    last brought to the lake. A failed run is asked for again, later each time, under a new key,
    since Dagster never runs one key twice.
    """
    if state is None or run is RunState.IN_PROGRESS:
        return None
    settled = seen is not None and seen.fingerprint == state.mended_fingerprint
    if settled and not state.pending and run is not RunState.FAILED:
        return None
    if seen is None or seen.version_key != state.version_key:
        return Seen(state.version_key, state.mended_fingerprint, 0, now)
    if now < seen.requested_at + retry_delay(seen.attempt):
        return None
    return replace(
        seen, fingerprint=state.mended_fingerprint, attempt=seen.attempt + 1, requested_at=now
    )


def retry_delay(attempt: int) -> float:
    """Seconds before the run after a failed attempt: doubling, up to half an hour."""
    return min(LONGEST_RETRY_SECONDS, FIRST_RETRY_SECONDS * 2.0 ** min(attempt, 20))


def read_states(
    glue: "GlueClient", references: Iterable[TableReference]
) -> dict[TableReference, TableState]:
    """The state of each table that exists, by one listing per database.

    Raises:
        CatalogError: ``glue:GetTables`` is denied or fails.
    """
    wanted: dict[str, set[str]] = defaultdict(set)
    for reference in references:
        wanted[reference.database].add(reference.name)
    states: dict[TableReference, TableState] = {}
    for database, names in wanted.items():
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
