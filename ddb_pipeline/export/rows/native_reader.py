"""The fastest path: the scanner in C fills the buffers of Arrow columns in one pass over a block.

What it cannot prove to be exact it leaves: lines to the other paths, single numbers and times to
the exact path.
"""

import ctypes
from collections.abc import Mapping
from typing import Any, Final, NamedTuple

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc

from ddb_pipeline.export.lines import MAX_MARKS
from ddb_pipeline.export.rows.masks import Mask
from ddb_pipeline.export.rows.native_layout import ColumnsLayout
from ddb_pipeline.export.rows.numbers import Converted, numbers, one_by_one
from ddb_pipeline.hive.epoch import MILLISECONDS_FROM
from ddb_pipeline.hive.types import HiveType
from ddb_pipeline.native.library import TAGS, Kind, Library
from ddb_pipeline.native.scanner import Scanned, Scanner

_FIXED: Final = frozenset(
    (
        *(Kind.INTEGER, Kind.DOUBLE, Kind.FLOAT, Kind.DECIMAL, Kind.DATE, Kind.TIMESTAMP),
        Kind.BOOLEAN,
    )
)


SMALL_BYTES: Final = 32 * 1024
"""Of buffers up to this size the allocation costs more than the copy; Arrow's pool is for others,
whose memory the system would otherwise clear each time."""

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
        self._nodes = list(self._columns.fields[self._columns.image].values())
        self._types = [field.type for field in schema]
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
        replaced, refused = self._deferred(block, scanned)
        arrays = _Arrays(self._library, self._scanner, self._columns, replaced)
        columns = [
            arrays.array(node, scanned.rows, kind)
            for node, kind in zip(self._nodes, self._types, strict=True)
        ]
        table = pa.Table.from_arrays(columns, schema=self._schema)
        if refused is None:
            return NativeRows(table, scanned.row_lines, scanned.irregular)
        return NativeRows(
            table.filter(pa.array(~refused)),
            scanned.row_lines[~refused],
            np.concatenate((scanned.irregular, scanned.row_lines[refused])),
        )

    def _deferred(
        self, block: bytes, scanned: Scanned
    ) -> tuple[dict[int, list["_Replaced"]], Mask | None]:
        """The scalars that the scan left out, by node, and the rows of those that do not fit."""
        found: dict[int, list[_Replaced]] = {}
        refused: Mask | None = None
        deferred = scanned.deferred
        if not len(deferred):
            return found, None
        groups = deferred["node"] * (len(TAGS) + 1) + deferred["tag"]
        for group in np.unique(groups).tolist():
            mine = deferred[groups == group]
            node, tag = divmod(group, len(TAGS) + 1)
            texts = gathered(block, mine["start"], mine["length"])
            converted = _converted(texts, TAGS[tag - 1], self._columns.types[node])
            found.setdefault(node, []).append(_Replaced(mine["place"].copy(), converted.values))
            if converted.unproven is not None:
                if refused is None:
                    refused = np.zeros(scanned.rows, np.bool_)
                refused[mine["row"][converted.unproven]] = True
        return found, refused


class _Replaced(NamedTuple):
    """Values for places that the scan left null; the places ascend."""

    places: npt.NDArray[np.int64]
    values: pa.Array


def _converted(texts: pa.Array, tag: str, kind: HiveType) -> Converted:
    return numbers(texts, kind) if tag == "N" else one_by_one(texts, tag, kind)


def gathered(
    block: bytes, starts: npt.NDArray[np.int64], lengths: npt.NDArray[np.int64]
) -> pa.Array:
    """Texts of a block as an Arrow array."""
    ends = np.zeros(len(starts) + 1, np.int32)
    np.cumsum(lengths, out=ends[1:])
    index = np.repeat(starts - ends[:-1], lengths) + np.arange(ends[-1])
    content = np.frombuffer(block, np.uint8)[index]
    return pa.StringArray.from_buffers(len(starts), pa.py_buffer(ends), pa.py_buffer(content))


