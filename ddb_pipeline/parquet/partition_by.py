"""Partition directories for rows: ``hash(user,16)``, ``date(searched_at)`` or a column itself."""

import re
import zlib
from collections.abc import Iterator
from dataclasses import dataclass
from itertools import pairwise
from typing import Final

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc

from ddb_pipeline.errors import DdbPipelineError
from ddb_pipeline.hive.epoch import MILLISECONDS_FROM

DEFAULT_PARTITION: Final = "__HIVE_DEFAULT_PARTITION__"
"""Directory in which Hive, Spark and Athena expect rows without a value."""

MAX_NAME_BYTES: Final = 255
"""Longest name of a directory in the file systems of Linux and macOS."""
UNNAMEABLE: Final = (
    f"a partition directory cannot be named after an empty text, {DEFAULT_PARTITION} (it means "
    f"null to readers) or a text of more than {MAX_NAME_BYTES} bytes"
)

MAX_BUCKETS: Final = 1000
_EXPRESSION: Final = re.compile(
    r"\s*(?:(?P<function>hash|date)\s*\(\s*)?(?P<column>[^\s(),]+)\s*"
    r"(?:,\s*(?P<buckets>[0-9]{1,4})\s*)?(?P<close>\))?\s*"
).fullmatch
# The characters that Hive and Spark escape in names of partition directories, and NUL. (Sources:
# FileUtils.escapePathName of Hive, ExternalCatalogUtils of Spark.) They read an escape as one
# character, so that the escaped bytes of other characters would be read as several.
_ESCAPED: Final = re.compile("[\x00-\x1f\x7f\"#%'*/:=?\\\\{\\[\\]^]")

_FIRST: Final = -62_135_596_800_000
"""The year 1 in milliseconds since 1970."""
_LAST: Final = 253_402_300_799_999
"""The last millisecond of the year 9999."""


class PartitionError(DdbPipelineError):
    """A partition expression is invalid, or does not fit the columns."""


@dataclass(frozen=True, slots=True)
class PartitionBy:
    """How rows are distributed to directories.

    Attributes:
        function: ``hash`` (bucket by CRC-32 of the value's text), ``date`` (UTC day of an ISO 8601
            text, or of a number of seconds or milliseconds), or empty for the value itself.
        column: the column; with ``hash`` and ``date`` it stays in the files.
        buckets: number of buckets of ``hash``.
    """

    function: str
    column: str
    buckets: int = 0

    @property
    def directory(self) -> str:
        """Name of the partition key."""
        suffix = {"hash": "_bucket", "date": "_date"}.get(self.function, "")
        return self.column + suffix


def parse_partition_by(text: str, schema: pa.Schema) -> PartitionBy:
    """Parse a partition expression.

    Raises:
        PartitionError: it is invalid, or its column does not exist or has another type.
    """
    match = _EXPRESSION(text)
    function = match["function"] or "" if match else ""
    if match is None or bool(function) != bool(match["close"]):
        raise PartitionError(
            f"{text!r} is not a partition expression. Give hash(column,16), date(column) or column."
        )
    column, buckets = match["column"], int(match["buckets"] or 0)
    if column not in schema.names:
        raise PartitionError(f"{text!r}: there is no column {column!r} in {schema.names}.")
    kind = schema.field(column).type
    if pa.types.is_nested(kind) or pa.types.is_binary(kind):
        raise PartitionError(
            f"{text!r}: column {column!r} is {kind}, not a single value with a text."
        )
    if (function == "hash") != bool(buckets) or buckets > MAX_BUCKETS:
        raise PartitionError(f"{text!r}: hash takes a number of buckets, 1 to {MAX_BUCKETS}.")
    if function == "date" and not (pa.types.is_string(kind) or pa.types.is_int64(kind)):
        raise PartitionError(f"{text!r}: date takes a string or bigint column, not {kind}.")
    if not function and len(schema) == 1:
        raise PartitionError(f"{text!r}: no column would be left in the files.")
    return PartitionBy(function, column, buckets)


def partitions(table: pa.Table, by: PartitionBy) -> Iterator[tuple[str, pa.Table]]:
    """The rows of each directory, such as ``user_bucket=3``; each directory occurs once."""
    if not len(table):
        return
    values = _values(table.column(by.column).combine_chunks(), by).dictionary_encode()
    numbers = values.indices.fill_null(-1).to_numpy()
    order = np.argsort(numbers, kind="stable")
    rows = (table if by.function else table.drop_columns([by.column])).take(pa.array(order))
    ends = np.flatnonzero(np.diff(numbers[order], append=-2)) + 1
    for start, end in pairwise([0, *ends.tolist()]):
        number = int(numbers[order[start]])
        name = _directory(by, values.dictionary[number].as_py() if number >= 0 else None)
        yield name, rows.slice(start, end - start)


def unnameable(table: pa.Table, by: PartitionBy) -> npt.NDArray[np.bool_]:
    """Rows whose value cannot name a directory (``UNNAMEABLE``)."""
    if by.function or not len(table):
        return np.zeros(len(table), np.bool_)
    values = _values(table.column(by.column).combine_chunks(), by).dictionary_encode()
    bad = [
        text in ("", DEFAULT_PARTITION) or len(_directory(by, text).encode()) > MAX_NAME_BYTES
        for text in values.dictionary.to_pylist()
    ]
    # A null has the index -1, which is the last element.
    mask: npt.NDArray[np.bool_] = np.array([*bad, False])[values.indices.fill_null(-1).to_numpy()]
    return mask


def _directory(by: PartitionBy, value: str | None) -> str:
    name = DEFAULT_PARTITION if value is None else _ESCAPED.sub(_escape, value)
    return f"{by.directory}={name}"


def _escape(match: re.Match[str]) -> str:
    return f"%{ord(match.group()):02X}"


def _values(column: pa.Array, by: PartitionBy) -> pa.Array:
    if by.function == "hash":
        keys = pc.cast(column, pa.string()).dictionary_encode()
        buckets = [str(zlib.crc32(k.encode()) % by.buckets) for k in keys.dictionary.to_pylist()]
        return pa.array(buckets, pa.string()).take(keys.indices)
    if by.function == "date":
        return _days(column)
    return pc.cast(column, pa.string())


def _days(column: pa.Array) -> pa.Array:
    if pa.types.is_string(column.type):
        days = pc.utf8_slice_codeunits(column, 0, 10)
        return pc.if_else(pc.match_substring_regex(days, r"^\d{4}-\d{2}-\d{2}$"), days, None)
    milliseconds = pc.if_else(
        pc.greater_equal(pc.abs(column), MILLISECONDS_FROM), column, pc.multiply(column, 1000)
    )
    has_date = pc.and_(pc.greater_equal(column, _FIRST), pc.less_equal(column, _LAST))
    milliseconds = pc.if_else(has_date, milliseconds, None)
    return pc.strftime(pc.cast(milliseconds, pa.timestamp("ms")), format="%Y-%m-%d")
