"""Lines of an export to Arrow record batches: vectorised, exact, in bounded memory.

Arrow's JSON parser reads blocks of lines as nested struct columns, by the type tags and attribute
names learnt so far; what it has not been told of makes it refuse the block, which is then read in
pieces to learn from. No value is lost on the way: a row that the column-wise conversion could not
prove to be exact is read again from its line, and what that refuses is handed back as rejected.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Final

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.json as pj

from ddb_pipeline.arrow_types import arrow_schema
from ddb_pipeline.export.rows.columns import members
from ddb_pipeline.export.rows.exact import SET_ELEMENTS, ExactRows, ExportValueError
from ddb_pipeline.export.rows.numbers import Mask, to_mask
from ddb_pipeline.hive.types import Column, parse_type

PIECE_BYTES: Final = 512 * 1024
"""A piece's names are all made columns of; ever-new names in a whole block would be too many."""

FEW_LINES: Final = 16
MAX_LEARNT_NAMES: Final = 512
"""Names that are expected at one place. A map with more of them is keyed by data."""

_NEWLINE: Final = ord("\n")
_BRACE: Final = ord("}")

_TAG_TYPES: Final = {
    "S": pa.string(),
    "N": pa.string(),
    "B": pa.string(),
    "BOOL": pa.bool_(),
    "NULL": pa.bool_(),
    **{tag: pa.list_(pa.string()) for tag in SET_ELEMENTS},
}


@dataclass(frozen=True, slots=True)
class RejectedLine:
    """A line that is no row: whole, with the path and the reason."""

    line: bytes
    path: str
    reason: str


@dataclass(frozen=True, slots=True)
class Rows:
    """What became of a block of lines.

    Attributes:
        table: the rows, columns as asked for, in no order.
        rejected: lines that no row was made of.
        exact_lines: how many rows were read one by one.
    """

    table: pa.Table
    rejected: tuple[RejectedLine, ...]
    exact_lines: int

    @property
    def lines(self) -> int:
        return len(self.table) + len(self.rejected)


class ExportReader:
    """Turns blocks of a full export's lines into rows. Not for several threads at once."""

    def __init__(self, columns: Sequence[Column | tuple[str, str]], member: str = "Item") -> None:
        self.schema = arrow_schema(columns)
        self._kinds = {name: parse_type(text) for name, text in columns}
        self._exact = ExactRows(columns)
        self._parser = BlockParser(member)

    def rows(self, block: bytes) -> Rows:
        """The rows of a block of whole lines, each ended by a newline but for the last."""
        tables: list[pa.Table] = []
        rejected: list[RejectedLine] = []
        exact_lines = 0
        for parsed in self._parser.parse(block):
            slow: list[bytes] | None = None
            if parsed.items is None:
                slow = parsed.lines()
            else:
                table, mask = self._table(parsed.items)
                if mask is not None and mask.any():
                    lines = parsed.lines()
                    slow = [line for line, is_slow in zip(lines, mask, strict=True) if is_slow]
                    table = table.filter(pa.array(~mask))
                tables.append(table)
            if slow:
                exact_lines += len(slow)
                tables.append(self._one_by_one(slow, rejected))
        table = pa.concat_tables(tables) if tables else self.schema.empty_table()
        return Rows(table, tuple(rejected), exact_lines)

    def _table(self, items: pa.StructArray) -> tuple[pa.Table, Mask | None]:
        arrays, slow = members(items, self._kinds)
        if items.null_count:
            missing = to_mask(pc.is_null(items))
            slow = missing if slow is None else slow | missing
        return pa.Table.from_arrays(arrays, schema=self.schema), slow

    def _one_by_one(self, lines: Sequence[bytes], rejected: list[RejectedLine]) -> pa.Table:
        rows = []
        for line in lines:
            try:
                rows.append(self._exact.line(line, self._parser.member))
            except ExportValueError as error:
                rejected.append(RejectedLine(line, error.path, error.reason))
        return pa.Table.from_pylist(rows, self.schema)


@dataclass(frozen=True, slots=True)
class ParsedLines:
    """Lines and, where they could be parsed together, their items, one a line in their order."""

    block: bytes
    items: pa.StructArray | None

    def lines(self) -> list[bytes]:
        return [line for line in self.block.split(b"\n") if line.strip()]


