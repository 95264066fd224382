"""Reconciliation: every change of the stream is a row, a failed record or a dead letter."""

from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import pyarrow.fs

from ddb_pipeline.dynamodb.stream import StreamRecord, read_record
from ddb_pipeline.dynamodb.stream_read import read_stream
from ddb_pipeline.firehose.error_objects import read_error_object
from ddb_pipeline.firehose.held import documents
from ddb_pipeline.hive.epoch import epoch_seconds
from ddb_pipeline.lake.change_identity import (
    Identity,
    identity,
    of_change,
    of_dead_letter,
    of_document,
)
from ddb_pipeline.lake.dead_letters import read_dead_letters
from ddb_pipeline.lake.layout import DEAD_LETTER_PREFIX, ERROR_PREFIX, DeliveryHour
from ddb_pipeline.lake.objects import list_objects, read_object
from ddb_pipeline.lake.parquet_objects import file_columns

if TYPE_CHECKING:
    from mypy_boto3_dynamodbstreams.client import DynamoDBStreamsClient
    from mypy_boto3_s3.client import S3Client

MAX_OBJECTS = 10_000
"""Error objects, and objects of dead letters, that a reconciliation reads."""

SHOWN = 20
"""Identities of lost changes that a reconciliation lists."""


@dataclass(frozen=True, slots=True)
class Reconciliation:
    """Where the changes of the stream are, in numbers.

    Attributes:
        expected: changes of the stream that had time to arrive.
        rows: those of them that are rows of the lake.
        failed: those that are failed records in error objects.
        dead_lettered: those that are dead letters, because they cannot be delivered.
        lost: those that are none of these.
        lost_identities: some of the lost changes.
        repeated: rows beyond the first of a change, which at-least-once delivery may write.
    """

    expected: int
    rows: int
    failed: int
    dead_lettered: int
    lost: int
    lost_identities: tuple[Identity, ...]
    repeated: int

    @property
    def balanced(self) -> bool:
        """Whether no change is lost."""
        return self.lost == 0


def reconcile(
    expected: Counter[Identity],
    rows: Counter[Identity],
    failed: Counter[Identity],
    dead_letters: Counter[Identity],
) -> Reconciliation:
    """Count where the expected changes are.

    A change counts once: as a row if it is one, else as a failed record, else as a dead letter.
    Other rows, failed records and dead letters do not count: the stream no longer holds these.
    """
    not_rows = expected - rows
    not_failed = not_rows - failed
    lost = not_failed - dead_letters
    return Reconciliation(
        expected=expected.total(),
        rows=expected.total() - not_rows.total(),
        failed=not_rows.total() - not_failed.total(),
        dead_lettered=not_failed.total() - lost.total(),
        lost=lost.total(),
        lost_identities=tuple(sorted(lost)[:SHOWN]),
        repeated=sum(max(0, rows[each] - count) for each, count in expected.items()),
    )


@dataclass(frozen=True, slots=True)
class ExpectedChanges:
    """The oldest changes of the stream.

    Attributes:
        counted: number of changes of each identity.
        since: epoch seconds of the oldest change; infinity where there is none.
        complete: False where there are more that had time to arrive than the limit.
    """

    counted: Counter[Identity]
    since: float
    complete: bool


def expected_changes(
    streams: "DynamoDBStreamsClient",
    stream_arn: str,
    columns: Sequence[str],
    *,
    before: float,
    limit: int,
    is_delivered: Callable[[StreamRecord], bool] = lambda record: True,
) -> ExpectedChanges:
    """Read the changes of a stream that must have arrived, the oldest first.

    Args:
        columns: the columns that identify a change: the event id, or the key's columns.
        before: changes from this moment on need not have arrived yet, epoch seconds.
        limit: the largest number of changes to return.
        is_delivered: whether a change is delivered to this lake, neither filtered out nor routed
            to another delivery stream.
    """
    counted: Counter[Identity] = Counter()
    total, since = 0, float("inf")
    for entry in read_stream(streams, stream_arn):
        record = read_record(entry)
        moment = epoch_seconds(record.event_time or 0)
        if moment >= before or not is_delivered(record):
            continue
        if total >= limit:
            return ExpectedChanges(counted, since, complete=False)
        found = of_change(record, columns)
        if found is not None:
            counted[found] += 1
            total += 1
            since = min(since, moment)
    return ExpectedChanges(counted, since, complete=True)


def reconcile_lake(
    s3: "S3Client",
    filesystem: pyarrow.fs.FileSystem,
    bucket: str,
    expected: ExpectedChanges,
    columns: Sequence[str],
    *,
    until: float,
) -> Reconciliation:
    """Reconcile changes with the rows, error objects and dead letters of a lake.

    Args:
        expected: the changes, identified by the same ``columns``.
        until: rows delivered until then are read, epoch seconds.
    """
    # Error objects are read before the rows, so that a record redelivered in between is found.
    failed = _failed_identities(s3, bucket, columns)
    dead_letters = _dead_letter_identities(s3, bucket, columns)
    keys = _hour_keys(s3, bucket, expected.since, until) if expected.counted else []
    rows = _row_identities(filesystem, bucket, keys, columns)
    return reconcile(expected.counted, rows, failed, dead_letters)


def _row_identities(
    filesystem: pyarrow.fs.FileSystem, bucket: str, keys: Sequence[str], columns: Sequence[str]
) -> Counter[Identity]:
    """Count the rows of each identity in Parquet objects."""
    counted: Counter[Identity] = Counter()
    for table in file_columns(filesystem, bucket, keys, columns):
        if len(table.column_names) == len(columns):
            lists = [table.column(name).to_pylist() for name in columns]
            counted.update(identity(values) for values in zip(*lists, strict=True))
    return counted


def _hour_keys(s3: "S3Client", bucket: str, since: float, until: float) -> list[str]:
    """Keys of the Parquet of delivery hours from ``since`` to ``until``, and an hour around them.

    Both are in epoch seconds.
    """
    keys: list[str] = []
    moment = since - 3600
    while moment < until + 3600:
        prefix = DeliveryHour.of(moment).prefix
        keys += (stored.key for stored in list_objects(s3, bucket, prefix))
        moment += 3600
    return keys


def _failed_identities(s3: "S3Client", bucket: str, columns: Sequence[str]) -> Counter[Identity]:
    """Count the failed records of each identity in the error objects."""
    found = (
        of_document(document.value, columns)
        for body in _bodies(s3, bucket, ERROR_PREFIX)
        for record in read_error_object(body).records
        for document in documents(record.raw_data)
    )
    return Counter(each for each in found if each is not None)


def _dead_letter_identities(
    s3: "S3Client", bucket: str, columns: Sequence[str]
) -> Counter[Identity]:
    """Count the dead letters of each identity."""
    found = (
        of_dead_letter(letter, columns)
        for body in _bodies(s3, bucket, DEAD_LETTER_PREFIX)
        for letter in read_dead_letters(body).letters
    )
    return Counter(each for each in found if each is not None)


def _bodies(s3: "S3Client", bucket: str, prefix: str) -> Iterator[bytes]:
    for stored in list_objects(s3, bucket, prefix, limit=MAX_OBJECTS):
        yield read_object(s3, bucket, stored.key)
