"""Nothing is lost: every change of the stream is a row or waits with a reason, and is counted."""

from base64 import b64encode
from collections import Counter
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from decimal import Context, Decimal, InvalidOperation
from typing import TYPE_CHECKING, Any

import pyarrow.fs

from ddb_pipeline.dynamodb.stream import (
    StreamRecord,
    UndecodableRecordError,
    epoch_seconds,
    read_record,
)
from ddb_pipeline.dynamodb.stream_read import read_stream
from ddb_pipeline.firehose.error_objects import read_error_object
from ddb_pipeline.firehose.held import documents
from ddb_pipeline.hive.names import column_name
from ddb_pipeline.lake.dead_letters import read_dead_letters
from ddb_pipeline.lake.layout import DEAD_LETTER_PREFIX, ERROR_PREFIX, DeliveryHour
from ddb_pipeline.lake.objects import list_objects
from ddb_pipeline.lake.parquet_objects import file_columns

if TYPE_CHECKING:
    from mypy_boto3_dynamodbstreams.client import DynamoDBStreamsClient
    from mypy_boto3_s3.client import S3Client

Identity = tuple[str, ...]
"""What tells one change from another: its event id, or the values of the item's key."""

EVENT_ID = "ddb_event_id"
SHOWN = 20
EXACT = Context(prec=400)
"""Room for every digit that a DynamoDB number or a double has."""


@dataclass(frozen=True, slots=True)
class Reconciliation:
    """The sums of one check.

    Attributes:
        expected: changes that the stream holds and that had time to arrive.
        rows: those that are rows of the lake.
        waiting: those that wait as failed records.
        dead_lettered: those that can never be delivered and are kept whole as dead letters.
        lost: those that are none of these.
        lost_identities: some of the lost, to look for.
        repeated: rows beyond one per change, at-least-once delivery's own.
    """

    expected: int
    rows: int
    waiting: int
    dead_lettered: int
    lost: int
    lost_identities: tuple[Identity, ...]
    repeated: int

    @property
    def balanced(self) -> bool:
        return self.lost == 0


def reconcile(
    expected: Counter[Identity],
    rows: Counter[Identity],
    waiting: Counter[Identity],
    dead_letters: Counter[Identity],
) -> Reconciliation:
    """Add up where each expected change is.

    What is a row and also waits counts as a row, what waits and is a dead letter as waiting. Rows
    that were not expected are older than the stream remembers; they count for nothing.
    """
    found = missing = on_hold = dead = repeated = 0
    lost: list[Identity] = []
    for identity, count in expected.items():
        delivered = min(count, rows[identity])
        held = min(count - delivered, waiting[identity])
        given_up = min(count - delivered - held, dead_letters[identity])
        absent = count - delivered - held - given_up
        found += delivered
        on_hold += held
        dead += given_up
        repeated += max(0, rows[identity] - count)
        if absent:
            missing += absent
            lost.append(identity)
    return Reconciliation(
        expected=expected.total(),
        rows=found,
        waiting=on_hold,
        dead_lettered=dead,
        lost=missing,
        lost_identities=tuple(sorted(lost)[:SHOWN]),
        repeated=repeated,
    )


def identity(values: Iterable[Any]) -> Identity:
    """Values as they compare equal from DynamoDB, from JSON and from Parquet."""
    return tuple(_text(value) for value in values)


def _text(value: Any) -> str:
    if isinstance(value, str):
        return value
    if isinstance(value, int | float | Decimal) and not isinstance(value, bool):
        return number_text(str(value))
    return str(value)


def number_text(text: str) -> str:
    """A number's text without what does not change it: ``1.50`` and ``15E-1`` are ``1.5``."""
    try:
        number = EXACT.create_decimal(text)
    except InvalidOperation:
        return text
    if not number.is_finite():
        return text
    return format(number.normalize(EXACT), "f") if number else "0"


def row_identities(
    filesystem: pyarrow.fs.FileSystem, bucket: str, keys: Sequence[str], columns: Sequence[str]
) -> Counter[Identity]:
    """How often each identity is a row of these Parquet objects."""
    counted: Counter[Identity] = Counter()
    for table in file_columns(filesystem, bucket, keys, columns):
        if len(table.column_names) == len(columns):
            lists = [table.column(name).to_pylist() for name in columns]
            counted.update(identity(values) for values in zip(*lists, strict=True))
    return counted


