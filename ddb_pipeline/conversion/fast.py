"""The fast path of conversion: a chunk of records read whole by Arrow's JSON reader.

It answers only where its answer is certain to be the OpenX SerDe's. Arrow's reader is strict: a
value that does not have its column's JSON type is an error and not a coercion, and undeclared
members show up as additional fields, so that a key in another case is seen. What it takes and the
SerDe does not, or reads differently, is looked for here: NaN, NUL bytes, bad UTF-8, deep nesting,
keys that differ only by case, dates in other spellings. In every doubt ``json_line`` or ``read``
returns None, and records go through the SerDe one by one.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.json as pj

from ddb_pipeline.arrow_types import arrow_type
from ddb_pipeline.conversion.options import HiveJsonOptions, OpenXOptions
from ddb_pipeline.conversion.serde.json_documents import MAX_NESTING
from ddb_pipeline.conversion.serde.times import EPOCH_MILLISECONDS_FROM
from ddb_pipeline.hive.types import (
    ArrayType,
    CharType,
    Column,
    DecimalType,
    HiveType,
    PrimitiveType,
    StructType,
    VarcharType,
    parse_type,
)

# Non-numbers that Arrow's reader takes for numbers, where a value may stand.
_NOT_FINITE: Final = re.compile(rb"[:,\[][ \t\r\n]*-?(?:NaN|Inf)")

# From 1600 on Java's calendar and Arrow's agree, and every part is in its ordinary range.
_YEAR: Final = r"(?:1[6-9]|[2-9][0-9])[0-9]{2}"
_DAY: Final = r"-(?:0[1-9]|1[0-2])-(?:0[1-9]|[12][0-9]|3[01])"
_TIME: Final = r"(?:[01][0-9]|2[0-3]):[0-5][0-9]:[0-5][0-9](?:\.[0-9]{1,6})?"
_DATE_TEXT: Final = f"^{_YEAR}{_DAY}$"
_TIMESTAMP_TEXT: Final = f"^{_YEAR}{_DAY}(?: {_TIME}|T{_TIME}Z)$"

# Epoch numbers, and the years 1 to 9999 as microseconds.
_EPOCH: Final = pa.int64()
_EARLIEST: Final = -62_135_596_800 * 1_000_000
_LATEST: Final = 253_402_300_799 * 1_000_000

_SAMPLE_BYTES: Final = 16 * 1024


class _UnsureError(Exception):
    """The fast path will not vouch for this chunk, or for any chunk of this table."""


@dataclass(frozen=True, slots=True)
class _Value:
    """How a value is read from JSON and what it becomes."""

    declared: HiveType
    read: pa.DataType
    target: pa.DataType
    members: tuple[_Member, ...] = ()
    element: _Value | None = None


@dataclass(frozen=True, slots=True)
class _Member:
    """A column, or a field of a struct, under the key its JSON has."""

    key: str
    value: _Value


class FastReader:
    """Reads chunks for the columns of one table. Build it with ``of``."""

    def __init__(
        self, columns: tuple[_Member, ...], schema: pa.Schema, options: OpenXOptions
    ) -> None:
        self._columns = columns
        self._schema = schema
        self._options = options
        # Which top-level timestamp columns hold epoch numbers; learned from the data.
        self._numeric: frozenset[str] = frozenset()

    @classmethod
    def of(
        cls,
        columns: Sequence[Column | tuple[str, str]],
        schema: pa.Schema,
        options: OpenXOptions | HiveJsonOptions,
    ) -> FastReader | None:
        """A reader, or None when no chunk of such a table could be read fast.

        That is with Hive's SerDe, with a map column (Arrow's reader has no maps), and with
        columns that fall together when their names are folded.
        """
        if isinstance(options, HiveJsonOptions):
            return None
        try:
            members = _Reading(options).members(
                [(name, parse_type(text)) for name, text in columns]
            )
        except _UnsureError:
            return None
        return cls(members, schema, options)

    def read(self, lines: Sequence[bytes]) -> pa.Table | None:
        """The rows of records brought to lines, or None when they must be read one by one."""
        body = b"\n".join(lines)
        if not _is_sound(body):
            return None
        table = self._parse(body, self._numeric)
        if table is None:
            numeric = self._epoch_columns(body)
            table = None if numeric == self._numeric else self._parse(body, numeric)
            if table is not None:
                self._numeric = numeric
        return table

    def _parse(self, body: bytes, numeric: frozenset[str]) -> pa.Table | None:
        schema = pa.schema(
            [
                (column.key, _EPOCH if column.key in numeric else column.value.read)
                for column in self._columns
            ]
        )
        try:
            parsed = _read(body, schema)
            self._check_members(list(parsed.schema), self._columns)
            arrays = [_finish(_array(parsed, column.key), column.value) for column in self._columns]
        except (pa.ArrowInvalid, _UnsureError):
            return None
        return pa.Table.from_arrays(arrays, schema=self._schema)

    def _epoch_columns(self, body: bytes) -> frozenset[str]:
        """The top-level timestamp columns whose values look like epoch numbers."""
        end = body.find(b"\n", _SAMPLE_BYTES)
        try:
            sample = _read(body if end < 0 else body[: end + 1], None)
        except pa.ArrowInvalid:
            return self._numeric
        types = {field.name: field.type for field in sample.schema}
        return frozenset(
            column.key
            for column in self._columns
            if pa.types.is_timestamp(column.value.target) and types.get(column.key) == _EPOCH
        )

    def _check_members(self, found: Sequence[pa.Field], declared: Sequence[_Member]) -> None:
        """Every member is declared under exactly this key, or cannot be meant by any column."""
        by_key = {member.key: member.value for member in declared}
        for field in found:
            value = by_key.get(field.name)
            if value is not None:
                self._check_value(field.type, value)
                continue
            if self._options.case_insensitive and field.name.lower() in by_key:
                raise _UnsureError
            if self._options.convert_dots and "." in field.name:
                raise _UnsureError
            self._check_undeclared(field.type)
        self._check_folded([field.name for field in found])

    def _check_value(self, found: pa.DataType, declared: _Value) -> None:
        if declared.members:
            fields = [found.field(i) for i in range(found.num_fields)]
            self._check_members(fields, declared.members)
        elif declared.element is not None:
            self._check_value(found.value_type, declared.element)

    def _check_undeclared(self, found: pa.DataType) -> None:
        pending = [found]
        while pending:
            inner = pending.pop()
            fields = [inner.field(i) for i in range(inner.num_fields)]
            if pa.types.is_struct(inner):
                self._check_folded([field.name for field in fields])
            pending.extend(field.type for field in fields)

    def _check_folded(self, names: Sequence[str]) -> None:
        # Two keys of one object that fold together are a duplicate key to the SerDe.
        if self._options.case_insensitive:
            _require_distinct([name.lower() for name in names])


class _Reading:
    """Plans how columns are read. Raises _UnsureError for what Arrow's reader cannot read."""

    def __init__(self, options: OpenXOptions) -> None:
        self._mapping = {
            column.lower(): key.lower() if options.case_insensitive else key
            for column, key in options.column_to_json_key.items()
        }

    def members(self, declared: Sequence[tuple[str, HiveType]]) -> tuple[_Member, ...]:
        members = tuple(
            _Member(self._mapping.get(name.lower(), name.lower()), self.value(hive_type))
            for name, hive_type in declared
        )
        _require_distinct([member.key for member in members])
        return members

    def value(self, declared: HiveType) -> _Value:
        target = arrow_type(declared)
        if isinstance(declared, StructType):
            members = self.members([(field.name, field.type) for field in declared.fields])
            read = pa.struct([(member.key, member.value.read) for member in members])
            return _Value(declared, read, target, members=members)
        if isinstance(declared, ArrayType):
            element = self.value(declared.element)
            return _Value(declared, pa.list_(element.read), target, element=element)
        if isinstance(declared, DecimalType):
            # The SerDe refuses every decimal value; as null, so does Arrow's reader.
            return _Value(declared, pa.null(), target)
        if isinstance(declared, PrimitiveType) and declared.name in ("date", "timestamp"):
            return _Value(declared, pa.string(), target)
        if isinstance(declared, PrimitiveType | CharType | VarcharType):
            return _Value(declared, target, target)
        raise _UnsureError


