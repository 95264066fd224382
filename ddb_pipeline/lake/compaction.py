"""Compaction: the raw objects of a closed delivery hour become few files, sorted by key.

A generation holds the rows of the one before it and of the raw objects that it does not hold yet:
an object that arrives late re-opens its hour, and a raw object that was removed since leaves its
rows there. All files of a generation have the lake table's columns. Rows are sorted by the item's
key (as text), then by sequence number; of rows with one event id the one delivered last is kept.

The files are written to a folder of their own, then the generation is committed, then the caller
has the catalog read it. Any number of compactions of an hour may run at a time, and each may stop
at any step: one commit wins, and the next compaction does what is left. One that stops between
its commit and the write of the catalog, while another compacts later objects, and then goes on,
shows readers its older generation until it has looked again, right after that write.
"""

import secrets
import time
from collections import deque
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.fs
import pyarrow.parquet as pq

from ddb_pipeline.arrow_types import arrow_schema
from ddb_pipeline.errors import DdbPipelineError
from ddb_pipeline.hive.names import EVENT_ID, KEYS, SEQUENCE_NUMBER
from ddb_pipeline.hive.types import Column
from ddb_pipeline.lake.compacted_hours import note_compaction
from ddb_pipeline.lake.hour_generations import (
    Generation,
    commit_generation,
    read_generation,
    source_digest,
    uncovered,
)
from ddb_pipeline.lake.layout import DeliveryHour
from ddb_pipeline.lake.objects import StoredObject, list_objects
from ddb_pipeline.lake.root import LakeRoot
from ddb_pipeline.parquet.casting import TypeConflictError, cast_table
from ddb_pipeline.parquet.external_sort import (
    DEFAULT_MEMORY_BYTES,
    SORT_ID,
    SORT_KEY,
    SORT_POSITION,
    ExternalSort,
)
from ddb_pipeline.parquet.parts import PartOptions, PartWriter

if TYPE_CHECKING:
    from mypy_boto3_s3.client import S3Client

MAX_ROUNDS = 10
"""Generations that one call writes, or finds committed by another, before it gives up."""
READERS = 8
"""Small objects read at the same time."""
SMALL_BYTES = 1024 * 1024
"""Objects up to this size are read whole, larger ones some rows at a time."""
BATCH_ROWS = 8_192
ROW_GROUP_BYTES = 32 * 1024 * 1024
SEQUENCE_DIGITS = 40
"""The most digits that a sequence number has (DynamoDB Streams API reference, StreamRecord)."""
POSITION_DIGITS = 20


class CompactionError(DdbPipelineError):
    """An hour cannot be compacted; its raw objects and its current generation stay as they are."""


@dataclass(frozen=True, slots=True)
class CompactionOptions:
    """How an hour is compacted.

    Attributes:
        key_columns: the columns of the item's key, for rows without ``ddb_keys``.
        file_bytes: size at which a file is closed and another is started.
        memory_bytes: rows in memory while they are sorted.
        compression, int96: as in ``PartOptions``.
    """

    key_columns: tuple[str, ...] = ()
    file_bytes: int = 256 * 1024 * 1024
    memory_bytes: int = DEFAULT_MEMORY_BYTES
    compression: str = "zstd"
    int96: bool = True


@dataclass(frozen=True, slots=True)
class Lake:
    """Where the hours are, and how boto3 and pyarrow access it."""

    s3: "S3Client"
    filesystem: pyarrow.fs.FileSystem
    root: LakeRoot


@dataclass(frozen=True, slots=True)
class Compaction:
    """What a compaction did.

    Attributes:
        generation: the hour's current generation.
        objects: number of raw objects whose rows were added.
        read_bytes: the bytes of these.
        raw: the raw objects of the hour, all of whose rows the generation has.
    """

    generation: Generation
    objects: int
    read_bytes: int
    raw: tuple[StoredObject, ...]


def compact_hour(
    lake: Lake,
    hour: DeliveryHour,
    columns: Callable[[], Sequence[Column]],
    switch: Callable[[Generation], None],
    options: CompactionOptions | None = None,
) -> Compaction | None:
    """Bring an hour's rows into one generation with these columns, and have readers switch to it.

    Does nothing but ``switch`` where the current generation has all rows and these columns.

    Args:
        columns: returns the lake table's columns; called before each generation.
        switch: has readers read a committed generation; it may be called again for the same one.

    Returns None where the hour has no objects.

    Raises:
        CompactionError: an object cannot be read, or its types do not fit the columns.
    """
    objects = read_bytes = 0
    switched = ""
    for _ in range(MAX_ROUNDS):
        # Listed first, as in ``hour_objects``.
        raw = list(list_objects(lake.s3, lake.root, hour.prefix))
        current, etag = read_generation(lake.s3, lake.root, hour)
        new = uncovered(raw, current)
        wanted = tuple(columns())
        if not new and current is None:
            return None
        if new or current is None or current.columns != wanted:
            generation = write_generation(lake, hour, current, new, wanted, options)
            if commit_generation(lake.s3, lake.root, hour, generation, etag):
                objects += len(new)
                read_bytes += sum(stored.size for stored in new)
        elif current.folder == switched:
            return Compaction(current, objects, read_bytes, tuple(raw))
        else:
            switch(current)
            switched = current.folder
    raise CompactionError(
        f"Objects of the hour {hour.partition_key} arrive, or other compactions of it end, faster "
        "than it is compacted. Run it again later."
    )