@dataclass(frozen=True, slots=True)
class ExpectedChanges:
    """The oldest changes that the stream still holds.

    Attributes:
        counted: how often each identity changed.
        since: epoch seconds of the oldest of them; infinity where there is none.
        complete: whether these are all that had time to arrive, or only the first ``limit``.
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
    wanted: Callable[[StreamRecord], bool] = lambda record: True,
) -> ExpectedChanges:
    """What must have arrived: changes made before ``before`` (epoch seconds), oldest first.

    Those that are not ``wanted`` here are filtered out, or delivered elsewhere.

    ``columns`` are the identity: the event id, or the key's columns. By key only changes with a
    new image count, since a delete is no row there.
    """
    counted: Counter[Identity] = Counter()
    since = float("inf")
    for entry in read_stream(streams, stream_arn):
        record = read_record(entry)
        moment = epoch_seconds(record.event_time)
        if moment >= before or not wanted(record):
            continue
        if counted.total() >= limit:
            return ExpectedChanges(counted, since, complete=False)
        found = change_identity(record, columns)
        if found is not None:
            counted[found] += 1
            since = min(since, moment)
    return ExpectedChanges(counted, since, complete=True)


def change_identity(record: StreamRecord, columns: Sequence[str]) -> Identity | None:
    """What tells this change from others; None for a delete where rows are told by their key."""
    if tuple(columns) == (EVENT_ID,):
        return (record.event_id,)
    if record.new_image is None:
        return None
    keys = {column_name(name): value for name, value in record.keys.items()}
    return tuple(_key_text(keys[column]) for column in columns)


def _key_text(value: Mapping[str, Any]) -> str:
    ((tag, content),) = value.items()
    if tag == "N":
        return number_text(content)
    if isinstance(content, bytes):
        return b64encode(content).decode("ascii")
    return str(content)


def hour_keys(s3: "S3Client", bucket: str, since: float, until: float) -> list[str]:
    """Keys of the Parquet delivered from an hour before ``since`` on, epoch seconds."""
    hours, moment = [], since - 3600
    while moment < until + 3600:
        hours.append(DeliveryHour.of(moment))
        moment += 3600
    return [
        stored.key
        for hour in dict.fromkeys(hours)
        for stored in list_objects(s3, bucket, hour.prefix)
    ]


def waiting_identities(
    s3: "S3Client", bucket: str, columns: Sequence[str], *, limit: int = 10_000
) -> Counter[Identity]:
    """How often each identity waits in an error object."""
    counted: Counter[Identity] = Counter()
    for stored in list_objects(s3, bucket, ERROR_PREFIX, limit=limit):
        body = s3.get_object(Bucket=bucket, Key=stored.key)["Body"].read()
        for record in read_error_object(body).records:
            for document in documents(record.raw_data):
                found = _of_document(document.value, columns)
                if found is not None:
                    counted[found] += 1
    return counted


def dead_letter_identities(
    s3: "S3Client", bucket: str, columns: Sequence[str], *, limit: int = 10_000
) -> Counter[Identity]:
    """How often each identity is a dead letter."""
    counted: Counter[Identity] = Counter()
    for stored in list_objects(s3, bucket, DEAD_LETTER_PREFIX, limit=limit):
        body = s3.get_object(Bucket=bucket, Key=stored.key)["Body"].read()
        for letter in read_dead_letters(body).letters:
            found = _of_letter(letter, columns)
            if found is not None:
                counted[found] += 1
    return counted


def _of_letter(letter: Mapping[str, Any], columns: Sequence[str]) -> Identity | None:
    try:
        return change_identity(read_record(letter["record"]), columns)
    except UndecodableRecordError:
        event_id = str(letter.get("event_id") or "")
        return (event_id,) if event_id and tuple(columns) == (EVENT_ID,) else None


def _of_document(value: Any, columns: Sequence[str]) -> Identity | None:
    if not isinstance(value, Mapping):
        return None
    folded = {name.lower(): inner for name, inner in value.items()}
    if any(column not in folded for column in columns):
        return None
    return identity(folded[column] for column in columns)