def _require_distinct(names: Sequence[str]) -> None:
    if len(set(names)) < len(names):
        raise _UnsureError


def json_line(record: bytes) -> bytes | None:
    """A record without the white space around it; None if it is not plainly JSON objects.

    As every line starts with { and ends with }, and no string can hold a line break, lines parse
    together exactly when each of them does.
    """
    line = record.strip(b" \t\r\n")
    if not (line.startswith(b"{") and line.endswith(b"}")):
        return None
    # Arrow's reader does not bound nesting; too many brackets may be too deep.
    return line if line.count(b"[") + line.count(b"{") <= MAX_NESTING else None


def _is_sound(body: bytes) -> bool:
    if b"\x00" in body or ((b"NaN" in body or b"Inf" in body) and _NOT_FINITE.search(body)):
        return False
    try:
        body.decode("utf-8")
    except UnicodeDecodeError:
        return False
    return True


def _read(body: bytes, schema: pa.Schema | None) -> pa.Table:
    return pj.read_json(
        pa.BufferReader(body),
        read_options=pj.ReadOptions(use_threads=False, block_size=len(body) + 1),
        parse_options=pj.ParseOptions(explicit_schema=schema, unexpected_field_behavior="infer"),
    )


def _array(table: pa.Table, key: str) -> pa.Array:
    chunks = table.column(table.schema.get_field_index(key)).chunks
    return chunks[0] if len(chunks) == 1 else pa.concat_arrays(chunks)


