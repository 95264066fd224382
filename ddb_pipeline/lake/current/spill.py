"""Rows on their way from a source to their buckets: files with one record batch for each bucket."""

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import Final

import numpy as np
import pyarrow as pa
import pyarrow.fs

from ddb_pipeline.hive.names import KEYS
from ddb_pipeline.lake.current.keys import bucket_numbers

SPILL_BYTES: Final = 48 * 1024 * 1024
"""Rows in memory before they are written."""


@dataclass(frozen=True, slots=True)
class SpilledBatch:
    """The rows of one bucket in a file: the number of the record batch, and of its rows."""

    bucket: int
    path: str
    batch: int
    rows: int


def spill(
    tables: Iterable[pa.Table],
    buckets: int,
    filesystem: pyarrow.fs.FileSystem,
    stem: str,
) -> Iterator[SpilledBatch]:
    """Write tables to files ``<stem>-<number>.arrow``, distributed to buckets by key.

    Rows without a key, which exist while a table's key is not known, are distributed evenly.
    """
    number = 0
    gathered: list[pa.Table] = []
    size = 0
    for table in tables:
        if len(table):
            gathered.append(table)
            size += table.nbytes
        if size >= SPILL_BYTES:
            yield from _write(
                pa.concat_tables(gathered), buckets, filesystem, f"{stem}-{number}.arrow"
            )
            number, gathered, size = number + 1, [], 0
    if gathered:
        yield from _write(pa.concat_tables(gathered), buckets, filesystem, f"{stem}-{number}.arrow")


def read_spilled(
    filesystem: pyarrow.fs.FileSystem, spilled: Sequence[SpilledBatch], schema: pa.Schema
) -> pa.Table:
    """The rows of batches as one table."""
    batches = []
    for batch in spilled:
        with filesystem.open_input_file(batch.path) as source:
            batches.append(pa.ipc.open_file(source).get_batch(batch.batch))
    return pa.Table.from_batches(batches, schema)


def _write(
    table: pa.Table, buckets: int, filesystem: pyarrow.fs.FileSystem, path: str
) -> list[SpilledBatch]:
    table = table.combine_chunks()
    numbers = _numbers(table, buckets)
    order = np.argsort(numbers, kind="stable")
    ends = np.flatnonzero(np.diff(numbers[order], append=-1)) + 1
    rows = []
    options = pa.ipc.IpcWriteOptions(compression="lz4")
    with (
        filesystem.open_output_stream(path) as sink,
        pa.ipc.new_file(sink, table.schema, options=options) as writer,
    ):
        for batch, (start, end) in enumerate(pairwise([0, *ends.tolist()])):
            part = table.take(pa.array(order[start:end])).combine_chunks()
            writer.write_batch(part.to_batches()[0])
            rows.append(SpilledBatch(int(numbers[order[start]]), path, batch, end - start))
    return rows


def _numbers(table: pa.Table, buckets: int) -> np.ndarray[tuple[int], np.dtype[np.int64]]:
    keys = table.column(KEYS)
    if keys.null_count == len(table):
        return np.arange(len(table), dtype=np.int64) % buckets
    return bucket_numbers(keys.combine_chunks(), buckets)
