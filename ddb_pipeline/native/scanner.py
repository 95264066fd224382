"""Scans blocks of lines into the buffers of a layout's nodes, and enlarges what is full."""

import ctypes
from dataclasses import dataclass, field
from typing import Any, Final, NamedTuple, Protocol

import numpy as np
import numpy.typing as npt

from ddb_pipeline.native.layout import Layout, Node
from ddb_pipeline.native.library import (
    CAPACITIES,
    COLUMN_NAME,
    DEFERRED,
    KEY,
    LINE,
    LISTS,
    NODE,
    ArrowArray,
    Kind,
    Library,
    Scan,
    Status,
)
from ddb_pipeline.native.names import NameTable

TEXT_NAMES: Final = -1
"""The owner of the names of maps that become JSON text."""

MAX_CAPACITY: Final = 2**30
"""Bytes and places of a node in one block, for the 32 bits of Arrow's offsets."""


class FirstCapacity(NamedTuple):
    """What buffers have room for at first; where that is not enough, they double."""

    places: int = 1024
    bytes: int = 16 * 1024
    entries: int = 1024


FIRST_CAPACITY: Final = FirstCapacity()

_WIDTHS: Final[dict[Kind, np.dtype[Any]]] = {
    Kind.DOUBLE: np.dtype("f8"),
    Kind.FLOAT: np.dtype("f4"),
    Kind.DECIMAL: np.dtype("V16"),
    Kind.BOOLEAN: np.dtype("u1"),
    Kind.DATE: np.dtype("i4"),
    Kind.TIMESTAMP: np.dtype("i8"),
}
_WITH_ENDS: Final = frozenset((Kind.STRING, Kind.BINARY, Kind.ONLY_TEXT, Kind.LIST, Kind.MAP))
_WITH_BYTES: Final = frozenset((Kind.STRING, Kind.BINARY, Kind.ONLY_TEXT))

Bytes = npt.NDArray[np.uint8]


class NameRule(Protocol):
    """Decides where names lead that a scan meets for the first time."""

    def child(self, node: int, name: bytes) -> int | None:
        """The node of a member of ``node``; it may be a new one. None: its lines are irregular."""
        ...

    def column_name(self, name: bytes) -> bytes | None:
        """The name, in JSON text, of a map's member; None: its lines are irregular."""
        ...


@dataclass(slots=True)
class Buffers:
    """The buffers of one node; those that its kind does not need are empty."""

    valid: Bytes = field(default_factory=lambda: np.empty(0, np.uint8))
    values: npt.NDArray[Any] = field(default_factory=lambda: np.empty(0, np.uint8))
    ends: npt.NDArray[np.int32] = field(default_factory=lambda: np.zeros(0, np.int32))
    bytes: Bytes = field(default_factory=lambda: np.empty(0, np.uint8))


@dataclass(frozen=True, slots=True)
class Scanned:
    """The result of a block. The nodes' buffers hold the rows until the next scan.

    Attributes:
        rows: number of rows.
        row_lines: the line of each row: its begin, its end, and its number in the block, from 0,
            without the blank lines.
        deferred: scalars left to the caller: node, place, start and length of the text, row, tag.
        irregular: the lines that were not read, in the same form.
    """

    rows: int
    row_lines: npt.NDArray[Any]
    deferred: npt.NDArray[Any]
    irregular: npt.NDArray[Any]