class _Arrays:
    """The scanner's buffers as Arrow arrays, which copy them."""

    def __init__(
        self,
        library: Library,
        scanner: Scanner,
        columns: ColumnsLayout,
        replaced: dict[int, list[_Replaced]],
    ) -> None:
        self._library = library
        self._scanner = scanner
        self._columns = columns
        self._replaced = replaced

    def array(self, number: int, length: int, kind: pa.DataType) -> pa.Array:
        """The places of a node as an array."""
        node = self._columns.layout.nodes[number]
        buffers = self._scanner.buffers[number]
        valid, ones = self._bits(buffers.valid, length)
        nulls = length - ones
        validity = valid if nulls else None
        if node.kind == Kind.STRUCT:
            inside = [
                self.array(child, length, kind.field(position).type)
                for position, child in enumerate(self._fields(number, kind.num_fields))
            ]
            return pa.Array.from_buffers(kind, length, [validity], nulls, children=inside)
        if node.kind in (Kind.STRING, Kind.BINARY):
            ends = buffers.ends[: length + 1]
            content = [validity, _copied(ends), _copied(buffers.bytes[: ends[-1]])]
            return pa.Array.from_buffers(kind, length, content, nulls)
        if node.kind == Kind.LIST:
            content = [validity, _copied(buffers.ends[: length + 1])]
            elements = self._child(node.element, kind.value_type)
            return pa.Array.from_buffers(kind, length, content, nulls, children=[elements])
        if node.kind == Kind.MAP:
            content = [validity, _copied(buffers.ends[: length + 1])]
            entries = self._entries(node.key, node.element, kind)
            return pa.Array.from_buffers(kind, length, content, nulls, children=[entries])
        return self._scalars(number, length, kind, validity, nulls)

    def _scalars(
        self, number: int, length: int, kind: pa.DataType, validity: pa.Buffer | None, nulls: int
    ) -> pa.Array:
        node = self._columns.layout.nodes[number]
        if node.kind not in _FIXED:
            return pa.nulls(length, kind)
        values = self._scanner.buffers[number].values
        if node.kind == Kind.BOOLEAN:
            content, _ = self._bits(values, length)
        else:
            content = _copied(values[:length])
        array = pa.Array.from_buffers(kind, length, [validity, content], nulls)
        for places, values in self._replaced.get(number, ()):
            mask = np.zeros(length, np.bool_)
            mask[places] = True
            array = pc.replace_with_mask(array, pa.array(mask), values)
        return array

    def _fields(self, number: int, count: int) -> list[int]:
        """The nodes of a struct's fields; nodes of names without a column follow them."""
        return list(self._columns.fields[number].values())[:count]

    def _child(self, number: int, kind: pa.DataType) -> pa.Array:
        return self.array(number, self._scanner.length(number), kind)

    def _entries(self, key: int, element: int, kind: pa.MapType) -> pa.Array:
        fields = [kind.key_field, kind.item_field]
        inside = [self._child(key, kind.key_type), self._child(element, kind.item_type)]
        return pa.Array.from_buffers(
            pa.struct(fields), self._scanner.length(key), [None], 0, children=inside
        )

    def _bits(self, flags: npt.NDArray[Any], length: int) -> tuple[pa.Buffer, int]:
        """Bytes that are 0 or 1 as bits, and how many are 1."""
        bits = pa.allocate_buffer((length + 7) // 8)
        return bits, self._library.pack_bits(flags.ctypes.data, length, bits.address)


def _copied(part: npt.NDArray[Any]) -> pa.Buffer:
    if part.nbytes <= SMALL_BYTES:
        return pa.py_buffer(part.tobytes())
    copy = pa.allocate_buffer(part.nbytes)
    ctypes.memmove(copy.address, part.ctypes.data, part.nbytes)
    return copy
