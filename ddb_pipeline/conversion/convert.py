"""Many Firehose records → one Parquet object and the records that failed.

A record holds one JSON document or several, one after the other. One bad record never fails its
neighbours; a schema that cannot be used fails all of them, as Firehose does. The batch is
converted in chunks: the fast path reads a chunk whole, and what it will not vouch for goes record
by record through the SerDe, so that the result is always the SerDe's.
"""

from __future__ import annotations

import io
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any, Final

import pyarrow as pa
import pyarrow.parquet as pq

from ddb_pipeline.arrow_types import NoParquetTypeError, arrow_schema, parquet_write_options
from ddb_pipeline.conversion.fast import FastReader, json_line
from ddb_pipeline.conversion.options import (
    ConversionOptions,
    HiveJsonOptions,
    ParquetOptions,
)
from ddb_pipeline.conversion.serde.base import JsonSerDe
from ddb_pipeline.conversion.serde.errors import ConversionError, invalid_schema
from ddb_pipeline.conversion.serde.hive_json import HiveJsonSerDe
from ddb_pipeline.conversion.serde.openx import OpenXJsonSerDe
from ddb_pipeline.hive.types import Column, StructType, parse_type, walk

CHUNK_BYTES: Final = 1024 * 1024
"""Input converted at a time; bounds what one bad record costs and what Python objects live."""

PIECE_BYTES: Final = 128 * 1024
"""What a chunk that the fast path will not take is cut into."""

MAX_ROW_GROUP_BYTES: Final = 128 * 1024 * 1024
"""Arrow bytes held before a row group is written, whatever larger block size is configured."""


@dataclass(frozen=True, slots=True)
class RecordFailure:
    """A record that did not convert: its index in the batch, Firehose's code and message."""

    index: int
    code: str
    message: str


@dataclass(frozen=True, slots=True)
class ConvertedBatch:
    """``parquet`` is None when no row came of the batch. Failures are in record order."""

    parquet: bytes | None
    rows: int
    failures: tuple[RecordFailure, ...]


def convert(
    records: Sequence[bytes],
    columns: Sequence[Column | tuple[str, str]],
    options: ConversionOptions | None = None,
) -> ConvertedBatch:
    """Convert a batch of records under the columns of a catalog table.

    Never raises for what is in the records or the columns: a schema that cannot be used fails
    every record with InvalidSchema.
    """
    chosen = options or ConversionOptions()
    try:
        converter = _Converter(columns, chosen)
    except ConversionError as error:
        return fail_all(records, error.code, error.message)
    return converter.convert(records)


def fail_all(records: Sequence[bytes], code: str, message: str) -> ConvertedBatch:
    """A batch of which every record failed for one reason, such as a schema that is not there."""
    failures = (RecordFailure(index, code, message) for index in range(len(records)))
    return ConvertedBatch(None, 0, tuple(failures))


class _Converter:
    def __init__(
        self, columns: Sequence[Column | tuple[str, str]], options: ConversionOptions
    ) -> None:
        self._options = options
        self._serde = _serde(columns, options)
        _require_distinct_names(columns)
        try:
            self._schema = arrow_schema(columns)
        except NoParquetTypeError as error:
            raise invalid_schema(error.reason) from error
        self._fast = self._fast_reader(columns)
        self._pause = _Pause()

    def _fast_reader(self, columns: Sequence[Column | tuple[str, str]]) -> FastReader | None:
        if not self._options.fast_path or self._options.decimals == "convert":
            return None
        return FastReader.of(columns, self._schema, self._options.deserializer)

    def convert(self, records: Sequence[bytes]) -> ConvertedBatch:
        failures: list[RecordFailure] = []
        writer = _ParquetObject(self._schema, self._options.parquet)
        for start, stop in _chunks(records, 0, len(records), CHUNK_BYTES):
            for table in self._tables(records, start, stop, failures):
                writer.write(table)
        return ConvertedBatch(writer.finish(), writer.rows, tuple(failures))

    def _tables(
        self, records: Sequence[bytes], start: int, stop: int, failures: list[RecordFailure]
    ) -> Iterator[pa.Table]:
        """The rows of a chunk: whole if the fast path takes it, else in pieces it may take."""
        if self._fast is None or self._pause.holds():
            yield self._slow_table(records, start, stop, failures)
            return
        lines = [json_line(record) for record in records[start:stop]]
        table = self._fast_table(lines)
        if table is not None:
            yield table
            return
        pieces = list(_chunks(records, start, stop, PIECE_BYTES))
        taken = 0
        for first, last in pieces:
            table = self._fast_table(lines[first - start : last - start])
            taken += table is not None
            yield self._slow_table(records, first, last, failures) if table is None else table
        self._pause.note(worth_it=taken * 2 >= len(pieces))

    def _fast_table(self, lines: Sequence[bytes | None]) -> pa.Table | None:
        plain = [line for line in lines if line is not None]
        if self._fast is None or len(plain) < len(lines):
            return None
        return self._fast.read(plain)

    def _slow_table(
        self, records: Sequence[bytes], start: int, stop: int, failures: list[RecordFailure]
    ) -> pa.Table:
        return rows_table(self._rows(records[start:stop], start, failures), self._schema)

    def _rows(
        self, chunk: Sequence[bytes], start: int, failures: list[RecordFailure]
    ) -> list[dict[str, Any]]:
        rows: list[dict[str, Any]] = []
        for index, record in enumerate(chunk, start):
            landed = [*self._serde.outcomes(record)]
            error = next((found for found in landed if isinstance(found, ConversionError)), None)
            if error is not None:
                failures.append(RecordFailure(index, error.code, error.message))
                if self._options.packed_failure == "record":
                    continue
            rows.extend(found for found in landed if not isinstance(found, ConversionError))
        return rows


