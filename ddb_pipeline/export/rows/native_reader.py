"""The fastest path: the scanner in C fills the buffers of Arrow columns in one pass over a block.

What it cannot prove to be exact it leaves: lines to the other paths, single numbers and times to
the exact path.
"""

import ctypes
from collections.abc import Mapping
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from ddb_pipeline.export.lines import MAX_MARKS
from ddb_pipeline.export.rows.decided import OnlyExact, Part, Unused
from ddb_pipeline.export.rows.masks import Mask, valid
from ddb_pipeline.export.rows.native_layout import ColumnsLayout
from ddb_pipeline.export.rows.numbers import Converted, numbers, one_by_one
from ddb_pipeline.hive.epoch import MILLISECONDS_FROM
from ddb_pipeline.hive.types import STRING, ArrayType, HiveType, MapType, StructType
from ddb_pipeline.native.library import TAGS, ArrowArray, Library
from ddb_pipeline.native.scanner import Scanned, Scanner

Lines = npt.NDArray[Any]
"""Lines of a block: ``start``, ``end``, and their ``number``, blank lines not counted."""


class NativeRows(NamedTuple):
    """The rows of a block, and the lines that another path has to read.

    Attributes:
        lines: the line of each row.
        left: the lines that were not read.
    """

    table: pa.Table
    lines: Lines
    left: Lines


class NativeReader:
    """Converts blocks of lines with the columns of one table. Not thread-safe."""

    def __init__(
        self,
        library: Library,
        kinds: Mapping[str, HiveType],
        schema: pa.Schema,
        image: str,
    ) -> None:
        self._library = library
        self._schema = schema
        self._columns = ColumnsLayout(list(kinds.items()), image)
        self._scanned_schema = scanned_schema(schema, kinds)
        self._scanner = Scanner(
            library,
            self._columns.layout,
            self._columns,
            longest_line=MAX_MARKS,
            milliseconds_from=MILLISECONDS_FROM,
        )

    def rows(self, block: bytes) -> NativeRows | None:
        """The rows of a block of whole lines; None if it is not UTF-8."""
        if not self._library.is_utf8(block, len(block)):
            return None
        scanned = self._scanner.scan(block)
        refused = self._read_deferred(block, scanned)
        table = self._table()
        if refused is None:
            return NativeRows(table, scanned.row_lines, scanned.irregular)
        return NativeRows(
            table.filter(pa.array(~refused)),
            scanned.row_lines[~refused],
            np.concatenate((scanned.irregular, scanned.row_lines[refused])),
        )

    def _table(self) -> pa.Table:
        array = self._scanner.exported(self._columns.image)
        table = pa.Table.from_batches([imported(array, self._scanned_schema)])
        return table if self._scanned_schema == self._schema else table.cast(self._schema)

    def _read_deferred(self, block: bytes, scanned: Scanned) -> Mask | None:
        """Read the scalars that the scan left out; returns the rows of those that do not fit."""
        refused: Mask | None = None
        deferred = scanned.deferred
        if not len(deferred):
            return None
        groups = deferred["node"] * (len(TAGS) + 1) + deferred["tag"]
        for group in np.unique(groups).tolist():
            mine = deferred[groups == group]
            node, tag = divmod(group, len(TAGS) + 1)
            texts = gathered(block, mine["start"], mine["length"])
            values, unproven = _converted(texts, TAGS[tag - 1], self._columns.types[node])
            self._scanner.replace(node, mine["place"], _contents(values), valid(values))
            if unproven is not None:
                if refused is None:
                    refused = np.zeros(scanned.rows, np.bool_)
                refused[mine["row"][unproven]] = True
        return refused


def _converted(texts: pa.Array, tag: str, kind: HiveType) -> Converted:
    return numbers(texts, kind) if tag == "N" else one_by_one(texts, tag, kind)


def _contents(values: pa.Array) -> memoryview:
    """The values of a type of a fixed width, one after another."""
    width = values.type.bit_width // 8
    content: pa.Buffer = values.buffers()[1]
    return memoryview(content)[values.offset * width : (values.offset + len(values)) * width]


def imported(array: ArrowArray, schema: pa.Schema) -> pa.RecordBatch:
    """The scanner's rows, which are not copied.

    One call for all columns: Python's work for each would keep other threads waiting.
    """
    return pa.RecordBatch._import_from_c(ctypes.addressof(array), schema)


def scanned_schema(schema: pa.Schema, kinds: Mapping[str, HiveType]) -> pa.Schema:
    """The schema of the scanner's rows: what it leaves to the other readers is of type null."""
    fields = [field.with_type(_scanned(field.type, kinds[field.name])) for field in schema]
    return pa.schema(fields)


def _scanned(kind: pa.DataType, hive_type: HiveType) -> pa.DataType:
    if isinstance(hive_type, OnlyExact):
        return pa.null()
    if isinstance(hive_type, Part | Unused):
        return _scanned(kind, hive_type.kind)
    if isinstance(hive_type, StructType):
        pairs = zip(kind, hive_type.fields, strict=True)
        return pa.struct([field.with_type(_scanned(field.type, of)) for field, (_, of) in pairs])
    if isinstance(hive_type, ArrayType):
        element = kind.value_field
        return pa.list_(element.with_type(_scanned(element.type, hive_type.element)))
    if not isinstance(hive_type, MapType):
        return kind
    if hive_type.key != STRING:
        return pa.null()
    value = kind.item_field
    return pa.map_(kind.key_field, value.with_type(_scanned(value.type, hive_type.value)))


def gathered(
    block: bytes, starts: npt.NDArray[np.int64], lengths: npt.NDArray[np.int64]
) -> pa.Array:
    """Texts of a block as an Arrow array."""
    ends = np.zeros(len(starts) + 1, np.int32)
    np.cumsum(lengths, out=ends[1:])
    index = np.repeat(starts - ends[:-1], lengths) + np.arange(ends[-1])
    content = np.frombuffer(block, np.uint8)[index]
    return pa.StringArray.from_buffers(len(starts), pa.py_buffer(ends), pa.py_buffer(content))
