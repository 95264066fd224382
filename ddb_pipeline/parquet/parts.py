"""Parquet files of a chosen size, written as rows arrive, in one directory for each partition."""

from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any, Final

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.fs
import pyarrow.parquet as pq

from ddb_pipeline.arrow_types import parquet_write_options
from ddb_pipeline.parquet.partition_by import PartitionBy, partitions

MAX_OPEN_FILES: Final = 32
"""Files written at the same time. The stream of an object store buffers some MB of each."""
DICTIONARY_SHARE: Final = 0.5
"""A column is dictionary-encoded if at most this share of a sample's values are distinct. For other
columns Parquet would build a dictionary and then discard it."""
SAMPLE_ROWS: Final = 5_000
SAMPLE_BYTES: Final = 1024 * 1024
"""Most bytes of a column's sample, so that texts of some KB do not cost more than they tell."""
_LISTS: Final = (pa.ListType, pa.LargeListType, pa.FixedSizeListType)


@dataclass(frozen=True, slots=True)
class PartOptions:
    """How Parquet files are written.

    Attributes:
        compression: ``zstd``, ``snappy``, ``gzip``, ``lz4`` or ``none``.
        file_bytes: size at which a file is closed and another is started.
        row_group_bytes: Arrow data, before encoding, that a writer holds in memory over all its
            files before it writes a row group; with many partitions row groups are smaller.
        partition_by: how rows are distributed to directories; None for no directories.
        arrow_types: write Arrow's own types, which only Arrow's readers restore (time zones,
            nanoseconds, dictionaries), instead of those that every reader of the lake has.
        int96: as in ``parquet_write_options``; only without ``arrow_types``.
    """

    compression: str = "zstd"
    file_bytes: int = 256 * 1024 * 1024
    row_group_bytes: int = 48 * 1024 * 1024
    partition_by: PartitionBy | None = None
    arrow_types: bool = False
    int96: bool = True


@dataclass(frozen=True, slots=True)
class Part:
    """A complete Parquet file; ``path`` is relative to the dataset, ``size`` in bytes."""

    path: str
    rows: int
    size: int


class PartWriter:
    """Writes the rows of one task. Not thread-safe.

    Attributes:
        parts: the files that are complete.
    """

    def __init__(
        self, filesystem: pyarrow.fs.FileSystem, folder: str, stem: str, options: PartOptions
    ) -> None:
        self._filesystem = filesystem
        self._folder = folder
        self._stem = stem
        self._options = options
        self._open: dict[str, _OpenPart] = {}
        """By directory; the one that was written to least recently is first."""
        self._numbers: Counter[str] = Counter()
        self._buffered = 0
        self.parts: list[Part] = []

    def write(self, table: pa.Table) -> None:
        """Add rows to the files of their partitions."""
        for directory, rows in self._partitioned(table):
            if not len(rows):
                continue
            part = self._open.pop(directory, None) or self._begin(directory, rows.schema)
            self._open[directory] = part
            self._buffered += part.add(rows)
            while self._buffered >= self._options.row_group_bytes:
                self._flush_largest()

    def close(self) -> list[Part]:
        """Close all files and return all that were written."""
        for directory in sorted(self._open):
            self._end(directory)
        return self.parts

    def abort(self) -> None:
        """Discard the open files; no report refers to them."""
        for part in self._open.values():
            part.abort()
        self._open.clear()

    def _partitioned(self, table: pa.Table) -> Iterator[tuple[str, pa.Table]]:
        by = self._options.partition_by
        return iter([("", table)]) if by is None else partitions(table, by)

    def _begin(self, directory: str, schema: pa.Schema) -> "_OpenPart":
        if len(self._open) >= MAX_OPEN_FILES:
            self._end(next(iter(self._open)))
        number = self._numbers[directory]
        self._numbers[directory] += 1
        path = "/".join(filter(None, (directory, f"{self._stem}-{number:04d}.parquet")))
        full = f"{self._folder}/{path}"
        self._filesystem.create_dir(full.rpartition("/")[0], recursive=True)
        sink = self._filesystem.open_output_stream(full)
        return _OpenPart(path, sink, schema, self._options)

    def _flush_largest(self) -> None:
        directory, part = max(self._open.items(), key=lambda entry: entry[1].buffered)
        self._buffered -= part.flush()
        if part.size >= self._options.file_bytes:
            self._end(directory)

    def _end(self, directory: str) -> None:
        part = self._open.pop(directory)
        self._buffered -= part.buffered
        self.parts.append(part.close())


