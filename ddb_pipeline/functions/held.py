"""Held changes: documents with attributes that the delivery table has no column for.

Firehose would drop these attributes silently. Held changes are stored in S3 as error objects, until
a crawl has added the columns and redelivery converts them.
"""

import time
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING

from ddb_pipeline.dynamodb.stream import DocumentOptions, change_document
from ddb_pipeline.dynamodb.targets import ANY, AS_WRITTEN, Target
from ddb_pipeline.dynamodb.values import Writing
from ddb_pipeline.firehose.error_objects import FailedRecord, write_error_object
from ddb_pipeline.firehose.held import HELD_KIND, held_record, paths_without_column
from ddb_pipeline.functions.changes import Change
from ddb_pipeline.functions.dead_letters import day_and_digest, put_object
from ddb_pipeline.functions.rules import Rules
from ddb_pipeline.glue.catalog import TableReference, find_table
from ddb_pipeline.hive.coverage import Fields, covered_fields

if TYPE_CHECKING:
    from mypy_boto3_glue.client import GlueClient
    from mypy_boto3_s3.client import S3Client

SCHEMA_SECONDS = 30.0
"""How long the columns read from the catalog are used before they are read again."""
RECHECK_SECONDS = 1.0
"""Columns at least this old are read again before a change is held."""


class DeliveryTable:
    """The columns of the delivery table, read again every half minute.

    While the table does not exist nothing is held: Firehose fails such records itself, whole.
    """

    def __init__(
        self,
        glue: "GlueClient",
        reference: TableReference,
        *,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._glue = glue
        self._reference = reference
        self._clock = clock
        self._fields: Fields | None = None
        self._columns = ANY
        self._read_at = float("-inf")

    def missing(self, document: bytes) -> Sequence[str]:
        """Paths of a document's attributes that have no column.

        Raises:
            CatalogError: the table cannot be read.
        """
        now = self._read_if_old()
        paths = self._paths(document)
        if paths and now >= self._read_at + RECHECK_SECONDS:
            # The column may have been added since: read once more before the change is held.
            self._read(now)
            paths = self._paths(document)
        return paths

    def columns(self) -> Target:
        """The columns, for writing documents.

        Raises:
            CatalogError: the table cannot be read.
        """
        self._read_if_old()
        return self.known_columns

    @property
    def known_columns(self) -> Target:
        """The columns as they were last read; another object once they have changed."""
        return self._columns

    def _read_if_old(self) -> float:
        now = self._clock()
        if now >= self._read_at + SCHEMA_SECONDS:
            self._read(now)
        return now

    def _read(self, now: float) -> None:
        table = find_table(self._glue, self._reference)
        columns = None if table is None else table.columns
        if columns is None:
            self._fields, self._columns = None, ANY
        elif self._fields is None or columns != self._columns.columns:
            self._fields = covered_fields(columns)
            self._columns = Target(self._fields, columns)
        self._read_at = now

    def _paths(self, document: bytes) -> Sequence[str]:
        return () if self._fields is None else paths_without_column(document, self._fields)


def _document(change: Change, options: DocumentOptions) -> bytes:
    """A held change's document, with the attributes' own names below the first level.

    The columns to come decide which of them are keys of maps.
    """
    assert change.edited is not None
    return change_document(change.edited, options, Writing(AS_WRITTEN)) or b""


def write_held_changes(s3: "S3Client", rules: Rules, changes: Sequence[Change]) -> str:
    """Write a batch's held changes as one error object; returns its key.

    Raises:
        DeadLetterError: there is no bucket, or S3 did not take the object.
    """
    identity = "\n".join(change.event_id for change in changes)
    settings = rules.settings
    key = f"{settings.error_prefix}{HELD_KIND}/{day_and_digest(changes, identity)}"
    records = [
        held_record(
            FailedRecord(
                raw_data=_document(change, settings.options) + b"\n",
                error_code="",
                error_message="",
                arrival_timestamp=int(change.seconds * 1000) or None,
                sequence_number=change.sequence_number,
            ),
            change.missing,
        )
        for change in changes
    ]
    return put_object(s3, settings.dead_letter_bucket, key, write_error_object(records))
