"""Catalog tables: read one, decide on a new definition, write it if no other writer was faster."""

import hashlib
import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, cast

from botocore.exceptions import ClientError

from ddb_pipeline.client_errors import DENIED_CODES, error_code, error_message
from ddb_pipeline.errors import DdbPipelineError
from ddb_pipeline.hive.types import Column

if TYPE_CHECKING:
    from botocore.model import OperationModel
    from mypy_boto3_glue.client import GlueClient
    from mypy_boto3_glue.type_defs import (
        ColumnTypeDef,
        StorageDescriptorTypeDef,
        TableInputTypeDef,
    )

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
"""Members of GetTable's response that UpdateTable accepts (botocore's ``TableInput``).

``ViewDefinition`` is left out because its input and output shapes differ, ``FederatedTable``
because older versions of botocore refuse it.
"""

MAX_ATTEMPTS = 20
"""Attempts of one update while other writers keep changing the table."""


class CatalogError(DdbPipelineError):
    """A catalog table cannot be read or written."""


class TableNotFoundError(CatalogError):
    """The database or the table is not in the catalog."""


class PermissionMissingError(CatalogError):
    """The caller lacks a permission, which the message names."""


class ConcurrentUpdateError(CatalogError):
    """Other writers changed the table during every attempt to update it."""


@dataclass(frozen=True, slots=True)
class TableReference:
    """The database and the name of a catalog table."""

    database: str
    name: str

    def __str__(self) -> str:
        return f"{self.database}.{self.name}"


@dataclass(frozen=True, slots=True)
class CatalogTable:
    """One version of a catalog table.

    Attributes:
        version_id: an update names it, so that it fails if the table has changed since.
        definition: the members that an update writes back.
    """

    reference: TableReference
    version_id: str
    definition: "TableInputTypeDef"

    @property
    def columns(self) -> tuple[Column, ...]:
        """The columns, without the partition keys."""
        return columns_of(self.definition)

    @property
    def partition_keys(self) -> tuple[Column, ...]:
        """The partition keys."""
        return _as_columns(self.definition.get("PartitionKeys") or ())

    @property
    def location(self) -> str:
        """The location of the data; empty where the table has none."""
        return str((self.definition.get("StorageDescriptor") or {}).get("Location") or "")

    @property
    def fingerprint(self) -> str:
        """A hash of the column names and types, equal for equal schemas."""
        return fingerprint((*self.columns, *self.partition_keys))


@dataclass(frozen=True, slots=True)
class TableUpdate:
    """The versions before and after an update; the same one where nothing was written."""

    before: CatalogTable
    after: CatalogTable

    @property
    def written(self) -> bool:
        """Whether the update wrote a new version."""
        return self.before.version_id != self.after.version_id


def fingerprint(columns: Sequence[Column]) -> str:
    """A short hash of column names and types in their order, the same in every process."""
    text = json.dumps([list(column) for column in columns], ensure_ascii=True)
    return hashlib.sha256(text.encode("ascii")).hexdigest()[:16]


def _as_columns(entries: Sequence[Mapping[str, Any]]) -> tuple[Column, ...]:
    return tuple(Column(entry["Name"], entry.get("Type") or "string") for entry in entries)


def columns_of(definition: "TableInputTypeDef") -> tuple[Column, ...]:
    """The columns of a table definition, without its partition keys."""
    return _as_columns((definition.get("StorageDescriptor") or {}).get("Columns") or ())


def table_input(table: Mapping[str, Any]) -> "TableInputTypeDef":
    """Return the members of GetTable's ``Table`` that UpdateTable accepts, without empty texts."""
    members = {
        member: table[member]
        for member in TABLE_INPUT_MEMBERS
        if table.get(member) is not None and table[member] != ""
    }
    return cast("TableInputTypeDef", members)


def column_entries(columns: Sequence[Column]) -> "list[ColumnTypeDef]":
    """Return columns in the form of Glue's API."""
    return [{"Name": column.name, "Type": column.type} for column in columns]


def with_columns(definition: "TableInputTypeDef", columns: Sequence[Column]) -> "TableInputTypeDef":
    """Return ``definition`` with other columns.

    Comment and parameters of a column stay if it has the same name; if the number of columns is
    the same, they stay at their position.
    """
    descriptor = cast("StorageDescriptorTypeDef", definition.get("StorageDescriptor") or {})
    entries = cast("Sequence[ColumnTypeDef]", descriptor.get("Columns") or ())
    by_name = {entry["Name"]: entry for entry in entries}
    same_number = len(entries) == len(columns)
    replaced: list[ColumnTypeDef] = []
    for position, new in enumerate(column_entries(columns)):
        old = entries[position] if same_number else by_name.get(new["Name"], new)
        replaced.append({**old, **new})
    return {**definition, "StorageDescriptor": {**descriptor, "Columns": replaced}}


