"""Glue catalog tables: read one, decide, write it back under its VersionId."""

import hashlib
import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from botocore.exceptions import ClientError

from ddb_pipeline.client_errors import DENIED_CODES, error_code, error_message
from ddb_pipeline.errors import DdbPipelineError
from ddb_pipeline.hive.types import Column

if TYPE_CHECKING:
    from mypy_boto3_glue.client import GlueClient

TABLE_INPUT_MEMBERS = (
    "Name",
    "Description",
    "Owner",
    "LastAccessTime",
    "LastAnalyzedTime",
    "Retention",
    "StorageDescriptor",
    "PartitionKeys",
    "ViewOriginalText",
    "ViewExpandedText",
    "TableType",
    "Parameters",
    "TargetTable",
)
"""What UpdateTable accepts of GetTable's answer (botocore's ``TableInput``, without
``ViewDefinition``, whose input and output shapes differ, and ``FederatedTable``, which older
versions of botocore refuse)."""

MAX_ATTEMPTS = 20

Definition = Mapping[str, Any]
"""The members of Glue's ``TableInput``."""


class CatalogError(DdbPipelineError):
    """A catalog table could not be read or written."""


class TableNotFoundError(CatalogError):
    """The database or the table is not in the catalog."""


class PermissionMissingError(CatalogError):
    """The caller may not do what is needed; the message names the permission."""


class ConcurrentUpdateError(CatalogError):
    """Others kept writing the table; every attempt met a newer version."""


@dataclass(frozen=True, slots=True)
class TableReference:
    """A table's place in the catalog."""

    database: str
    name: str

    def __str__(self) -> str:
        return f"{self.database}.{self.name}"


@dataclass(frozen=True, slots=True)
class CatalogTable:
    """One version of a catalog table: what can be written back, and what it is locked by."""

    reference: TableReference
    version_id: str
    definition: Definition

    @property
    def columns(self) -> tuple[Column, ...]:
        return columns_of(self.definition)

    @property
    def partition_keys(self) -> tuple[Column, ...]:
        return _as_columns(self.definition.get("PartitionKeys") or ())

    @property
    def location(self) -> str:
        return str((self.definition.get("StorageDescriptor") or {}).get("Location") or "")

    @property
    def fingerprint(self) -> str:
        """A hash of the column names and types, equal for equal schemas."""
        return fingerprint((*self.columns, *self.partition_keys))


@dataclass(frozen=True, slots=True)
class TableUpdate:
    """What became of a read–decide–write: ``after`` is ``before`` where nothing was written."""

    before: CatalogTable
    after: CatalogTable

    @property
    def written(self) -> bool:
        return self.before.version_id != self.after.version_id


def fingerprint(columns: Sequence[Column]) -> str:
    """A short stable hash of column names and types, in their order."""
    text = json.dumps([list(column) for column in columns], ensure_ascii=True)
    return hashlib.sha256(text.encode("ascii")).hexdigest()[:16]


def _as_columns(entries: Sequence[Mapping[str, Any]]) -> tuple[Column, ...]:
    return tuple(Column(entry["Name"], entry.get("Type") or "string") for entry in entries)


def columns_of(definition: Definition) -> tuple[Column, ...]:
    """The columns of a table definition, without its partition keys."""
    return _as_columns((definition.get("StorageDescriptor") or {}).get("Columns") or ())


def table_input(table: Mapping[str, Any]) -> dict[str, Any]:
    """The members of GetTable's answer that UpdateTable takes back; an empty text is as none."""
    return {
        member: table[member]
        for member in TABLE_INPUT_MEMBERS
        if table.get(member) is not None and table[member] != ""
    }


def with_columns(definition: Definition, columns: Sequence[Column]) -> dict[str, Any]:
    """``definition`` with other columns.

    A column that stays at its position or keeps its name keeps its comment and parameters.
    """
    descriptor = dict(definition.get("StorageDescriptor") or {})
    entries = list(descriptor.get("Columns") or ())
    by_name = {entry["Name"]: entry for entry in entries}
    positional = len(entries) == len(columns)
    replaced = []
    for position, column in enumerate(columns):
        entry = entries[position] if positional else by_name.get(column.name, {})
        replaced.append({**entry, "Name": column.name, "Type": column.type})
    descriptor["Columns"] = replaced
    return {**definition, "StorageDescriptor": descriptor}


