"""The fast path of conversion: Arrow's JSON reader reads a whole chunk of records.

It returns a table only where the OpenX SerDe would certainly return the same rows. Arrow's reader
is strict: a value of another JSON type than its column is an error, not a coercion, and members
without a column appear as additional fields, so that a key in another letter case is noticed. This
module looks for what Arrow's reader accepts and the SerDe refuses or reads differently: NaN, NUL
bytes, invalid UTF-8, deep nesting, keys that differ only in letter case, other forms of dates. In
every case of doubt ``json_line`` or ``read`` returns None, and the records take the exact path.
"""

import re
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

import pyarrow as pa
import pyarrow.compute as pc

from ddb_pipeline.arrow_json import read_json_lines
from ddb_pipeline.arrow_types import arrow_type
from ddb_pipeline.conversion.options import HiveJsonOptions, OpenXOptions
from ddb_pipeline.conversion.serde.openx import json_keys
from ddb_pipeline.hive.epoch import MILLISECONDS_FROM
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

# Words that Arrow's reader accepts as numbers, at the positions of values, and as documents.
_NOT_FINITE: Final = re.compile(rb"[:,\[][ \t\r\n]*-?(?:NaN|Inf)")
_NULL_DOCUMENT: Final = re.compile(rb"\}[ \t\r\n]*null")

# Dates that Java and Arrow read equally: from 1600 on, every part in its ordinary range.
_YEAR: Final = r"(?:1[6-9]|[2-9][0-9])[0-9]{2}"
_DAY: Final = r"-(?:0[1-9]|1[0-2])-(?:0[1-9]|[12][0-9]|3[01])"
_TIME: Final = r"(?:[01][0-9]|2[0-3]):[0-5][0-9]:[0-5][0-9](?:\.[0-9]{1,6})?"
_DATE_TEXT: Final = f"^{_YEAR}{_DAY}$"
_TIMESTAMP_TEXT: Final = f"^{_YEAR}{_DAY}(?: {_TIME}|T{_TIME}Z)$"

_EPOCH: Final = pa.int64()
_EARLIEST: Final = -62_135_596_800 * 1_000_000
"""The year 1 in microseconds since 1970."""
_LATEST: Final = 253_402_300_799 * 1_000_000
"""The last second of the year 9999 in microseconds since 1970."""

_SAMPLE_BYTES: Final = 16 * 1024
"""Bytes of a chunk that decide whether timestamp columns hold epoch numbers."""


class _UncertainError(Exception):
    """The SerDe may read this chunk, or any chunk of this table, differently."""


@dataclass(frozen=True, slots=True)
class _Value:
    """A column, field or element: its Hive type, the type Arrow reads, the type of the result."""

    hive_type: HiveType
    read: pa.DataType
    target: pa.DataType
    members: "tuple[_Member, ...]" = ()
    element: "_Value | None" = None


@dataclass(frozen=True, slots=True)
class _Member:
    """A column or a field of a struct, with its key in JSON."""

    key: str
    value: _Value


class FastReader:
    """Reads chunks with the columns of one table. ``of`` constructs it."""

    def __init__(
        self, columns: tuple[_Member, ...], schema: pa.Schema, options: OpenXOptions
    ) -> None:
        self._columns = columns
        self._schema = schema
        self._options = options
        # Top-level timestamp columns that held epoch numbers in the last chunk.
        self._numeric: frozenset[str] = frozenset()

    @classmethod
    def of(
        cls,
        columns: Sequence[Column | tuple[str, str]],
        schema: pa.Schema,
        options: OpenXOptions | HiveJsonOptions,
    ) -> "FastReader | None":
        """Return a reader, or None where no chunk with these columns can take the fast path.

        These are columns read by Hive's SerDe, columns with maps (Arrow's JSON reader has none),
        and columns whose names are equal in lower case.
        """
        if isinstance(options, HiveJsonOptions):
            return None
        try:
            members = _Planner(options).members(
                [(name, parse_type(text)) for name, text in columns]
            )
        except _UncertainError:
            return None
        return cls(members, schema, options)

    def read(self, lines: Sequence[bytes]) -> pa.Table | None:
        """Return the rows of lines from ``json_line``, or None if they must take the exact path."""
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
            parsed = read_json_lines(body, schema, "infer", several_on_a_line=True)
            if parsed is None:
                return None
            self._check_members(list(parsed.schema), self._columns)
            arrays = [_finish(_array(parsed, column.key), column.value) for column in self._columns]
        except (pa.ArrowInvalid, _UncertainError):
            return None
        return pa.Table.from_arrays(arrays, schema=self._schema)

    def _epoch_columns(self, body: bytes) -> frozenset[str]:
        """The keys of top-level timestamp columns whose values are integers in a sample."""
        end = body.find(b"\n", _SAMPLE_BYTES)
        text = body if end < 0 else body[: end + 1]
        sample = read_json_lines(text, None, "infer", several_on_a_line=True)
        if sample is None:
            return self._numeric
        types = {field.name: field.type for field in sample.schema}
        return frozenset(
            column.key
            for column in self._columns
            if pa.types.is_timestamp(column.value.target) and types.get(column.key) == _EPOCH
        )

    def _check_members(self, found: Sequence[pa.Field], members: Sequence[_Member]) -> None:
        """Check that the SerDe assigns each member found to the same column or to none."""
        by_key = {member.key: member.value for member in members}
        for field in found:
            value = by_key.get(field.name)
            if value is not None:
                self._check_value(field.type, value)
                continue
            if self._options.case_insensitive and field.name.lower() in by_key:
                raise _UncertainError
            if self._options.convert_dots and "." in field.name:
                raise _UncertainError
            self._check_without_column(field.type)
        self._check_distinct_keys([field.name for field in found])

    def _check_value(self, found: pa.DataType, value: _Value) -> None:
        if value.members:
            fields = [found.field(i) for i in range(found.num_fields)]
            self._check_members(fields, value.members)
        elif value.element is not None:
            self._check_value(found.value_type, value.element)

    def _check_without_column(self, found: pa.DataType) -> None:
        pending = [found]
        while pending:
            inner = pending.pop()
            fields = [inner.field(i) for i in range(inner.num_fields)]
            if pa.types.is_struct(inner):
                self._check_distinct_keys([field.name for field in fields])
            pending.extend(field.type for field in fields)

    def _check_distinct_keys(self, names: Sequence[str]) -> None:
        # Keys of one object that are equal in lower case are a duplicate key to the SerDe.
        if self._options.case_insensitive:
            _require_distinct([name.lower() for name in names])


