"""Blocks of an export's lines to Arrow tables: vectorised, exact, in bounded memory.

Arrow's JSON parser reads a block as nested struct columns, with a schema of the attribute names and
type tags that occurred so far. It fails on a block with other names or tags; such a block is read
in pieces with an inferred schema, which is added to the known one. A row that the fast path could
not prove to be exact is read again from its line by the exact path, or rejected by it.
"""

import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from typing import Final

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from ddb_pipeline.arrow_json import read_json_lines
from ddb_pipeline.arrow_types import arrow_schema
from ddb_pipeline.export.lines import RejectedLine
from ddb_pipeline.export.rows.columns import members
from ddb_pipeline.export.rows.decided import kinds_to_read
from ddb_pipeline.export.rows.exact import ITEM, ExactRows
from ddb_pipeline.export.rows.masks import Mask, either, some, valid
from ddb_pipeline.export.rows.native_reader import Lines, NativeReader
from ddb_pipeline.hive.fitting import SET_ELEMENTS
from ddb_pipeline.hive.type_decisions import NO_DECISIONS, TypeDecisions
from ddb_pipeline.hive.types import Column
from ddb_pipeline.hive.undecodable import UndecodableValueError
from ddb_pipeline.native.library import library
from ddb_pipeline.parquet.partition_by import UNNAMEABLE, PartitionBy, unnameable

PIECE_BYTES: Final = 512 * 1024
"""Size of the pieces. Each name in a piece becomes a column, and a block may have too many."""

FEW_LINES: Final = 16
"""A piece of at most this many lines is not divided further: the exact path reads it."""
MANY_LINES: Final = 64
"""Of at least so many lines left by the scanner, Arrow's JSON reader may read most faster."""
MAX_LEARNED_NAMES: Final = 512
"""Names that are added to the schema of one map. A map with more has keys that are data."""

_TEXTS: Final = re.compile(rb'"[^"\\]*(?:\\.[^"\\]*)*"')

_TAG_TYPES: Final = {
    "S": pa.string(),
    "N": pa.string(),
    "B": pa.string(),
    "BOOL": pa.bool_(),
    "NULL": pa.bool_(),
    **{tag: pa.list_(pa.string()) for tag in SET_ELEMENTS},
}


Numbers = npt.NDArray[np.int64]
"""Numbers of lines in a block, from 0; lines that are blank have none."""


@dataclass(frozen=True, slots=True)
class Rows:
    """The result of a block of lines.

    Attributes:
        table: the rows, in no particular order.
        rejected: lines that could not be converted.
        exact_lines: number of lines that were read by the exact path.
        numbers: for each row the number of its line.
        rejected_numbers: for each rejected line its number.
    """

    table: pa.Table
    rejected: tuple[RejectedLine, ...]
    exact_lines: int
    numbers: Numbers
    rejected_numbers: tuple[int, ...]

    @property
    def lines(self) -> int:
        """Number of lines that were read, blank ones excluded."""
        return len(self.table) + len(self.rejected)


