"""Redelivery: the records of an error object are converted again and become rows of the lake."""

import hashlib
from collections import defaultdict
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

import pyarrow.fs

from ddb_pipeline.conversion.convert import convert
from ddb_pipeline.firehose.error_objects import (
    FailedRecord,
    read_error_object,
    write_error_object,
)
from ddb_pipeline.firehose.held import documents, split_held
from ddb_pipeline.hive.coverage import covered_fields
from ddb_pipeline.hive.names import EVENT_ID
from ddb_pipeline.hive.types import Column
from ddb_pipeline.lake.archive import archive, overwrite_or_delete
from ddb_pipeline.lake.layout import DeliveryHour
from ddb_pipeline.lake.objects import StoredObject, list_objects, read_object
from ddb_pipeline.lake.parquet_objects import file_columns

if TYPE_CHECKING:
    from mypy_boto3_s3.client import S3Client


@dataclass(frozen=True, slots=True)
class ObjectRedelivery:
    """The result of the redelivery of one error object.

    Attributes:
        key: the error object's key.
        rows: number of rows written.
        landed_before: number of documents that were rows of the lake before.
        failed: number of records that still fail and stay in the error object.
    """

    key: str
    rows: int
    landed_before: int
    failed: int


@dataclass(frozen=True, slots=True)
class HourRedelivery:
    """The records of one delivery hour after conversion.

    Attributes:
        hour: the hour in which Firehose received the records.
        parquet: the Parquet object with the rows; None where there are no rows.
        rows: number of rows in it.
        landed_before: number of documents left out, because they are rows of the lake already.
        failed: the records that failed again.
    """

    hour: DeliveryHour
    parquet: bytes | None
    rows: int
    landed_before: int
    failed: tuple[FailedRecord, ...]


def redeliver(
    s3: "S3Client",
    filesystem: pyarrow.fs.FileSystem,
    bucket: str,
    stored: StoredObject,
    columns: Sequence[Column],
) -> ObjectRedelivery:
    """Convert an error object's records with ``columns`` and write the rows to the lake.

    It may run twice, or stop at any point and run again: the key of the Parquet object follows from
    the content of the error object, which is removed only after its rows are written. Records that
    fail again, and lines that cannot be read, stay in the error object.
    """
    content = read_error_object(read_object(s3, bucket, stored.key))
    ready, failed = split_held(content.records, covered_fields(columns))
    version = _object_version(stored)
    name = f"redelivered-{version}.parquet"
    events, hours = packed_events(ready, stored.modified_at)
    landed = _landed_events(s3, filesystem, bucket, events, hours, own_name=name)
    rows = landed_before = 0
    for converted in convert_by_hour(ready, columns, landed, stored.modified_at):
        failed.extend(converted.failed)
        landed_before += converted.landed_before
        if converted.parquet is not None:
            key = f"{converted.hour.prefix}{name}"
            s3.put_object(Bucket=bucket, Key=key, Body=converted.parquet)
            rows += converted.rows
    if rows or landed_before:
        archive(s3, bucket, stored, version)
        corrupt = b"".join(line.content + b"\n" for line in content.corrupt_lines)
        overwrite_or_delete(s3, bucket, stored, write_error_object(failed) + corrupt)
    return ObjectRedelivery(stored.key, rows, landed_before, len(failed))


def convert_by_hour(
    records: Sequence[FailedRecord],
    columns: Sequence[Column],
    landed: frozenset[str],
    default_arrival: float,
) -> Iterator[HourRedelivery]:
    """Convert records, hour by hour of their arrival at Firehose.

    Args:
        landed: ids of events that are rows of the lake already.
        default_arrival: the arrival of a record without a timestamp, epoch seconds.
    """
    by_hour: dict[DeliveryHour, list[FailedRecord]] = defaultdict(list)
    for record in records:
        by_hour[DeliveryHour.of(_arrival(record, default_arrival))].append(record)
    for hour, arrived in by_hour.items():
        pending, landed_before = without_landed(arrived, landed)
        converted = convert([record.raw_data for record in pending], columns)
        failed = tuple(
            replace(
                pending[failure.index],
                error_code=failure.code,
                error_message=failure.message,
                attempts_made=pending[failure.index].attempts_made + 1,
            )
            for failure in converted.failures
        )
        yield HourRedelivery(hour, converted.parquet, converted.rows, landed_before, failed)


def without_landed(
    records: Sequence[FailedRecord], landed: frozenset[str]
) -> tuple[list[FailedRecord], int]:
    """Remove the documents of landed events from records; returns their number too.

    When one document of a record of several fails, Firehose may or may not deliver the others (its
    documentation does not say). With the event ids the result is right in both cases.
    """
    if not landed:
        return list(records), 0
    remaining, removed = [], 0
    for record in records:
        packed = list(documents(record.raw_data))
        missing = [document for document in packed if _event_id(document.value) not in landed]
        removed += len(packed) - len(missing)
        if len(missing) == len(packed):
            remaining.append(record)
        elif missing:
            raw_data = b"\n".join(document.text for document in missing) + b"\n"
            remaining.append(replace(record, raw_data=raw_data))
    return remaining, removed


def packed_events(
    records: Sequence[FailedRecord], default_arrival: float
) -> tuple[frozenset[str], frozenset[DeliveryHour]]:
    """Event ids of records that hold several documents, and the hours that may have their rows."""
    events: set[str] = set()
    hours: set[DeliveryHour] = set()
    for record in records:
        ids = [_event_id(document.value) for document in documents(record.raw_data)]
        if len(ids) > 1:
            events.update(event for event in ids if event is not None)
            arrival = _arrival(record, default_arrival)
            hours |= {DeliveryHour.of(arrival + shift) for shift in (-3600, 0, 3600)}
    return frozenset(events), frozenset(hours)


def _arrival(record: FailedRecord, default: float) -> float:
    """When Firehose received a record, epoch seconds."""
    return default if record.arrival_timestamp is None else record.arrival_timestamp / 1000


def _event_id(document: Any) -> str | None:
    found = document.get(EVENT_ID) if isinstance(document, Mapping) else None
    return found if isinstance(found, str) else None


def _landed_events(
    s3: "S3Client",
    filesystem: pyarrow.fs.FileSystem,
    bucket: str,
    events: frozenset[str],
    hours: frozenset[DeliveryHour],
    *,
    own_name: str,
) -> frozenset[str]:
    """Those of ``events`` with a row in these hours, except in the redelivery's own objects."""
    if not events:
        return frozenset()
    keys = [
        found.key
        for hour in sorted(hours)
        for found in list_objects(s3, bucket, hour.prefix)
        if not found.key.endswith(own_name)
    ]
    landed: set[str] = set()
    for table in file_columns(filesystem, bucket, keys, [EVENT_ID]):
        if EVENT_ID in table.column_names:
            landed |= events.intersection(table.column(EVENT_ID).to_pylist())
    return frozenset(landed)


def _object_version(stored: StoredObject) -> str:
    return hashlib.sha256(f"{stored.key}\0{stored.etag}".encode()).hexdigest()[:32]