def _require_distinct_names(columns: Sequence[Column | tuple[str, str]]) -> None:
    """A row, or a struct in it, cannot hold two values under one name."""
    names = [[name for name, _ in columns]]
    for _, type_text in columns:
        for inner in walk(parse_type(type_text)):
            if isinstance(inner, StructType):
                names.append([name for name, _ in inner.fields])
    for name, count in (pair for siblings in names for pair in Counter(siblings).items()):
        if count > 1:
            raise invalid_schema(f"Name {name} is declared twice")


class _Pause:
    """Keeps the fast path from being tried in vain where most of the data is not for it.

    After each chunk that was not worth trying, twice as many are left to the SerDe as before.
    """

    def __init__(self) -> None:
        self._length = 0
        self._left = 0

    def holds(self) -> bool:
        if self._left:
            self._left -= 1
            return True
        return False

    def note(self, *, worth_it: bool) -> None:
        self._length = 0 if worth_it else min(self._length * 2 or 4, 64)
        self._left = self._length


def _serde(columns: Sequence[Column | tuple[str, str]], options: ConversionOptions) -> JsonSerDe:
    deserializer = options.deserializer
    if isinstance(deserializer, HiveJsonOptions):
        return HiveJsonSerDe(columns, timestamp_formats=deserializer.timestamp_formats)
    return OpenXJsonSerDe(
        columns,
        case_insensitive=deserializer.case_insensitive,
        convert_dots=deserializer.convert_dots,
        column_to_json_key=deserializer.column_to_json_key,
        decimals=options.decimals,
    )


def _chunks(
    records: Sequence[bytes], start: int, stop: int, chunk_bytes: int
) -> Iterator[tuple[int, int]]:
    """Index ranges of about ``chunk_bytes``, one record at least, that cover start to stop."""
    size = 0
    for index in range(start, stop):
        if size and size + len(records[index]) > chunk_bytes:
            yield start, index
            start, size = index, 0
        size += len(records[index])
    if start < stop:
        yield start, stop


def rows_table(rows: Sequence[dict[str, Any]], schema: pa.Schema) -> pa.Table:
    """Rows of a SerDe as an Arrow table of ``schema``."""
    arrays = [_array([row[field.name] for row in rows], field.type) for field in schema]
    return pa.Table.from_arrays(arrays, schema=schema)


def _array(values: list[Any], arrow_type: pa.DataType) -> pa.Array:
    try:
        return pa.array(values, arrow_type)
    except UnicodeEncodeError:
        return pa.array(_without_surrogates(values), arrow_type)


def _without_surrogates(value: Any) -> Any:
    """Lone surrogates as question marks, which is how Java encodes them in UTF-8."""
    if isinstance(value, str):
        return value.encode("utf-8", "replace").decode("utf-8")
    if isinstance(value, list):
        return [_without_surrogates(item) for item in value]
    if isinstance(value, dict):
        return {_without_surrogates(key): _without_surrogates(v) for key, v in value.items()}
    return value


class _ParquetObject:
    """One Parquet object in memory, written a row group at a time."""

    def __init__(self, schema: pa.Schema, options: ParquetOptions) -> None:
        self._schema = schema
        self._options = options
        self._limit = min(options.block_size_bytes, MAX_ROW_GROUP_BYTES)
        self._pending: list[pa.Table] = []
        self._pending_bytes = 0
        self._sink = io.BytesIO()
        self._writer: pq.ParquetWriter | None = None
        self.rows = 0

    def write(self, table: pa.Table) -> None:
        if not table.num_rows:
            return
        self.rows += table.num_rows
        self._pending.append(table)
        self._pending_bytes += table.nbytes
        if self._pending_bytes >= self._limit:
            self._flush()

    def finish(self) -> bytes | None:
        if self._pending:
            self._flush()
        if self._writer is None:
            return None
        self._writer.close()
        return self._sink.getvalue()

    def _flush(self) -> None:
        if self._writer is None:
            self._writer = pq.ParquetWriter(
                self._sink, self._schema, **_write_options(self._options)
            )
        table = pa.concat_tables(self._pending)
        self._writer.write_table(table, row_group_size=max(table.num_rows, 1))
        self._pending, self._pending_bytes = [], 0


def _write_options(options: ParquetOptions) -> dict[str, Any]:
    compression = None if options.compression == "UNCOMPRESSED" else options.compression.lower()
    return parquet_write_options() | {
        "compression": compression or "none",
        "data_page_size": options.page_size_bytes,
        "use_dictionary": options.enable_dictionary_compression,
        "data_page_version": "2.0" if options.writer_version == "V2" else "1.0",
    }
