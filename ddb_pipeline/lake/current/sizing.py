"""How many buckets a view has: as many as hold each in the memory of one worker."""

from collections.abc import Sequence
from typing import Final

from ddb_pipeline.hive.types import Column
from ddb_pipeline.lake.current.manifest import BucketFile
from ddb_pipeline.lake.current.sources import Source

BUCKET_BYTES: Final = 96 * 1024 * 1024
"""Size of a bucket's rows in memory that a new view aims at."""
MAX_BUCKET_BYTES: Final = 2 * BUCKET_BYTES
"""Size of a bucket from which on a view gets twice the buckets."""
MAX_BUCKETS: Final = 8192
ESTIMATED_ROW_BYTES: Final = 500
"""Bytes in memory of an incoming row, before it is read."""


def bucket_count(wanted: int | None, files: Sequence[BucketFile], memory: int) -> int:
    """The number of buckets of the next version.

    Args:
        wanted: the number that the user gave, if any.
        files: the buckets of the current version.
        memory: estimate of the size in memory of all items of an incoming full export; 0 if there
            is none.
    """
    if wanted is not None:
        return wanted
    if not files:
        return _doubled(1, memory, BUCKET_BYTES)
    buckets = len(files)
    if max(file.memory for file in files) > MAX_BUCKET_BYTES:
        buckets = _doubled(buckets, sum(file.memory for file in files), BUCKET_BYTES)
    return _doubled(buckets, memory, MAX_BUCKET_BYTES)


def merge_bytes(files: Sequence[BucketFile], sources: Sequence[Source]) -> int:
    """An estimate of the bytes that an update merges: of the buckets with changes, and of these.

    Args:
        files: the buckets of the current version.
        sources: the incoming rows.
    """
    arriving = sum(source.rows for source in sources)
    touched = min(len(files), arriving) / max(len(files), 1)
    return round(sum(file.memory for file in files) * touched) + arriving * ESTIMATED_ROW_BYTES


def _doubled(buckets: int, size: int, target: int) -> int:
    while size > buckets * target and buckets < MAX_BUCKETS:
        buckets *= 2
    return buckets


def estimated_memory(sources: Sequence[Source], columns: Sequence[Column]) -> int:
    """The size of all rows of sources in memory, from a sample of the largest source."""
    rows = sum(source.rows for source in sources)
    if not rows:
        return 0
    largest = max(sources, key=lambda source: source.rows)
    for table in largest.tables(columns):
        if len(table):
            return int(table.nbytes / len(table) * rows)
    return 0