def use_catalog(glue: "GlueClient", catalog_id: str) -> None:
    """Let a client add a Data Catalog's id to each of its requests that takes one.

    The catalog of another account has that account's id (AWS Glue developer guide, "Granting
    cross-account access").
    """

    def add(params: dict[str, Any], model: "OperationModel", **_: Any) -> None:
        if model.input_shape is not None and "CatalogId" in model.input_shape.members:
            params.setdefault("CatalogId", catalog_id)

    glue.meta.events.register("provide-client-params.glue.*", add)


def read_table(glue: "GlueClient", reference: TableReference, catalog_id: str = "") -> CatalogTable:
    """Read the newest version of a catalog table.

    Args:
        glue: the client.
        reference: the table.
        catalog_id: its catalog; empty for the client's.

    Raises:
        TableNotFoundError: there is no such table or database.
        PermissionMissingError: ``glue:GetTable`` is denied.
    """
    try:
        catalog: Any = {"CatalogId": catalog_id} if catalog_id else {}
        found = glue.get_table(DatabaseName=reference.database, Name=reference.name, **catalog)
        table = found["Table"]
    except ClientError as error:
        raise catalog_error(error, reference, "glue:GetTable") from error
    return CatalogTable(
        reference=TableReference(reference.database, table["Name"]),
        version_id=table.get("VersionId", ""),
        definition=table_input(table),
    )


def version_before(glue: "GlueClient", table: CatalogTable) -> CatalogTable | None:
    """Read the version that this one replaced; returns None if it is not in the archive.

    A version id is the text of an integer, which grows by one with each version (Glue API
    reference, GetTableVersion).

    Raises:
        PermissionMissingError: ``glue:GetTableVersion`` is denied.
    """
    if not table.version_id.isdigit():
        return None
    reference, version_id = table.reference, str(int(table.version_id) - 1)
    try:
        response = glue.get_table_version(
            DatabaseName=reference.database, TableName=reference.name, VersionId=version_id
        )
    except ClientError as error:
        if error_code(error) == "EntityNotFoundException":
            return None
        raise catalog_error(error, reference, "glue:GetTableVersion") from error
    found: Mapping[str, Any] = response["TableVersion"].get("Table", {})
    return CatalogTable(reference, version_id, table_input(found))


def find_table(
    glue: "GlueClient", reference: TableReference, catalog_id: str = ""
) -> CatalogTable | None:
    """Like :func:`read_table`, but returns None for a table that does not exist."""
    try:
        return read_table(glue, reference, catalog_id)
    except TableNotFoundError:
        return None


def create_table(
    glue: "GlueClient", reference: TableReference, definition: "TableInputTypeDef"
) -> CatalogTable:
    """Create a table and return it; returns the existing one if another writer was first."""
    try:
        glue.create_table(DatabaseName=reference.database, TableInput=definition)
    except ClientError as error:
        if error_code(error) != "AlreadyExistsException":
            raise catalog_error(error, reference, "glue:CreateTable") from error
    return read_table(glue, reference)


def update_table(
    glue: "GlueClient",
    reference: TableReference,
    decide: "Callable[[CatalogTable], TableInputTypeDef | None]",
    *,
    max_attempts: int = MAX_ATTEMPTS,
) -> TableUpdate:
    """Read a table, decide on its new definition, and write it if the version is still the same.

    Where another writer changed the table in between, all three steps run again, so that no
    change is lost.

    Args:
        decide: returns the new definition, or None to write nothing. It has no side effects.

    Raises:
        TableNotFoundError: there is no such table or database.
        PermissionMissingError: ``glue:GetTable`` or ``glue:UpdateTable`` is denied.
        ConcurrentUpdateError: the table changed during each of ``max_attempts`` attempts.
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
            raise catalog_error(error, reference, "glue:UpdateTable") from error
        return TableUpdate(before, read_table(glue, reference))
    raise ConcurrentUpdateError(
        f"Table {reference} changed under each of {max_attempts} updates. "
        "Find the other writer (crawler schedule, a job) and run the update again."
    )


def _write(glue: "GlueClient", before: CatalogTable, definition: "TableInputTypeDef") -> None:
    def write(*, skip_archive: bool) -> None:
        glue.update_table(
            DatabaseName=before.reference.database,
            TableInput=definition,
            VersionId=before.version_id,
            SkipArchive=skip_archive,
        )

    try:
        write(skip_archive=False)
    except ClientError as error:
        # The account's quota of table versions is exhausted: then write without archiving.
        if error_code(error) != "ResourceNumberLimitExceededException":
            raise
        write(skip_archive=True)


def catalog_error(error: ClientError, reference: TableReference, permission: str) -> CatalogError:
    """Return an error that names the table, and what to do about Glue's error."""
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