class BlockParser:
    """Parses lines by the tags and names seen so far, and learns those that are new."""

    def __init__(self, member: str) -> None:
        self.member = member
        self._known = pa.struct([pa.field(member, pa.struct([]))])

    def parse(self, block: bytes) -> Iterator[ParsedLines]:
        """The lines of a block, in as few parts as can be."""
        items = self._items(block, "error")
        if items is not None:
            yield ParsedLines(block, items)
            return
        for piece in _pieces(block, PIECE_BYTES):
            yield from self._learn(piece)

    def _learn(self, piece: bytes) -> Iterator[ParsedLines]:
        document = self._document(piece, "infer")
        if document is not None:
            learnt = merged(self._known, as_tagged(document.schema, self.member))
            if learnt != self._known:
                # Once more: without a type given, a text can be taken for a time.
                self._known = learnt
                document = self._document(piece, "infer")
        items = _items_of(document, self.member) if document is not None else None
        if items is not None or piece.count(b"\n") <= FEW_LINES:
            yield ParsedLines(piece, items)
            return
        for half in _pieces(piece, len(piece) // 2):
            yield from self._learn(half)

    def _items(self, block: bytes, unexpected: str) -> pa.StructArray | None:
        document = self._document(block, unexpected)
        return _items_of(document, self.member) if document is not None else None

    def _document(self, block: bytes, unexpected: str) -> pa.Table | None:
        """The block's lines as a table; None where they are not one document each."""
        if not _is_utf8(block):
            return None
        try:
            table = pj.read_json(
                pa.BufferReader(block),
                read_options=pj.ReadOptions(use_threads=False, block_size=len(block) + 1),
                parse_options=pj.ParseOptions(
                    explicit_schema=pa.schema(list(self._known)),
                    unexpected_field_behavior=unexpected,
                ),
            )
        except pa.ArrowInvalid:
            return None
        return table if table.num_rows == _closed_lines(block) else None


def _items_of(document: pa.Table, member: str) -> pa.StructArray | None:
    """The member of each line; a line that has others beside it has none."""
    column = document.column(member)
    if not pa.types.is_struct(column.type):
        return None
    items = column.chunk(0) if column.num_chunks == 1 else column.combine_chunks()
    for name in document.column_names:
        if name != member and document.column(name).null_count < len(document):
            return None
    return items


def _closed_lines(block: bytes) -> int:
    """Lines that end as a document does; with as many documents parsed, it is one a line."""
    content = np.frombuffer(block, np.uint8)
    ends = np.flatnonzero(content == _NEWLINE)
    ends = ends[ends > 0]
    last = int(block.endswith(b"}"))
    return int(np.count_nonzero(content[ends - 1] == _BRACE)) + last


def _is_utf8(block: bytes) -> bool:
    """Arrow's own check of text, several times as fast as decoding it."""
    ends = pa.py_buffer(np.array([0, len(block)], np.int32))
    text = pa.StringArray.from_buffers(1, ends, pa.py_buffer(block))
    try:
        text.validate(full=True)
    except pa.ArrowInvalid:
        return False
    return True


def _pieces(block: bytes, size: int) -> Iterator[bytes]:
    """The block in parts of about ``size`` bytes, each of whole lines."""
    start = 0
    while start < len(block):
        end = block.find(b"\n", min(start + max(size, 1), len(block)))
        end = len(block) if end < 0 else end + 1
        yield block[start:end]
        start = end


def as_tagged(schema: pa.Schema, member: str) -> pa.StructType:
    """What was parsed, with each type tag's content as DynamoDB has it."""
    index = schema.get_field_index(member)
    kind = schema.field(index).type if index >= 0 else pa.struct([])
    return pa.struct([pa.field(member, _names(kind))])


def _names(kind: pa.DataType) -> pa.StructType:
    if not pa.types.is_struct(kind) or kind.num_fields > MAX_LEARNT_NAMES:
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


def merged(one: pa.DataType, other: pa.DataType) -> pa.DataType:
    """What both know; where the names would become too many, what the first knows of them."""
    if pa.types.is_struct(one) and pa.types.is_struct(other):
        fields = {field.name: field for field in one}
        for field in other:
            known = fields.get(field.name)
            kind = merged(known.type, field.type) if known is not None else field.type
            fields[field.name] = pa.field(field.name, kind)
        return pa.struct(list(fields.values())) if len(fields) <= MAX_LEARNT_NAMES else one
    if pa.types.is_list(one) and pa.types.is_list(other):
        return pa.list_(merged(one.value_type, other.value_type))
    return one
