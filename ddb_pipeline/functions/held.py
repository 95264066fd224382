"""Documents that the delivery table would cut short, kept as error objects until it does not."""

import hashlib
import time
from collections.abc import Callable, Sequence
from datetime import datetime, timezone
from typing import TYPE_CHECKING, NamedTuple

from botocore.exceptions import BotoCoreError, ClientError

from ddb_pipeline.dynamodb.stream import epoch_seconds
from ddb_pipeline.dynamodb.values import Item
from ddb_pipeline.firehose.error_objects import FailedRecord, write_error_object
from ddb_pipeline.firehose.held import UNDECLARED_KIND, held, undeclared_paths
from ddb_pipeline.functions.changes import Change
from ddb_pipeline.functions.dead_letters import DeadLetterError
from ddb_pipeline.functions.declared_images import DeclaredImages
from ddb_pipeline.glue.catalog import TableReference, find_table
from ddb_pipeline.hive.coverage import Fields, covered_fields

if TYPE_CHECKING:
    from mypy_boto3_glue.client import GlueClient
    from mypy_boto3_s3.client import S3Client

SCHEMA_SECONDS = 30.0
"""How long a table read from the catalog is relied on."""
RECHECK_SECONDS = 1.0


class HeldChange(NamedTuple):
    """A change that waits, its document, and the paths that no column declares."""

    change: Change
    document: bytes
    paths: Sequence[str]


class DeliveryTable:
    """The names that the delivery table keeps, read again every half minute.

    While there is no table nothing is held: Firehose fails such records itself, whole.
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
        self._names: Fields | None = None
        self._images: DeclaredImages | None = None
        self._read_at = float("-inf")

    def undeclared(
        self, document: bytes, image: Item | None = None, columns: Sequence[str] = ()
    ) -> Sequence[str]:
        """Paths of a document that no column would keep.

        Where the document is an ``image`` and these further ``columns``, the image's shape
        mostly tells that there are none, and the document need not be parsed.

        Raises:
            CatalogError: the table cannot be read.
        """
        now = self._clock()
        if now >= self._read_at + SCHEMA_SECONDS:
            self._read(now)
        if image is not None and self._images is not None and self._images.keep(image, columns):
            return ()
        paths = self._paths(document)
        if paths and now >= self._read_at + RECHECK_SECONDS:
            # Perhaps the column came since: one more look before the document waits.
            self._read(now)
            paths = self._paths(document)
        return paths

    def _read(self, now: float) -> None:
        table = find_table(self._glue, self._reference)
        self._names = None if table is None else covered_fields(table.columns)
        self._images = None if self._names is None else DeclaredImages(self._names)
        self._read_at = now

    def _paths(self, document: bytes) -> Sequence[str]:
        return () if self._names is None else undeclared_paths(document, self._names)


def object_key(prefix: str, waiting: Sequence[HeldChange], day: str) -> str:
    """Where a batch's held changes go: by event ids, so that a retry overwrites."""
    digest = hashlib.sha256("\n".join(h.change.event_id for h in waiting).encode("utf-8"))
    return f"{prefix}{UNDECLARED_KIND}/{day}/{digest.hexdigest()[:32]}"


def write_held(s3: "S3Client", bucket: str, prefix: str, waiting: Sequence[HeldChange]) -> str:
    """Write a batch's held changes as one error object; answers with its key.

    Raises:
        DeadLetterError: there is no bucket, or S3 did not take the object.
    """
    if not bucket:
        raise DeadLetterError(
            f"{len(waiting)} changes wait for columns and DEAD_LETTER_BUCKET is not set."
        )
    first = epoch_seconds(waiting[0].change.event_time)
    day = datetime.fromtimestamp(first, timezone.utc).strftime("%Y-%m-%d")
    key = object_key(prefix, waiting, day)
    records = [
        held(
            FailedRecord(
                raw_data=h.document + b"\n",
                error_code="",
                error_message="",
                arrival_timestamp=int(epoch_seconds(h.change.event_time) * 1000),
                sequence_number=h.change.sequence_number,
            ),
            h.paths,
        )
        for h in waiting
    ]
    try:
        s3.put_object(Bucket=bucket, Key=key, Body=write_error_object(records))
    except (ClientError, BotoCoreError) as error:
        raise DeadLetterError(
            f"s3://{bucket}/{key} could not be written ({error}). The function's role needs "
            "s3:PutObject there."
        ) from error
    return key
