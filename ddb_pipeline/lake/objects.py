"""What lies in the lake: objects, rows and columns, read from keys and Parquet footers."""

from collections.abc import Iterable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from datetime import datetime
from typing import TYPE_CHECKING

import pyarrow as pa
import pyarrow.fs
import pyarrow.parquet as pq

from ddb_pipeline.lake.layout import DeliveryHour, hour_of_key

if TYPE_CHECKING:
    from mypy_boto3_s3.client import S3Client

FOOTER_READERS = 16


@dataclass(frozen=True, slots=True)
class StoredObject:
    """An object in the lake's bucket; ``size`` in bytes, ``modified_at`` in epoch seconds."""

    key: str
    size: int
    etag: str
    modified_at: float


@dataclass(frozen=True, slots=True)
class HourStatistics:
    """What one hour of the lake holds."""

    hour: DeliveryHour
    objects: tuple[StoredObject, ...]
    rows: int

    @property
    def size(self) -> int:
        return sum(stored.size for stored in self.objects)


def list_objects(
    s3: "S3Client", bucket: str, prefix: str, *, limit: int | None = None
) -> Iterator[StoredObject]:
    """The objects under a prefix in key order, at most ``limit``; empty ones are left out."""
    count = 0
    for page in s3.get_paginator("list_objects_v2").paginate(Bucket=bucket, Prefix=prefix):
        for entry in page.get("Contents", ()):
            if not entry["Size"] or entry["Key"].endswith("/"):
                continue
            yield StoredObject(
                entry["Key"],
                entry["Size"],
                entry["ETag"].strip('"'),
                _epoch(entry["LastModified"]),
            )
            count += 1
            if limit is not None and count >= limit:
                return


def _epoch(moment: datetime) -> float:
    return moment.timestamp()


def objects_by_hour(objects: Iterable[StoredObject]) -> dict[DeliveryHour, list[StoredObject]]:
    """Objects under the hour their key names; those of no hour are left out."""
    hours: dict[DeliveryHour, list[StoredObject]] = {}
    for stored in objects:
        hour = hour_of_key(stored.key)
        if hour is not None:
            hours.setdefault(hour, []).append(stored)
    return hours


def count_rows(filesystem: pyarrow.fs.FileSystem, bucket: str, keys: Sequence[str]) -> int:
    """Rows of Parquet objects by their footers alone."""

    def rows(key: str) -> int:
        return int(pq.read_metadata(f"{bucket}/{key}", filesystem=filesystem).num_rows)

    with ThreadPoolExecutor(FOOTER_READERS, thread_name_prefix="footer") as pool:
        return sum(pool.map(rows, keys))


def hour_statistics(
    s3: "S3Client", filesystem: pyarrow.fs.FileSystem, bucket: str, hour: DeliveryHour
) -> HourStatistics:
    """List one hour and count its rows."""
    objects = tuple(list_objects(s3, bucket, hour.prefix))
    return HourStatistics(hour, objects, count_rows(filesystem, bucket, [o.key for o in objects]))


def read_columns(
    filesystem: pyarrow.fs.FileSystem, bucket: str, keys: Sequence[str], columns: Sequence[str]
) -> Iterator[pa.Table]:
    """The given columns of each Parquet object, those of them that it has."""
    for key in keys:
        with pq.ParquetFile(f"{bucket}/{key}", filesystem=filesystem) as parquet:
            present = [name for name in columns if name in parquet.schema_arrow.names]
            yield parquet.read(columns=present)