class _OpenPart:
    """A file being written: rows are buffered until they make a row group."""

    def __init__(
        self, path: str, sink: pa.NativeFile, schema: pa.Schema, options: PartOptions
    ) -> None:
        self._path = path
        self._sink = sink
        self._schema = schema
        self._options = options
        self._writer: pq.ParquetWriter | None = None
        self._tables: list[pa.Table] = []
        self.buffered = 0
        self._rows = 0

    @property
    def size(self) -> int:
        return int(self._sink.tell())

    def add(self, table: pa.Table) -> int:
        """Buffer rows for the next row group and return their size in bytes."""
        size = int(table.nbytes)
        self._tables.append(table)
        self.buffered += size
        return size

    def flush(self) -> int:
        """Write the buffered rows as a row group and return the number of bytes freed."""
        freed, self.buffered = self.buffered, 0
        if self._tables:
            table = pa.concat_tables(self._tables)
            self._tables.clear()
            if self._writer is None:
                self._writer = pq.ParquetWriter(
                    self._sink, self._schema, **self._writer_options(table)
                )
            self._writer.write_table(table, row_group_size=len(table))
            self._rows += len(table)
        return freed

    def close(self) -> Part:
        self.flush()
        if self._writer is not None:
            self._writer.close()
        size = self.size
        self._sink.close()
        return Part(self._path, self._rows, size)

    def abort(self) -> None:
        self._tables.clear()
        self._sink.close()

    def _writer_options(self, table: pa.Table) -> dict[str, Any]:
        return {
            "compression": self._options.compression,
            "use_dictionary": repeating_columns(table.slice(0, SAMPLE_ROWS)),
            **self._types(),
        }

    def _types(self) -> dict[str, Any]:
        if self._options.arrow_types:
            return {}
        return parquet_write_options(int96=self._options.int96)


def repeating_columns(sample: pa.Table) -> list[str] | bool:
    """Paths of the Parquet columns with enough repeated values for a dictionary; False if none."""
    found = [
        path
        for field, column in zip(sample.schema, sample.columns, strict=True)
        for path, leaf in leaves(field.name, _few_bytes(column).combine_chunks())
        if _repeats(leaf)
    ]
    return found or False


def _few_bytes(column: pa.ChunkedArray) -> pa.ChunkedArray:
    """The begin of a column of large values: only a sample of it is looked at."""
    if pa.types.is_nested(column.type):
        return column
    return column.slice(0, max(1, len(column) * SAMPLE_BYTES // max(SAMPLE_BYTES, column.nbytes)))


def leaves(path: str, array: pa.Array) -> Iterator[tuple[str, pa.Array]]:
    """The primitive values inside a column, by their paths in the Parquet schema."""
    kind = array.type
    if pa.types.is_struct(kind):
        for position, field in enumerate(kind):
            yield from leaves(f"{path}.{field.name}", array.field(position))
    elif pa.types.is_map(kind):
        yield from leaves(f"{path}.key_value.key", array.keys)
        yield from leaves(f"{path}.key_value.value", array.items)
    elif isinstance(kind, _LISTS):
        yield from leaves(f"{path}.list.element", array.flatten())
    else:
        yield path, array


def _repeats(values: pa.Array) -> bool:
    present = len(values) - values.null_count
    if pa.types.is_boolean(values.type) or not present:
        return False
    if pa.types.is_dictionary(values.type):
        return True
    if isinstance(values, pa.ExtensionArray):
        values = values.storage
    sample = max(1, len(values) * SAMPLE_BYTES // max(SAMPLE_BYTES, values.nbytes))
    if sample < len(values):
        values = values.slice(0, sample)
        present = sample - values.null_count
    distinct: int = pc.count_distinct(values).as_py()
    return bool(0 < distinct <= DICTIONARY_SHARE * present)


def total_rows(parts: Sequence[Part]) -> int:
    """Number of rows in all files."""
    return sum(part.rows for part in parts)
