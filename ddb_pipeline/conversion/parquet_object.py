"""Rows of a SerDe to one Parquet object in memory, written a row group at a time."""

import io
from collections.abc import Sequence
from typing import Any, Final

import pyarrow as pa
import pyarrow.parquet as pq

from ddb_pipeline.arrow_types import parquet_write_options
from ddb_pipeline.conversion.options import ParquetOptions

MAX_ROW_GROUP_BYTES: Final = 128 * 1024 * 1024
"""Bytes of Arrow data held before a row group is written, even if the block size is larger."""


def rows_table(rows: Sequence[dict[str, Any]], schema: pa.Schema) -> pa.Table:
    """Return the rows of a SerDe as an Arrow table of ``schema``."""
    arrays = [_array([row[field.name] for row in rows], field.type) for field in schema]
    return pa.Table.from_arrays(arrays, schema=schema)


def _array(values: list[Any], arrow_type: pa.DataType) -> pa.Array:
    try:
        return pa.array(values, arrow_type)
    except UnicodeEncodeError:
        return pa.array(_without_surrogates(values), arrow_type)


def _without_surrogates(value: Any) -> Any:
    """Replace lone surrogates with question marks, as Java does when it encodes UTF-8."""
    if isinstance(value, str):
        return value.encode("utf-8", "replace").decode("utf-8")
    if isinstance(value, list):
        return [_without_surrogates(item) for item in value]
    if isinstance(value, dict):
        return {_without_surrogates(key): _without_surrogates(v) for key, v in value.items()}
    return value


class ParquetObject:
    """A Parquet object in memory to which tables are written one after the other.

    Attributes:
        rows: number of rows written.
    """

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
        """Add the rows of a table."""
        if not table.num_rows:
            return
        self.rows += table.num_rows
        self._pending.append(table)
        self._pending_bytes += table.nbytes
        if self._pending_bytes >= self._limit:
            self._flush()

    def finish(self) -> bytes | None:
        """Return the complete object, or None if no row was written."""
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