def read_table(glue: "GlueClient", reference: TableReference) -> CatalogTable:
    """Read the newest version of a catalog table.

    Raises:
        TableNotFoundError: there is no such table or database.
        PermissionMissingError: ``glue:GetTable`` is denied.
    """
    try:
        table = glue.get_table(DatabaseName=reference.database, Name=reference.name)["Table"]
    except ClientError as error:
        raise translated(error, reference, "glue:GetTable") from error
    return CatalogTable(
        reference=TableReference(reference.database, table["Name"]),
        version_id=table.get("VersionId", ""),
        definition=table_input(table),
    )


def read_version(
    glue: "GlueClient", reference: TableReference, version_id: str
) -> CatalogTable | None:
    """One archived version of a catalog table; None where there is none of that id.

    Raises:
        PermissionMissingError: ``glue:GetTableVersion`` is denied.
    """
    try:
        answer = glue.get_table_version(
            DatabaseName=reference.database, TableName=reference.name, VersionId=version_id
        )
    except ClientError as error:
        if error_code(error) == "EntityNotFoundException":
            return None
        raise translated(error, reference, "glue:GetTableVersion") from error
    table: Mapping[str, Any] = answer["TableVersion"].get("Table", {})
    return CatalogTable(reference, version_id, table_input(table))


def version_before(glue: "GlueClient", table: CatalogTable) -> CatalogTable | None:
    """The version that this one replaced; None for a first one, and where it was not archived.

    Version ids are integers as text, each one more than the last (Glue API, GetTableVersion).
    """
    if not table.version_id.isdigit():
        return None
    return read_version(glue, table.reference, str(int(table.version_id) - 1))


def find_table(glue: "GlueClient", reference: TableReference) -> CatalogTable | None:
    """As :func:`read_table`, with None for a table that is not there."""
    try:
        return read_table(glue, reference)
    except TableNotFoundError:
        return None


def create_table(
    glue: "GlueClient", reference: TableReference, definition: Definition
) -> CatalogTable:
    """Create a table; where another writer was first, answer with what is there then."""
    try:
        glue.create_table(DatabaseName=reference.database, TableInput=definition)  # type: ignore[arg-type]
    except ClientError as error:
        if error_code(error) != "AlreadyExistsException":
            raise translated(error, reference, "glue:CreateTable") from error
    return read_table(glue, reference)


def update_table(
    glue: "GlueClient",
    reference: TableReference,
    decide: Callable[[CatalogTable], Definition | None],
    *,
    max_attempts: int = MAX_ATTEMPTS,
) -> TableUpdate:
    """Read the table, let ``decide`` say its new definition, write it under the version read.

    ``decide`` is pure and answers None where nothing is to be written. When another writer came
    between, the table is read again and ``decide`` asked again, so that no update is lost.

    Raises:
        TableNotFoundError, PermissionMissingError: as named.
        ConcurrentUpdateError: ``max_attempts`` writes in a row met a newer version.
    """
    for _ in range(max_attempts):
        before = read_table(glue, reference)
        definition = decide(before)
        if definition is None or definition == before.definition:
            return TableUpdate(before, before)
        try:
            _write(glue, before, definition)
        except ClientError as error:
            if error_code(error) == "ConcurrentModificationException":
                continue
            raise translated(error, reference, "glue:UpdateTable") from error
        return TableUpdate(before, read_table(glue, reference))
    raise ConcurrentUpdateError(
        f"Table {reference} changed under each of {max_attempts} updates. "
        "Find the other writer (crawler schedule, a job) and run the update again."
    )


def _write(glue: "GlueClient", before: CatalogTable, definition: Definition) -> None:
    request: dict[str, Any] = {
        "DatabaseName": before.reference.database,
        "TableInput": definition,
        "VersionId": before.version_id,
        "SkipArchive": False,
    }
    try:
        glue.update_table(**request)
    except ClientError as error:
        # The account's quota of table versions is full: the fix matters more than its archive.
        if error_code(error) != "ResourceNumberLimitExceededException":
            raise
        glue.update_table(**{**request, "SkipArchive": True})


def translated(error: ClientError, reference: TableReference, permission: str) -> CatalogError:
    """Glue's error as one that names the table and what to do about it."""
    code = error_code(error)
    message = error_message(error)
    if code == "EntityNotFoundException":
        return TableNotFoundError(
            f"Table {reference} is not in the Glue Data Catalog ({message}). "
            "Run the crawler first, or correct the database and table names."
        )
    if code in DENIED_CODES:
        return PermissionMissingError(
            f"{permission} on table {reference} is denied ({message}). Grant it to this role; "
            "where Lake Formation governs the database, grant ALTER and DESCRIBE on the table too."
        )
    return CatalogError(f"{permission} failed for table {reference}: {code}: {message}")