class ExportReader:
    """Converts blocks of a full export's lines to rows. Not thread-safe.

    Lines whose row cannot be stored with ``partition_by`` are rejected.
    """

    def __init__(
        self,
        columns: Sequence[Column | tuple[str, str]],
        partition_by: PartitionBy | None = None,
        decisions: TypeDecisions = NO_DECISIONS,
        *,
        native: bool = True,
    ) -> None:
        """
        Args:
            decisions: what is decided about values of several types.
            native: whether to read with the scanner in C where it is installed.
        """
        self._partition_by = partition_by
        self.schema = arrow_schema(columns)
        self._kinds = kinds_to_read(columns, decisions)
        self._exact = ExactRows(columns, decisions)
        self._parser = BlockParser()
        found = library() if native else None
        self._native = NativeReader(found, self._kinds, self.schema, ITEM) if found else None

    def rows(self, block: bytes) -> Rows:
        """The rows of a block of whole lines; the last line may lack its newline."""
        if not len(self.schema):
            return self._without_columns(block)
        scanned = self._native.rows(block) if self._native is not None else None
        if scanned is None:
            return self._by_arrow(block)
        table, lines, left = scanned
        if self._partition_by is not None:
            bad = unnameable(table, self._partition_by)
            table, left, lines = (
                table.filter(pa.array(~bad)),
                np.append(left, lines[bad]),
                lines[~bad],
            )
        if not len(left):
            return Rows(table, (), 0, lines["number"].copy(), ())
        rest = self._left(block, left)
        return replace(
            rest,
            table=pa.concat_tables([table, rest.table]),
            numbers=np.concatenate((lines["number"], rest.numbers)),
        )

    def _left(self, block: bytes, left: Lines) -> Rows:
        """The rows of the lines that the scanner has left."""
        spans = zip(left["start"].tolist(), left["end"].tolist(), strict=True)
        lines = [block[start:end] for start, end in spans]
        if len(lines) < MANY_LINES:
            rejected: list[tuple[int, RejectedLine]] = []
            table, kept = self._by_exact_path(lines, left["number"], rejected)
            return _rows([table], [kept], rejected, len(lines))
        rows = self._by_arrow(b"\n".join(lines))
        return replace(
            rows,
            numbers=left["number"][rows.numbers],
            rejected_numbers=tuple(left["number"][list(rows.rejected_numbers)].tolist()),
        )

    def _by_arrow(self, block: bytes) -> Rows:
        tables = [self.schema.empty_table()]
        numbers = [np.empty(0, np.int64)]
        rejected: list[tuple[int, RejectedLine]] = []
        exact_lines = count = 0
        for parsed in self._parser.parse(block):
            left = np.zeros(0, np.int64)
            if parsed.items is None:
                lines = parsed.lines()
                read, left = len(lines), np.arange(len(lines))
            else:
                lines, read = [], len(parsed.items)
                table, unproven = self._table(parsed.items)
                unproven = either(unproven, parsed.with_nulls())
                proven = np.arange(read)
                if unproven is not None and unproven.any():
                    lines = parsed.lines_of(unproven)
                    table = table.filter(pa.array(~unproven))
                    proven, left = np.flatnonzero(~unproven), np.flatnonzero(unproven)
                tables.append(table)
                numbers.append(proven + count)
            if lines:
                exact_lines += len(lines)
                table, kept = self._by_exact_path(lines, left + count, rejected)
                tables.append(table)
                numbers.append(kept)
            count += read
        return _rows(tables, numbers, rejected, exact_lines)

    def _without_columns(self, block: bytes) -> Rows:
        """All lines rejected: a table without columns has no rows."""
        rejected = []
        for line in ParsedLines(block, None).lines():
            try:
                self._exact.line(line)
            except UndecodableValueError as error:
                rejected.append(RejectedLine(line, error.path, error.reason))
            else:
                rejected.append(RejectedLine(line, "", "there is no column for the item"))
        none = np.empty(0, np.int64)
        count = len(rejected)
        return Rows(self.schema.empty_table(), tuple(rejected), count, none, tuple(range(count)))

    def _table(self, items: pa.StructArray) -> tuple[pa.Table, Mask | None]:
        arrays, unproven = members(items, self._kinds)
        if items.null_count:
            unproven = either(unproven, ~valid(items))
        table = pa.Table.from_arrays(arrays, schema=self.schema)
        if self._partition_by is not None:
            unproven = either(unproven, some(unnameable(table, self._partition_by)))
        return table, unproven

    def _by_exact_path(
        self, lines: Sequence[bytes], numbers: Numbers, rejected: list[tuple[int, RejectedLine]]
    ) -> tuple[pa.Table, Numbers]:
        """The rows of lines, and their numbers; ``rejected`` is extended by the other lines."""
        rows, read = [], []
        for position, line in enumerate(lines):
            try:
                rows.append(self._exact.line(line))
            except UndecodableValueError as error:
                refused_line = RejectedLine(line, error.path, error.reason)
                rejected.append((int(numbers[position]), refused_line))
            else:
                read.append(position)
        table = pa.Table.from_pylist(rows, self.schema)
        kept = numbers[read]
        by = self._partition_by
        if by is None:
            return table, kept
        refused = unnameable(table, by)
        for row in np.flatnonzero(refused):
            refused_line = RejectedLine(lines[read[row]], by.column, UNNAMEABLE)
            rejected.append((int(kept[row]), refused_line))
        return table.filter(pa.array(~refused)), kept[~refused]


def _rows(
    tables: Sequence[pa.Table],
    numbers: Sequence[Numbers],
    rejected: Sequence[tuple[int, RejectedLine]],
    exact_lines: int,
) -> Rows:
    return Rows(
        table=pa.concat_tables(tables),
        rejected=tuple(line for _, line in rejected),
        exact_lines=exact_lines,
        numbers=np.concatenate(numbers),
        rejected_numbers=tuple(number for number, _ in rejected),
    )