def _finish(array: pa.Array, value: _Value) -> pa.Array:
    """A column as read to the column as declared: times out of texts, only declared members."""
    if value.members:
        indexes = [array.type.get_field_index(member.key) for member in value.members]
        children = [
            _finish(array.field(index), member.value)
            for index, member in zip(indexes, value.members, strict=True)
        ]
        fields = [value.target.field(i) for i in range(value.target.num_fields)]
        return pa.StructArray.from_arrays(children, fields=fields, mask=array.is_null())
    if value.element is not None:
        elements = _finish(array.values, value.element)
        return pa.ListArray.from_arrays(
            array.offsets, elements, type=value.target, mask=array.is_null()
        )
    if pa.types.is_timestamp(value.target) and array.type == _EPOCH:
        return _from_epoch(array)
    if pa.types.is_timestamp(value.target):
        return _from_text(array, _TIMESTAMP_TEXT, value.target)
    if pa.types.is_date(value.target):
        return _from_text(array, _DATE_TEXT, value.target)
    if isinstance(value.declared, CharType):
        return pc.utf8_rtrim(array, characters=" ")
    return array.cast(value.target)


def _from_text(array: pa.Array, pattern: str, target: pa.DataType) -> pa.Array:
    if pc.all(pc.match_substring_regex(array, pattern)).as_py() is False:
        raise _UnsureError
    if pa.types.is_timestamp(target):
        # Arrow takes the zone mark for a zoned timestamp; the pattern has refused every other
        # place for a T or a Z.
        array = pc.utf8_rtrim(pc.replace_substring(array, "T", " "), characters="Z")
    return array.cast(target)


def _from_epoch(array: pa.Array) -> pa.Array:
    seconds = pc.less(pc.abs(array), EPOCH_MILLISECONDS_FROM)
    factor = pc.if_else(seconds, pa.scalar(1_000_000, _EPOCH), pa.scalar(1_000, _EPOCH))
    microseconds = pc.multiply_checked(array, factor)
    extremes = pc.min_max(microseconds).as_py()
    earliest, latest = extremes["min"], extremes["max"]
    if latest is not None and not (earliest >= _EARLIEST and latest <= _LATEST):
        raise _UnsureError
    return microseconds.cast(pa.timestamp("us"))