class Scanner:
    """Scans blocks with one layout. Not thread-safe.

    Attributes:
        buffers: by node.
    """

    def __init__(
        self,
        library: Library,
        layout: Layout,
        rule: NameRule,
        *,
        longest_line: int,
        milliseconds_from: int,
        first: FirstCapacity = FIRST_CAPACITY,
    ) -> None:
        self._first = first
        self._library = library
        self._layout = layout
        self._rule = rule
        self._scan = Scan(longest_line=longest_line, milliseconds_from=milliseconds_from)
        self._names = NameTable(library, self._scan.names)
        self._column_names: dict[bytes, int] = {}
        self._column_name_places = np.zeros(first.entries, COLUMN_NAME)
        self._nodes = np.zeros(0, NODE)
        self.buffers: list[Buffers] = []
        self._row_lines = np.empty(first.entries, LINE)
        self._deferred = np.empty(first.entries, DEFERRED)
        self._irregular = np.empty(first.entries, LINE)
        self._keys = np.empty(first.entries, KEY)
        self._key_order = np.empty(4 * first.entries + 4, np.int32)
        self._add_nodes()
        self._set_lists()

    def add_name(self, node: int, name: bytes, child: int) -> None:
        """Let a name of a member of ``node`` lead to ``child``."""
        self._names.add(node, name, child)

    def replace(
        self,
        node: int,
        places: npt.NDArray[np.int64],
        values: memoryview,
        valid: npt.NDArray[np.bool_],
    ) -> None:
        """Set values at places that the last scan left null.

        Args:
            values: one after another, of the width of the node's values.
        """
        buffers = self.buffers[node]
        buffers.values[places] = np.frombuffer(values, buffers.values.dtype)
        buffers.valid[places] = valid

    def exported(self, root: int) -> ArrowArray:
        """A copy of what the last scan filled, from a node on; what takes it over releases it.

        The array of a node of kind ``EXACT_ONLY`` is one of nulls.
        """
        array = ArrowArray()
        if not self._library.export_rows(ctypes.byref(self._scan), root, ctypes.byref(array)):
            raise MemoryError(f"no memory for {self._scan.rows:,} rows")
        return array

    def scan(self, block: bytes) -> Scanned:
        """Scan a block of whole lines in UTF-8; the last line may lack its newline."""
        scan = self._scan
        self._nodes["length"] = 0
        scan.rows = scan.deferred_count = scan.irregular_count = scan.line_count = 0
        address = ctypes.cast(ctypes.c_char_p(block), ctypes.c_void_p).value or 0
        scan.block, scan.end = address, address + len(block)
        at = 0
        while True:
            at = self._library.scan_lines(ctypes.byref(scan), at)
            if scan.status == Status.AT_END:
                break
            if not self._can_resume(block):
                at = self._skip_line(block, at)
        self._fill_columns()
        return Scanned(
            int(scan.rows),
            self._row_lines[: scan.rows],
            self._deferred[: scan.deferred_count],
            self._irregular[: scan.irregular_count],
        )

    def _can_resume(self, block: bytes) -> bool:
        """Remove what stopped the scan. False: the line at which it stopped is irregular."""
        scan = self._scan
        if scan.status == Status.UNKNOWN_NAME:
            name = block[scan.name_at : scan.name_at + scan.name_length]
            return self._learn(int(scan.node), name)
        if scan.status == Status.FULL_PLACES:
            return self._enlarge_places(int(scan.node), int(scan.needed))
        if scan.status == Status.FULL_BYTES:
            return self._enlarge_bytes(int(scan.node), int(scan.needed))
        return self._enlarge_list(LISTS[scan.needed])

    def _skip_line(self, block: bytes, start: int) -> int:
        end = block.find(b"\n", start)
        end = len(block) if end < 0 else end
        # There is room: the scan stops at a line for which there is none.
        scan = self._scan
        self._irregular[scan.irregular_count] = (start, end, scan.line_count)
        scan.irregular_count += 1
        scan.line_count += 1
        return min(end + 1, len(block))

    def _learn(self, node: int, name: bytes) -> bool:
        child = self._text_name(name) if node == TEXT_NAMES else self._rule.child(node, name)
        if child is None:
            return False
        self._add_nodes()
        self._names.add(node, name, child)
        return True

    def _text_name(self, name: bytes) -> int | None:
        """The number of the column name; all attribute names with the same one share it."""
        column = self._rule.column_name(name)
        if column is None:
            return None
        number = self._column_names.get(column)
        if number is None:
            number = self._column_names[column] = len(self._column_names)
            places = enlarged(self._column_name_places, number + 1)
            places[number] = (self._names.store(column), len(column))
            self._column_name_places = places
            self._scan.column_names = places.ctypes.data
        return number

    def _fill_columns(self) -> None:
        scan = self._scan
        while True:
            self._library.fill_columns(ctypes.byref(scan))
            if scan.status == Status.AT_END:
                return
            if not self._enlarge_places(int(scan.node), int(scan.needed)):
                raise MemoryError(f"a block with more than {MAX_CAPACITY:,} elements")

    # -- Memory

    def _add_nodes(self) -> None:
        """Buffers for the layout's new nodes."""
        old, new = len(self.buffers), len(self._layout.nodes)
        if old == new:
            return
        if new > len(self._nodes):
            self._nodes = enlarged(self._nodes, new)
            self._scan.nodes = self._nodes.ctypes.data
        for number, node in enumerate(self._layout.nodes[old:], old):
            self._nodes[number] = np.zeros((), NODE)
            entry = self._nodes[number]
            for name in ("kind", "parent", "element", "key", "digits", "scale"):
                entry[name] = getattr(node, name)
            self.buffers.append(Buffers())
            self._enlarge_places(number, self._first.places)
            if node.kind in _WITH_BYTES:
                self._enlarge_bytes(number, self._first.bytes)
        for number, node in enumerate(self._layout.nodes[:old]):
            self._nodes["element"][number] = node.element
        self._scan.node_count = new

    def _enlarge_places(self, number: int, needed: int) -> bool:
        if needed > MAX_CAPACITY:
            return False
        node, buffers, entry = self._layout.nodes[number], self.buffers[number], self._nodes[number]
        buffers.valid = enlarged(buffers.valid, needed)
        capacity = len(buffers.valid)
        entry["valid"], entry["capacity"] = buffers.valid.ctypes.data, capacity
        if node.kind in _WITH_ENDS:
            buffers.ends = enlarged(buffers.ends, capacity + 1)
            buffers.ends[0] = 0
            entry["ends"] = buffers.ends.ctypes.data
        width = _width(node)
        if width is not None:
            buffers.values = enlarged(buffers.values.view(width), capacity)
            entry["values"] = buffers.values.ctypes.data
        return True

    def _enlarge_bytes(self, number: int, needed: int) -> bool:
        if needed > MAX_CAPACITY:
            return False
        buffers, entry = self.buffers[number], self._nodes[number]
        buffers.bytes = enlarged(buffers.bytes, needed)
        entry["bytes"], entry["bytes_capacity"] = buffers.bytes.ctypes.data, len(buffers.bytes)
        return True

    def _enlarge_list(self, name: str) -> bool:
        full: npt.NDArray[Any] = getattr(self, f"_{name}")
        setattr(self, f"_{name}", enlarged(full, len(full) + 1))
        self._key_order = np.empty(4 * len(self._keys) + 4, np.int32)
        self._set_lists()
        return True

    def _set_lists(self) -> None:
        scan = self._scan
        for name, capacity in zip(LISTS, CAPACITIES, strict=True):
            array = getattr(self, f"_{name}")
            setattr(scan, name, array.ctypes.data)
            setattr(scan, capacity, len(array))
        scan.key_order = self._key_order.ctypes.data


def _width(node: Node) -> np.dtype[Any] | None:
    """The type of a node's values; None if it has none of a fixed width."""
    if node.kind == Kind.INTEGER:
        return np.dtype(f"i{node.digits // 8}")
    return _WIDTHS.get(node.kind)


def enlarged(array: npt.NDArray[Any], needed: int) -> npt.NDArray[Any]:
    """The array, or a copy of at least twice its size that has room for ``needed`` elements."""
    if needed <= len(array):
        return array
    larger: npt.NDArray[Any] = np.empty(max(needed, 2 * len(array)), array.dtype)
    larger[: len(array)] = array
    return larger