@dataclass(frozen=True, slots=True)
class ParsedLines:
    """Lines and their items in the same order; no items if the lines could not be parsed."""

    block: bytes
    items: pa.StructArray | None

    def lines(self) -> list[bytes]:
        """The lines that are not blank."""
        return [line for line in self.block.split(b"\n") if line.strip()]

    def with_nulls(self) -> Mask | None:
        """The items of lines with a ``null``, which Arrow's reader takes for an absent member."""
        if b"null" not in self.block:
            return None
        return some(np.array([_has_null(line) for line in self.lines()], np.bool_))

    def lines_of(self, mask: Mask) -> list[bytes]:
        """The lines of the items in a mask."""
        return [line for line, chosen in zip(self.lines(), mask, strict=True) if chosen]


def _has_null(line: bytes) -> bool:
    return b"null" in line and b"null" in _TEXTS.sub(b"", line)


class BlockParser:
    """Parses lines with a schema of the names and tags that occurred so far, and extends it."""

    def __init__(self) -> None:
        self._known = pa.struct([pa.field(ITEM, pa.struct([]))])

    def parse(self, block: bytes) -> Iterator[ParsedLines]:
        """The lines of a block, in as few parts as possible."""
        document = self._document(block, "error")
        items = _items_of(document)
        if items is not None:
            yield ParsedLines(block, items)
            return
        for piece in _pieces(block, PIECE_BYTES):
            yield from self._learn(piece)

    def _learn(self, piece: bytes) -> Iterator[ParsedLines]:
        document = self._document(piece, "infer")
        if document is not None:
            learned = _merged(self._known, _as_tagged(document.schema))
            if learned != self._known:
                # Parsed again: with an inferred type, a text may have been read as a timestamp.
                self._known = learned
                document = self._document(piece, "infer")
        items = _items_of(document)
        if items is not None or piece.count(b"\n") <= FEW_LINES:
            yield ParsedLines(piece, items)
            return
        for half in _pieces(piece, len(piece) // 2):
            yield from self._learn(half)

    def _document(self, block: bytes, unexpected: str) -> pa.Table | None:
        """The block's lines as a table; None if not each of them is one document."""
        return read_json_lines(block, pa.schema(list(self._known)), unexpected)


def _items_of(document: pa.Table | None) -> pa.StructArray | None:
    """The items of the lines; None if they were not parsed, or a line has another member."""
    if document is None:
        return None
    column = document.column(ITEM)
    if not pa.types.is_struct(column.type):
        return None
    items = column.chunk(0) if column.num_chunks == 1 else column.combine_chunks()
    for name in document.column_names:
        if name != ITEM and document.column(name).null_count < len(document):
            return None
    return items


def _pieces(block: bytes, size: int) -> Iterator[bytes]:
    """The block in parts of whole lines and at most ``size`` bytes, or of one longer line."""
    start = 0
    while start < len(block):
        end = min(start + size, len(block))
        if end < len(block):
            end = block.rfind(b"\n", start, end) + 1 or block.find(b"\n", end) + 1 or len(block)
        yield block[start:end]
        start = end


def _as_tagged(schema: pa.Schema) -> pa.StructType:
    """An inferred schema with the content types that DynamoDB has for its type tags."""
    index = schema.get_field_index(ITEM)
    kind = schema.field(index).type if index >= 0 else pa.struct([])
    return pa.struct([pa.field(ITEM, _names(kind))])


def _names(kind: pa.DataType) -> pa.StructType:
    if not pa.types.is_struct(kind) or kind.num_fields > MAX_LEARNED_NAMES:
        return pa.struct([])
    return pa.struct([pa.field(field.name, _tags(field.type)) for field in kind])


def _tags(kind: pa.DataType) -> pa.StructType:
    if not pa.types.is_struct(kind):
        return pa.struct([])
    fields = []
    for field in kind:
        if field.name == "M":
            fields.append(pa.field("M", _names(field.type)))
        elif field.name == "L":
            element = field.type.value_type if pa.types.is_list(field.type) else pa.struct([])
            fields.append(pa.field("L", pa.list_(_tags(element))))
        elif field.name in _TAG_TYPES:
            fields.append(pa.field(field.name, _TAG_TYPES[field.name]))
    return pa.struct(fields)


def _merged(one: pa.DataType, other: pa.DataType) -> pa.DataType:
    """The schema of both; the first one's for a map that would have too many names."""
    if pa.types.is_struct(one) and pa.types.is_struct(other):
        fields = {field.name: field for field in one}
        for field in other:
            known = fields.get(field.name)
            kind = _merged(known.type, field.type) if known is not None else field.type
            fields[field.name] = pa.field(field.name, kind)
        return pa.struct(list(fields.values())) if len(fields) <= MAX_LEARNED_NAMES else one
    if pa.types.is_list(one) and pa.types.is_list(other):
        return pa.list_(_merged(one.value_type, other.value_type))
    return one
