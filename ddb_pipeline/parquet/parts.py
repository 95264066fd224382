"""Parquet files of a chosen size, written as rows come, one directory a partition."""

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
"""An object store's stream holds some MB of what it has not sent yet."""
DICTIONARY_SHARE: Final = 0.5
"""A column is dictionary-encoded if at most this share of a sample's values are distinct: for the
others Parquet would build a dictionary only to give it up."""
SAMPLE_ROWS: Final = 5_000


@dataclass(frozen=True, slots=True)
class PartOptions:
    """How Parquet files are written.

    Attributes:
        compression: ``zstd``, ``snappy``, ``gzip``, ``lz4`` or ``none``.
        file_bytes: size from which on a file is ended and another begun.
        row_group_bytes: of Arrow data that make a row group, before encoding; also what a writer
            holds in memory, so that with many partitions row groups are smaller.
        partition_by: directories to deal the rows out to; None for none.
    """

    compression: str = "zstd"
    file_bytes: int = 256 * 1024 * 1024
    row_group_bytes: int = 48 * 1024 * 1024
    partition_by: PartitionBy | None = None


@dataclass(frozen=True, slots=True)
class Part:
    """A Parquet file that is complete; ``path`` is relative to the dataset."""

    path: str
    rows: int
    size: int


class PartWriter:
    """Writes the rows of one task. Not for several threads at once."""

    def __init__(
        self, filesystem: pyarrow.fs.FileSystem, folder: str, stem: str, options: PartOptions
    ) -> None:
        self._filesystem = filesystem
        self._folder = folder
        self._stem = stem
        self._options = options
        self._open: dict[str, _OpenPart] = {}
        """By directory, the one that was written to least recently first."""
        self._numbers: Counter[str] = Counter()
        self._buffered = 0
        self.parts: list[Part] = []

    def write(self, table: pa.Table) -> None:
        """Add rows, to files of their partitions."""
        for directory, rows in self._dealt_out(table):
            if not len(rows):
                continue
            part = self._open.pop(directory, None) or self._begin(directory, rows.schema)
            self._open[directory] = part
            self._buffered += part.add(rows)
            while self._buffered >= self._options.row_group_bytes:
                self._flush_largest()

    def close(self) -> list[Part]:
        """End all files; answers with all that were written."""
        for directory in sorted(self._open):
            self._end(directory)
        return self.parts

    def abort(self) -> None:
        """Give up what is open; nothing refers to such files."""
        for part in self._open.values():
            part.abort()
        self._open.clear()

    def _dealt_out(self, table: pa.Table) -> Iterator[tuple[str, pa.Table]]:
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
    """A file being written: row groups gathered until they are large enough."""

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
        """Keep rows for the next row group; answers with their bytes."""
        size = int(table.nbytes)
        self._tables.append(table)
        self.buffered += size
        return size

    def flush(self) -> int:
        """Write a row group of what was kept; answers with the bytes that are free again."""
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
            **parquet_write_options(),
        }


def repeating_columns(sample: pa.Table) -> list[str] | bool:
    """Paths of the Parquet columns whose values come again often enough for a dictionary."""
    found = [
        path
        for field, column in zip(sample.schema, sample.columns, strict=True)
        for path, leaf in leaves(field.name, column.combine_chunks())
        if _repeats(leaf)
    ]
    return found or False


def leaves(path: str, array: pa.Array) -> Iterator[tuple[str, pa.Array]]:
    """The single values inside a column, by their paths in Parquet's schema."""
    kind = array.type
    if pa.types.is_struct(kind):
        for position, field in enumerate(kind):
            yield from leaves(f"{path}.{field.name}", array.field(position))
    elif pa.types.is_map(kind):
        yield from leaves(f"{path}.key_value.key", array.keys)
        yield from leaves(f"{path}.key_value.value", array.items)
    elif pa.types.is_list(kind):
        yield from leaves(f"{path}.list.element", array.flatten())
    else:
        yield path, array


def _repeats(values: pa.Array) -> bool:
    there = len(values) - values.null_count
    if pa.types.is_boolean(values.type) or not there:
        return False
    distinct: int = pc.count_distinct(values).as_py()
    return bool(distinct <= DICTIONARY_SHARE * there)


def total_rows(parts: Sequence[Part]) -> int:
    return sum(part.rows for part in parts)
