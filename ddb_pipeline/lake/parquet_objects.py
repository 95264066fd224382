"""Parquet objects of the lake: row counts from their footers, and single columns."""

from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import TYPE_CHECKING

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.fs
import pyarrow.parquet as pq

from ddb_pipeline.lake.layout import DeliveryHour
from ddb_pipeline.lake.objects import StoredObject, list_objects
from ddb_pipeline.lake.root import LakeRoot

if TYPE_CHECKING:
    from mypy_boto3_s3.client import S3Client

FOOTER_READERS = 16
"""Footers read at the same time."""
BATCH_ROWS = 20_000
"""Rows of a column in memory at a time."""


@dataclass(frozen=True, slots=True)
class HourStatistics:
    """The objects and the number of rows of one delivery hour."""

    objects: tuple[StoredObject, ...]
    rows: int

    @property
    def size(self) -> int:
        """Bytes of all objects together."""
        return sum(stored.size for stored in self.objects)


def count_rows(filesystem: pyarrow.fs.FileSystem, lake: LakeRoot, keys: Sequence[str]) -> int:
    """Count the rows of Parquet objects; reads nothing but their footers."""

    def rows(key: str) -> int:
        return int(pq.read_metadata(lake.path(key), filesystem=filesystem).num_rows)

    with ThreadPoolExecutor(FOOTER_READERS, thread_name_prefix="footer") as pool:
        return sum(pool.map(rows, keys))


def hour_statistics(
    s3: "S3Client", filesystem: pyarrow.fs.FileSystem, lake: LakeRoot, hour: DeliveryHour
) -> HourStatistics:
    """List the objects of one delivery hour and count their rows."""
    objects = tuple(list_objects(s3, lake, hour.prefix))
    return HourStatistics(objects, count_rows(filesystem, lake, [o.key for o in objects]))


def delivery_lag(
    filesystem: pyarrow.fs.FileSystem, lake: LakeRoot, stored: StoredObject, time_column: str
) -> float | None:
    """The seconds from the oldest change in a Parquet object to when the object was written.

    None where it has no such column of timestamps, or no value in it.
    """
    oldest = None
    for batch in column_batches(filesystem, lake, stored.key, [time_column]):
        [times] = batch.columns
        if not pa.types.is_timestamp(times.type):
            return None
        found = pc.min(times.cast(pa.timestamp("us"))).value
        if found is not None:
            oldest = found if oldest is None else min(oldest, found)
    return None if oldest is None else stored.modified_at - oldest / 1e6


def file_columns(
    filesystem: pyarrow.fs.FileSystem, lake: LakeRoot, keys: Sequence[str], columns: Sequence[str]
) -> Iterator[pa.Table]:
    """For each Parquet object a table of those of ``columns`` that it has."""
    for key in keys:
        with pq.ParquetFile(lake.path(key), filesystem=filesystem) as parquet:
            present = [name for name in columns if name in parquet.schema_arrow.names]
            yield parquet.read(columns=present)


def column_batches(
    filesystem: pyarrow.fs.FileSystem, lake: LakeRoot, key: str, columns: Sequence[str]
) -> Iterator[pa.RecordBatch]:
    """The columns of a Parquet object, some rows at a time; nothing where it lacks one of them."""
    with pq.ParquetFile(lake.path(key), filesystem=filesystem) as parquet:
        if set(columns) <= set(parquet.schema_arrow.names):
            yield from parquet.iter_batches(batch_size=BATCH_ROWS, columns=list(columns))
