"""A batch of Firehose records → one Parquet object and the records that failed.

A record holds one JSON document or several in a row. A record that fails does not affect the
others; a schema that cannot be used fails all records, as in Firehose.

There are two paths with the same result. The exact path sends each record through the SerDe. The
fast path reads a whole chunk of records with Arrow and returns a table only where it is certain
that the SerDe would return the same rows; all other chunks take the exact path.
"""

from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any, Final

import pyarrow as pa

from ddb_pipeline.arrow_types import NoParquetTypeError, arrow_schema
from ddb_pipeline.conversion.fast import FastReader, json_line
from ddb_pipeline.conversion.options import ConversionOptions, HiveJsonOptions
from ddb_pipeline.conversion.parquet_object import ParquetObject, rows_table
from ddb_pipeline.conversion.serde.base import JsonSerDe
from ddb_pipeline.conversion.serde.errors import ConversionError, invalid_schema
from ddb_pipeline.conversion.serde.hive_json import HiveJsonSerDe
from ddb_pipeline.conversion.serde.openx import OpenXJsonSerDe
from ddb_pipeline.hive.types import Column, StructType, parse_type, walk

CHUNK_BYTES: Final = 1024 * 1024
"""Bytes of input converted at a time. It bounds the Python objects in memory at a time."""

PIECE_BYTES: Final = 128 * 1024
"""Bytes of the pieces into which a chunk is cut that the fast path does not take as a whole."""


@dataclass(frozen=True, slots=True)
class RecordFailure:
    """A record that was not converted: its index in the batch, Firehose's code and message."""

    index: int
    code: str
    message: str


@dataclass(frozen=True, slots=True)
class ConvertedBatch:
    """The result of a batch.

    Attributes:
        parquet: the Parquet object; None where there are no rows.
        rows: number of rows in it.
        failures: the records that failed, in the order of the batch.
    """

    parquet: bytes | None
    rows: int
    failures: tuple[RecordFailure, ...]


def convert(
    records: Sequence[bytes],
    columns: Sequence[Column | tuple[str, str]],
    options: ConversionOptions | None = None,
) -> ConvertedBatch:
    """Convert a batch of records with the columns of a catalog table.

    Raises nothing for any records or columns: a schema that cannot be used fails every record
    with InvalidSchema.
    """
    try:
        converter = _Converter(columns, options or ConversionOptions())
    except ConversionError as error:
        return fail_all(records, error.code, error.message)
    return converter.convert(records)


def fail_all(records: Sequence[bytes], code: str, message: str) -> ConvertedBatch:
    """Return a batch in which every record failed for one reason, such as a missing schema."""
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
        self._fast = None
        if options.fast_path and options.decimals != "convert":
            self._fast = FastReader.of(columns, self._schema, options.deserializer)
        self._backoff = _Backoff()

    def convert(self, records: Sequence[bytes]) -> ConvertedBatch:
        failures: list[RecordFailure] = []
        parquet = ParquetObject(self._schema, self._options.parquet)
        for start, stop in _chunks(records, 0, len(records), CHUNK_BYTES):
            for table in self._tables(records, start, stop, failures):
                parquet.write(table)
        return ConvertedBatch(parquet.finish(), parquet.rows, tuple(failures))

    def _tables(
        self, records: Sequence[bytes], start: int, stop: int, failures: list[RecordFailure]
    ) -> Iterator[pa.Table]:
        """Yield the rows of a chunk: by the fast path, or piece by piece by either path."""
        if self._fast is None or self._backoff.skips():
            yield self._exact_table(records, start, stop, failures)
            return
        lines = [json_line(record) for record in records[start:stop]]
        table = self._fast_table(lines)
        if table is not None:
            yield table
            return
        pieces = list(_chunks(records, start, stop, PIECE_BYTES))
        fast_pieces = 0
        for first, last in pieces:
            table = self._fast_table(lines[first - start : last - start])
            fast_pieces += table is not None
            yield self._exact_table(records, first, last, failures) if table is None else table
        self._backoff.note(worth_it=fast_pieces * 2 >= len(pieces))

    def _fast_table(self, lines: Sequence[bytes | None]) -> pa.Table | None:
        plain = [line for line in lines if line is not None]
        if self._fast is None or len(plain) < len(lines):
            return None
        return self._fast.read(plain)

    def _exact_table(
        self, records: Sequence[bytes], start: int, stop: int, failures: list[RecordFailure]
    ) -> pa.Table:
        return rows_table(self._rows(records[start:stop], start, failures), self._schema)

    def _rows(
        self, chunk: Sequence[bytes], start: int, failures: list[RecordFailure]
    ) -> list[dict[str, Any]]:
        rows: list[dict[str, Any]] = []
        for index, record in enumerate(chunk, start):
            outcomes = [*self._serde.outcomes(record)]
            error = next((each for each in outcomes if isinstance(each, ConversionError)), None)
            if error is not None:
                failures.append(RecordFailure(index, error.code, error.message))
                if self._options.packed_failure == "record":
                    continue
            rows.extend(each for each in outcomes if not isinstance(each, ConversionError))
        return rows


def _require_distinct_names(columns: Sequence[Column | tuple[str, str]]) -> None:
    """Raise ConversionError where two columns, or two fields of a struct, have one name."""
    names = [[name for name, _ in columns]]
    for _, type_text in columns:
        for inner in walk(parse_type(type_text)):
            if isinstance(inner, StructType):
                names.append([name for name, _ in inner.fields])
    for name, count in (pair for siblings in names for pair in Counter(siblings).items()):
        if count > 1:
            raise invalid_schema(f"Name {name} is declared twice")


class _Backoff:
    """Skips the fast path for a number of chunks after one that it could hardly convert.

    The number starts at 4 and doubles with each such chunk, up to 64.
    """

    def __init__(self) -> None:
        self._length = 0
        self._left = 0

    def skips(self) -> bool:
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
    """Cut start to stop into index ranges of about ``chunk_bytes`` and at least one record."""
    size = 0
    for index in range(start, stop):
        if size and size + len(records[index]) > chunk_bytes:
            yield start, index
            start, size = index, 0
        size += len(records[index])
    if start < stop:
        yield start, stop
