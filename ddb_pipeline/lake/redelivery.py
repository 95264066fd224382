"""Failed records become rows: error objects converted again once the schema takes them."""

import hashlib
from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

import pyarrow.fs

from ddb_pipeline.conversion.convert import convert
from ddb_pipeline.firehose.error_objects import (
    ErrorObject,
    FailedRecord,
    read_error_object,
    write_error_object,
)
from ddb_pipeline.firehose.held import documents, sorted_out
from ddb_pipeline.hive.coverage import covered_fields
from ddb_pipeline.hive.types import Column
from ddb_pipeline.lake.layout import REDELIVERED_PREFIX, DeliveryHour
from ddb_pipeline.lake.objects import StoredObject, list_objects
from ddb_pipeline.lake.parquet_objects import file_columns

if TYPE_CHECKING:
    from mypy_boto3_s3.client import S3Client

EVENT_ID = "ddb_event_id"


@dataclass(frozen=True, slots=True)
class ObjectRedelivery:
    """What became of one error object.

    Attributes:
        key: the error object's key.
        rows: rows that its records became.
        landed_before: documents that the lake already had, so not written again.
        waiting: records that stay, because they still cannot be converted.
        parquet_keys: where the rows lie.
    """

    key: str
    rows: int
    landed_before: int
    waiting: int
    parquet_keys: tuple[str, ...]


def redeliver(
    s3: "S3Client",
    filesystem: pyarrow.fs.FileSystem,
    bucket: str,
    stored: StoredObject,
    columns: Sequence[Column],
) -> ObjectRedelivery:
    """Convert an error object's records with ``columns`` and land what converts.

    Safe to run twice and to stop anywhere: the Parquet object's key follows from the error
    object's content, and the error object goes only after its rows are there. Records that fail
    again, and lines that cannot be read, stay in the error object.
    """
    body = s3.get_object(Bucket=bucket, Key=stored.key)["Body"].read()
    content = read_error_object(body)
    ready, waiting = sorted_out(content.records, covered_fields(columns))
    landed = _landed_event_ids(s3, filesystem, bucket, ready, stored)
    rows, dropped, keys = 0, 0, []
    for hour, records in _by_hour(ready, stored.modified_at).items():
        pending, already = without_landed(records, landed)
        dropped += already
        conversion = convert([record.raw_data for record in pending], columns)
        waiting.extend(
            replace(
                pending[failure.index],
                error_code=failure.code,
                error_message=failure.message,
                attempts_made=pending[failure.index].attempts_made + 1,
            )
            for failure in conversion.failures
        )
        if conversion.parquet is not None and conversion.rows:
            key = f"{hour.prefix}redelivered-{_content_id(stored)}.parquet"
            s3.put_object(Bucket=bucket, Key=key, Body=conversion.parquet)
            keys.append(key)
            rows += conversion.rows
    if rows or dropped:
        _settle(s3, bucket, stored, content, waiting)
    return ObjectRedelivery(stored.key, rows, dropped, len(waiting), tuple(keys))


def _by_hour(
    records: Sequence[FailedRecord], default: float
) -> dict[DeliveryHour, list[FailedRecord]]:
    hours: dict[DeliveryHour, list[FailedRecord]] = defaultdict(list)
    for record in records:
        arrived = record.arrival_timestamp
        hours[DeliveryHour.of(default if arrived is None else arrived / 1000)].append(record)
    return hours


def without_landed(
    records: Sequence[FailedRecord], landed: frozenset[str]
) -> tuple[list[FailedRecord], int]:
    """Records without the documents whose event the lake already has, and how many those were.

    Of a packed record that fails, Firehose may or may not have delivered the good documents
    (its documentation does not say); by event id it comes out right either way.
    """
    if not landed:
        return list(records), 0
    kept, dropped = [], 0
    for record in records:
        packed = list(documents(record.raw_data))
        missing = [d for d in packed if _event_id(d.value) not in landed]
        dropped += len(packed) - len(missing)
        if len(missing) == len(packed):
            kept.append(record)
        elif missing:
            kept.append(replace(record, raw_data=b"\n".join(d.text for d in missing) + b"\n"))
    return kept, dropped


def _event_id(value: Any) -> str | None:
    found = value.get(EVENT_ID) if isinstance(value, Mapping) else None
    return found if isinstance(found, str) else None


def _landed_event_ids(
    s3: "S3Client",
    filesystem: pyarrow.fs.FileSystem,
    bucket: str,
    records: Sequence[FailedRecord],
    stored: StoredObject,
) -> frozenset[str]:
    """Those events of packed records that are rows already, in the hours around them."""
    wanted: set[str] = set()
    hours: set[DeliveryHour] = set()
    for record in records:
        ids = [_event_id(document.value) for document in documents(record.raw_data)]
        if len(ids) > 1:
            wanted.update(event for event in ids if event is not None)
            arrived = (record.arrival_timestamp or stored.modified_at * 1000) / 1000
            hours |= {DeliveryHour.of(arrived + shift) for shift in (-3600, 0, 3600)}
    if not wanted:
        return frozenset()
    own = f"redelivered-{_content_id(stored)}.parquet"
    keys = [
        found.key
        for hour in sorted(hours)
        for found in list_objects(s3, bucket, hour.prefix)
        if not found.key.endswith(own)
    ]
    landed: set[str] = set()
    for table in file_columns(filesystem, bucket, keys, [EVENT_ID]):
        if EVENT_ID in table.column_names:
            landed |= wanted.intersection(table.column(EVENT_ID).to_pylist())
    return frozenset(landed)


def _content_id(stored: StoredObject) -> str:
    return hashlib.sha256(f"{stored.key}\0{stored.etag}".encode()).hexdigest()[:32]


def _settle(
    s3: "S3Client",
    bucket: str,
    stored: StoredObject,
    content: ErrorObject,
    waiting: Sequence[FailedRecord],
) -> None:
    """Keep the error object as it was elsewhere, and leave in its place what still waits."""
    s3.copy_object(
        Bucket=bucket,
        CopySource={"Bucket": bucket, "Key": stored.key},
        Key=f"{REDELIVERED_PREFIX}{stored.key}.{_content_id(stored)[:8]}",
    )
    rest = write_error_object(waiting) + b"".join(
        line.content + b"\n" for line in content.corrupt_lines
    )
    if rest:
        s3.put_object(Bucket=bucket, Key=stored.key, Body=rest)
    else:
        s3.delete_object(Bucket=bucket, Key=stored.key)