def write_generation(
    lake: Lake,
    hour: DeliveryHour,
    base: Generation | None,
    new: Sequence[StoredObject],
    columns: tuple[Column, ...],
    options: CompactionOptions | None = None,
) -> Generation:
    """Write the rows of a generation and of further raw objects as a new generation.

    Raises:
        CompactionError: an object cannot be read, or its types do not fit the columns.
    """
    options = options or CompactionOptions()
    number = base.number + 1 if base else 1
    folder = f"{number:06d}-{secrets.token_hex(4)}"
    note_compaction(lake.s3, lake.root, hour, folder)
    writer = PartWriter(
        lake.filesystem,
        lake.root.path(f"{hour.compacted_prefix}{folder}"),
        "part",
        PartOptions(options.compression, options.file_bytes, ROW_GROUP_BYTES, int96=options.int96),
    )
    small = [(stored.key, stored.size) for stored in new]
    inputs = [*_inputs(hour, base), *small]
    read = 0
    with ExternalSort(options.memory_bytes) as sort:
        try:
            schema = arrow_schema(columns)
            for key, table in object_tables(lake, inputs):
                try:
                    rows = cast_table(table, schema)
                except (TypeConflictError, pa.ArrowInvalid) as error:
                    raise CompactionError(f"{hour.partition_key}, object {key}: {error}") from error
                sort.add(with_sort_columns(rows, options.key_columns, read))
                read += len(rows)
            for rows in sort.sorted():
                writer.write(rows)
        except BaseException:
            writer.abort()
            raise
        parts, repeats = tuple(writer.close()), sort.repeats
    generation = Generation(
        number,
        folder,
        parts,
        columns,
        (base.sources if base else frozenset()) | {source_digest(stored) for stored in new},
        repeats + (base.repeats if base else 0),
        time.time(),
    )
    if generation.rows + repeats != read:
        raise CompactionError(
            f"{hour.partition_key}: {read} rows were read, but {generation.rows} written and "
            f"{repeats} left out as repeats. This is a bug; nothing was changed."
        )
    return generation


def _inputs(hour: DeliveryHour, base: Generation | None) -> list[tuple[str, int]]:
    """The keys and sizes of a generation's files."""
    if base is None:
        return []
    sizes = [part.size for part in base.files]
    return list(zip(base.keys(hour), sizes, strict=True))


def object_tables(lake: Lake, objects: Sequence[tuple[str, int]]) -> Iterator[tuple[str, pa.Table]]:
    """The rows of Parquet objects, given by key and size, in the order of the objects.

    Raises:
        CompactionError: an object is not Parquet, or is gone.
    """
    ahead: deque[tuple[str, Future[pa.Table] | None]] = deque()
    waiting = iter(objects)
    with ThreadPoolExecutor(READERS, thread_name_prefix="compact") as pool:
        while True:
            while len(ahead) < READERS and (entry := next(waiting, None)):
                key, size = entry
                future = pool.submit(_whole, lake, key) if size <= SMALL_BYTES else None
                ahead.append((key, future))
            if not ahead:
                return
            key, future = ahead.popleft()
            try:
                if future is not None:
                    yield key, future.result()
                else:
                    for table in _batches(lake, key):
                        yield key, table
            except (pa.ArrowException, OSError) as error:
                raise CompactionError(
                    f"{lake.root.uri(key)} cannot be read as Parquet: {error}"
                ) from error


def _whole(lake: Lake, key: str) -> pa.Table:
    with _opened(lake, key) as parquet:
        return parquet.read(use_threads=False)


def _batches(lake: Lake, key: str) -> Iterator[pa.Table]:
    with _opened(lake, key) as parquet:
        for batch in parquet.iter_batches(BATCH_ROWS, use_threads=False):
            yield pa.Table.from_batches([batch])


def _opened(lake: Lake, key: str) -> pq.ParquetFile:
    # Nanoseconds, the default, end in the year 2262.
    return pq.ParquetFile(
        lake.root.path(key), filesystem=lake.filesystem, coerce_int96_timestamp_unit="us"
    )


def with_sort_columns(table: pa.Table, key_columns: Sequence[str], first: int) -> pa.Table:
    """Add the columns by which rows are sorted; ``first`` is the position of the first row."""
    positions = pa.array(np.arange(first, first + len(table)))
    padded = pc.utf8_lpad(positions.cast(pa.string()), POSITION_DIGITS, "0")
    sequence = pc.utf8_lpad(_texts(table, SEQUENCE_NUMBER), SEQUENCE_DIGITS, "0")
    event = _texts(table, EVENT_ID)
    # Rows without an event id are never repeats of each other.
    identity = pc.if_else(
        pc.equal(event, ""),
        pc.binary_join_element_wise(sequence, padded, "\0p"),
        pc.binary_join_element_wise(sequence, event, "\0e"),
    )
    parts = [_texts(table, name) for name in key_columns]
    separator = "\0"
    key = pc.binary_join_element_wise(*parts, separator) if parts else _texts(table, "")
    keys = _texts(table, KEYS)
    key = pc.if_else(pc.equal(keys, ""), key, keys)
    for name, column in ((SORT_KEY, key), (SORT_ID, identity), (SORT_POSITION, positions)):
        table = table.append_column(name, column)
    return table


def _texts(table: pa.Table, name: str) -> pa.ChunkedArray | pa.Array:
    """A column as texts, empty where it is null or missing, or not a single value."""
    if name not in table.column_names or pa.types.is_nested(table.schema.field(name).type):
        return pa.array([""] * len(table), pa.string())
    column = table.column(name)
    if pa.types.is_binary(column.type):
        column = pa.chunked_array([pa.array([v and v.hex() for v in column.to_pylist()])])
    return pc.fill_null(column.cast(pa.string()), "").combine_chunks()