class _Planner:
    """Decides how columns are read. Raises _UncertainError for types that Arrow cannot read."""

    def __init__(self, options: OpenXOptions) -> None:
        self._keys = json_keys(
            options.column_to_json_key, case_insensitive=options.case_insensitive
        )

    def members(self, columns: Sequence[tuple[str, HiveType]]) -> tuple[_Member, ...]:
        members = tuple(
            _Member(self._keys.get(name.lower(), name.lower()), self.value(hive_type))
            for name, hive_type in columns
        )
        _require_distinct([member.key for member in members])
        return members

    def value(self, hive_type: HiveType) -> _Value:
        target = arrow_type(hive_type)
        if isinstance(hive_type, StructType):
            members = self.members([(field.name, field.type) for field in hive_type.fields])
            read = pa.struct([(member.key, member.value.read) for member in members])
            return _Value(hive_type, read, target, members=members)
        if isinstance(hive_type, ArrayType):
            element = self.value(hive_type.element)
            return _Value(hive_type, pa.list_(element.read), target, element=element)
        if isinstance(hive_type, DecimalType):
            # The SerDe refuses every decimal value, and Arrow refuses every value but null as null.
            return _Value(hive_type, pa.null(), target)
        if isinstance(hive_type, PrimitiveType) and hive_type.name in ("date", "timestamp"):
            return _Value(hive_type, pa.string(), target)
        if isinstance(hive_type, PrimitiveType | CharType | VarcharType):
            return _Value(hive_type, target, target)
        raise _UncertainError


def _require_distinct(names: Sequence[str]) -> None:
    if len(set(names)) < len(names):
        raise _UncertainError


def json_line(record: bytes) -> bytes | None:
    """Strip a record of white space; return None if it does not start with { and end with }.

    No JSON string can hold a line break. So lines of this form parse together exactly when each
    of them does.
    """
    line = record.strip(b" \t\r\n")
    return line if line.startswith(b"{") and line.endswith(b"}") else None


def _is_sound(body: bytes) -> bool:
    not_finite = (b"NaN" in body or b"Inf" in body) and _NOT_FINITE.search(body)
    null_document = b"null" in body and _NULL_DOCUMENT.search(body)
    return b"\x00" not in body and not not_finite and not null_document


def _array(table: pa.Table, key: str) -> pa.Array:
    chunks = table.column(table.schema.get_field_index(key)).chunks
    return chunks[0] if len(chunks) == 1 else pa.concat_arrays(chunks)


def _finish(array: pa.Array, value: _Value) -> pa.Array:
    """Convert an array that Arrow read to its column's type, without members that have no field."""
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
    if isinstance(value.hive_type, CharType):
        return pc.utf8_rtrim(array, characters=" ")
    return array.cast(value.target)


def _from_text(array: pa.Array, pattern: str, target: pa.DataType) -> pa.Array:
    if pc.all(pc.match_substring_regex(array, pattern)).as_py() is False:
        raise _UncertainError
    if pa.types.is_timestamp(target):
        # Arrow refuses "Z" for a timestamp without zone. The pattern has made sure that T and Z
        # stand nowhere else.
        array = pc.utf8_rtrim(pc.replace_substring(array, "T", " "), characters="Z")
    return array.cast(target)


def _from_epoch(array: pa.Array) -> pa.Array:
    seconds = pc.less(pc.abs(array), MILLISECONDS_FROM)
    factor = pc.if_else(seconds, pa.scalar(1_000_000, _EPOCH), pa.scalar(1_000, _EPOCH))
    microseconds = pc.multiply_checked(array, factor)
    extremes = pc.min_max(microseconds).as_py()
    earliest, latest = extremes["min"], extremes["max"]
    if latest is not None and not (earliest >= _EARLIEST and latest <= _LATEST):
        raise _UncertainError
    return microseconds.cast(pa.timestamp("us"))
