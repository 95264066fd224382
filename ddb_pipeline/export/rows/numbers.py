"""Columns of number texts as Arrow numbers: whole columns at a time, no digit lost.

Arrow's casts fail for a whole column because of one value (``1E+2`` as an integer), read ``0x10``
as 16, and round to doubles. So only texts of a usual form are cast; the others are converted one by
one by the exact path.
"""

from typing import Any, Final, NamedTuple

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from ddb_pipeline.arrow_types import arrow_type
from ddb_pipeline.export.rows.exact import Read, value_reader
from ddb_pipeline.export.rows.masks import Mask, some, to_mask
from ddb_pipeline.hive.fitting import INTEGER_BITS
from ddb_pipeline.hive.types import (
    MAX_DECIMAL_PRECISION,
    PRIMITIVE_TYPES,
    DecimalType,
    HiveType,
    PrimitiveType,
)
from ddb_pipeline.hive.undecodable import UndecodableValueError

DOUBLE: Final = PRIMITIVE_TYPES["double"]

_MINUS: Final = ord("-")
_NINE: Final = ord("9")
"""In ASCII, ``-``, ``.``, ``/`` and the digits are the characters from the first to the second."""

SAFE_DOUBLE_LENGTH: Final = 15
"""A number of at most this many characters has at most as many digits, which a double
keeps (IEEE 754, DBL_DIG)."""

_DECIMAL_LENGTH: Final = MAX_DECIMAL_PRECISION + len("-0.")
_SMALL_INTEGER: Final = r"^-?[0-9]{1,18}$"
_SMALL_DOUBLE: Final = r"^-?[0-9]{1,40}(\.[0-9]{1,40})?([eE][+-]?[0-9]{1,2})?$"
_JSON_NUMBER: Final = r"^-?(0|[1-9][0-9]*)(\.[0-9]+)?([eE][+-]?[0-9]+)?$"


class Converted(NamedTuple):
    """A converted column.

    Attributes:
        values: the column.
        unproven: rows whose value is not in the column, or could not be proved to be exact; the
            exact path decides about them.
    """

    values: pa.Array
    unproven: Mask | None


def numbers(texts: pa.Array, kind: HiveType) -> Converted:
    """Number texts and nulls as values of an integer, double, float or decimal type."""
    target = arrow_type(kind)
    if isinstance(kind, PrimitiveType) and kind.name in INTEGER_BITS:
        return _integers(texts, target, kind)
    if kind == DOUBLE:
        return _doubles(texts)
    if isinstance(kind, DecimalType):
        return _decimals(texts, target, kind)
    return one_by_one(texts, "N", kind)


def number_texts(texts: pa.Array) -> Converted:
    """Number texts as strings; only those in JSON's grammar are proved to need no change."""
    good = pc.match_substring_regex(texts, _JSON_NUMBER)
    return Converted(texts, some(to_mask(pc.invert(good.fill_null(True)))))


def is_plain(texts: pa.Array) -> bool:
    """Whether all texts consist of digits, points, minus signs and slashes only."""
    _, offsets, data = texts.buffers()
    if data is None:
        return True
    ends = np.frombuffer(offsets, np.int32)[texts.offset : texts.offset + len(texts) + 1]
    content = np.frombuffer(data, np.uint8)[ends[0] : ends[-1]]
    return not len(content) or bool(content.min() >= _MINUS and content.max() <= _NINE)


def _integers(texts: pa.Array, target: pa.DataType, kind: HiveType) -> Converted:
    whole = _cast_if_plain(texts, target)
    if whole is not None:
        return Converted(whole, None)
    ordinary = pc.match_substring_regex(texts, _SMALL_INTEGER)
    values = pc.cast(pc.if_else(ordinary, texts, None), pa.int64())
    try:
        return _one_by_one(texts, pc.cast(values, target), pc.invert(ordinary), kind)
    except pa.ArrowInvalid:
        return one_by_one(texts, "N", kind)


def _decimals(texts: pa.Array, target: pa.DataType, kind: DecimalType) -> Converted:
    # Arrow (pyarrow 26) casts texts of several hundred digits to a wrong decimal.
    longest = pc.max(pc.binary_length(texts)).as_py() or 0
    whole = _cast_if_plain(texts, target) if longest <= _DECIMAL_LENGTH else None
    if whole is not None:
        return Converted(whole, None)
    ordinary = pc.match_substring_regex(texts, _ordinary_decimal(kind))
    values = pc.cast(pc.if_else(ordinary, texts, None), target)
    return _one_by_one(texts, values, pc.invert(ordinary), kind)


def _ordinary_decimal(kind: DecimalType) -> str:
    """A pattern of numbers whose digits all fit the type."""
    digits = kind.precision - kind.scale
    whole = f"[0-9]{{1,{digits}}}" if digits else "0"
    fraction = rf"(\.[0-9]{{1,{kind.scale}}})?" if kind.scale else ""
    return f"^-?{whole}{fraction}$"


def _doubles(texts: pa.Array) -> Converted:
    values = _cast_if_plain(texts, pa.float64())
    if values is not None:
        return _one_by_one(texts, values, doubtful_doubles(texts, values), DOUBLE)
    ordinary = pc.match_substring_regex(texts, _SMALL_DOUBLE)
    ordinary_texts = pc.if_else(ordinary, texts, None)
    values = pc.cast(ordinary_texts, pa.float64())
    doubtful = doubtful_doubles(ordinary_texts, values).fill_null(False)
    return _one_by_one(texts, values, pc.or_(doubtful, pc.invert(ordinary)), DOUBLE)


def _cast_if_plain(texts: pa.Array, target: pa.DataType) -> pa.Array | None:
    """All texts as numbers; None if one of them is irregular or the cast fails."""
    if not is_plain(texts):
        return None
    try:
        return pc.cast(texts, target)
    except pa.ArrowInvalid:
        return None


def doubtful_doubles(texts: pa.Array, values: pa.Array) -> pa.Array:
    """Which texts may have more digits than their doubles.

    A long text is exact if it equals the shortest text of its double.
    """
    long = pc.greater(pc.binary_length(texts), SAFE_DOUBLE_LENGTH)
    if not pc.any(long).as_py():
        return long
    return pc.and_(long, pc.not_equal(pc.cast(values, pa.string()), texts))


def one_by_one(texts: pa.Array, tag: str, kind: HiveType) -> Converted:
    """The contents of a type tag by the exact path; those that it refuses are unproven."""
    nothing = pa.nulls(len(texts), arrow_type(kind))
    return _one_by_one(texts, nothing, pc.is_valid(texts), kind, tag)


def _one_by_one(
    texts: pa.Array, values: pa.Array, doubtful: pa.Array, kind: HiveType, tag: str = "N"
) -> Converted:
    """Convert the doubtful values by the exact path; those it refuses are unproven."""
    positions = np.flatnonzero(to_mask(doubtful.fill_null(False)))
    if not len(positions):
        return Converted(values, None)
    read: Read = value_reader(kind)
    replaced: list[Any] = []
    unproven = np.zeros(len(texts), np.bool_)
    for position, text in zip(positions, texts.take(pa.array(positions)).to_pylist(), strict=True):
        try:
            replaced.append(read({tag: text}))
        except UndecodableValueError:
            replaced.append(None)
            unproven[position] = True
    mask = np.zeros(len(texts), np.bool_)
    mask[positions] = True
    values = pc.replace_with_mask(values, pa.array(mask), pa.array(replaced, values.type))
    return Converted(values, some(unproven))
