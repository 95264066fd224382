"""The past versions of a catalog table: which columns each of them changed."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timezone
from itertools import pairwise
from typing import TYPE_CHECKING

from botocore.exceptions import ClientError

from ddb_pipeline.glue.catalog import TableReference, catalog_error, columns_of, table_input
from ddb_pipeline.hive.type_changes import TypeChange, column_changes
from ddb_pipeline.hive.types import Column

if TYPE_CHECKING:
    from mypy_boto3_glue.client import GlueClient

MAX_VERSIONS = 50
"""Newest versions that are read, in one request."""


@dataclass(frozen=True, slots=True)
class TableVersion:
    """A version of a catalog table: its id, when it was written (UTC), its columns."""

    version_id: str
    written_at: datetime
    columns: tuple[Column, ...]


@dataclass(frozen=True, slots=True)
class ColumnEvent:
    """A column or field that a version added, removed or gave another type."""

    version: TableVersion
    change: TypeChange


def table_history(glue: "GlueClient", reference: TableReference) -> list[TableVersion]:
    """The newest versions of a table, at most ``MAX_VERSIONS``, the newest first.

    Raises:
        CatalogError: they cannot be read.
    """
    try:
        response = glue.get_table_versions(
            DatabaseName=reference.database, TableName=reference.name, MaxResults=MAX_VERSIONS
        )
    except ClientError as error:
        raise catalog_error(error, reference, "glue:GetTableVersions") from error
    found = [
        TableVersion(
            version.get("VersionId", ""),
            version["Table"].get("UpdateTime", datetime.fromtimestamp(0, timezone.utc)),
            columns_of(table_input(version["Table"])),
        )
        for version in response["TableVersions"]
    ]
    return sorted(found, key=_number, reverse=True)


def column_events(versions: Sequence[TableVersion]) -> list[ColumnEvent]:
    """What each version changed against the one before, the newest first.

    The oldest version is compared with nothing, because what it replaced is not known.
    """
    return [
        ColumnEvent(newer, change)
        for newer, older in pairwise(versions)
        for change in column_changes(older.columns, newer.columns)
    ]


def _number(version: TableVersion) -> int:
    return int(version.version_id) if version.version_id.isdigit() else 0
