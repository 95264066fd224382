"""Nothing is lost: every change of the stream is a row or waits with a reason, and is counted."""

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from decimal import Context, Decimal, InvalidOperation
from typing import TYPE_CHECKING, Any

import pyarrow.fs

from ddb_pipeline.firehose.failed import read_error_object
from ddb_pipeline.firehose.undeclared import documents
from ddb_pipeline.lake.layout import ERROR_PREFIX, STREAM_PREFIX
from ddb_pipeline.lake.stats import list_objects, read_columns

if TYPE_CHECKING:
    from mypy_boto3_s3.client import S3Client

Identity = tuple[str, ...]
"""What tells one change from another: its event id, or the values of the item's key."""

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
        lost: those that are neither.
        lost_identities: some of the lost, to look for.
        repeated: rows beyond one per change, at-least-once delivery's own.
    """

    expected: int
    rows: int
    waiting: int
    lost: int
    lost_identities: tuple[Identity, ...]
    repeated: int

    @property
    def balanced(self) -> bool:
        return self.lost == 0


def reconcile(
    expected: Counter[Identity], rows: Counter[Identity], waiting: Counter[Identity]
) -> Reconciliation:
    """Add up where each expected change is.

    What is a row and also waits counts as a row. Rows that were not expected are older than the
    stream remembers; they count for nothing.
    """
    found = missing = on_hold = repeated = 0
    lost: list[Identity] = []
    for identity, count in expected.items():
        delivered = min(count, rows[identity])
        held = min(count - delivered, waiting[identity])
        absent = count - delivered - held
        found += delivered
        on_hold += held
        repeated += max(0, rows[identity] - count)
        if absent:
            missing += absent
            lost.append(identity)
    return Reconciliation(
        expected=expected.total(),
        rows=found,
        waiting=on_hold,
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
    for table in read_columns(filesystem, bucket, keys, columns):
        if len(table.column_names) == len(columns):
            lists = [table.column(name).to_pylist() for name in columns]
            counted.update(identity(values) for values in zip(*lists, strict=True))
    return counted


def stream_keys(s3: "S3Client", bucket: str) -> list[str]:
    """Keys of all Parquet under the stream's prefix."""
    return [stored.key for stored in list_objects(s3, bucket, STREAM_PREFIX)]


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


def _of_document(value: Any, columns: Sequence[str]) -> Identity | None:
    if not isinstance(value, Mapping):
        return None
    folded = {name.lower(): inner for name, inner in value.items()}
    if any(column not in folded for column in columns):
        return None
    return identity(folded[column] for column in columns)
