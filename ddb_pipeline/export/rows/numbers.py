"""Columns of number texts as Arrow numbers: whole columns at a time, and never a digit lost.

Arrow's own casts are exact where they succeed on what is let through to them, but refuse a whole
column for one value (``1E+2`` as an integer), read ``0x10`` as 16, and round decimals to doubles.
So the texts are looked at first, and those that are out of the ordinary are converted one by one.
"""

from typing import Any, Final, NamedTuple

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc

from ddb_pipeline.arrow_types import arrow_type
from ddb_pipeline.export.rows.exact import INTEGER_BITS, ExportValueError, Read, value_reader
from ddb_pipeline.hive.types import PRIMITIVE_TYPES, DecimalType, HiveType, PrimitiveType

DOUBLE: Final = PRIMITIVE_TYPES["double"]

Mask = npt.NDArray[np.bool_]

_MINUS: Final = ord("-")
_NINE: Final = ord("9")
"""``-``, ``.``, ``/`` and the digits are what lies between these two in ASCII."""

SAFE_DOUBLE_LENGTH: Final = 15
"""A number of at most so many characters has at most as many digits: it comes out
of a double as it went in (IEEE 754, DBL_DIG)."""

_SMALL_INTEGER: Final = r"^-?[0-9]{1,18}$"
_SMALL_DOUBLE: Final = r"^-?[0-9]{1,40}(\.[0-9]{1,40})?([eE][+-]?[0-9]{1,2})?$"
_JSON_NUMBER: Final = r"^-?(0|[1-9][0-9]*)(\.[0-9]+)?([eE][+-]?[0-9]+)?$"


class Converted(NamedTuple):
    """A column, and which of its values are not in it yet: those the exact way has to look at."""

    values: pa.Array
    slow: Mask | None


def numbers(texts: pa.Array, kind: HiveType) -> Converted:
    """Number texts, nulls among them, as values of an integer, double, float or decimal type."""
    target = arrow_type(kind)
    if isinstance(kind, PrimitiveType) and kind.name in INTEGER_BITS:
        return _integers(texts, target, kind)
    if kind == DOUBLE:
        return _doubles(texts)
    if isinstance(kind, DecimalType):
        return _decimals(texts, target, kind)
    return _all_one_by_one(texts, kind)


def number_texts(texts: pa.Array) -> Converted:
    """Number texts that stay text: those in JSON's grammar as they are."""
    good = pc.match_substring_regex(texts, _JSON_NUMBER)
    slow = to_mask(pc.invert(good.fill_null(True)))
    return Converted(texts, slow if slow.any() else None)


def either(one: Mask | None, other: Mask | None) -> Mask | None:
    """Rows that are in one of two masks; None is a mask without any."""
    if one is None or other is None:
        return other if one is None else one
    both: Mask = one | other
    return both


def to_mask(values: pa.Array) -> Mask:
    mask: Mask = values.to_numpy(zero_copy_only=False).astype(np.bool_, copy=False)
    return mask


def is_plain(texts: pa.Array) -> bool:
    """Whether there are only digits, points and minus signs (and slashes) in all of the texts."""
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
        return _all_one_by_one(texts, kind)


def _decimals(texts: pa.Array, target: pa.DataType, kind: DecimalType) -> Converted:
    whole = _cast_if_plain(texts, target)
    if whole is not None:
        return Converted(whole, None)
    ordinary = pc.match_substring_regex(texts, _ordinary_decimal(kind))
    values = pc.cast(pc.if_else(ordinary, texts, None), target)
    return _one_by_one(texts, values, pc.invert(ordinary), kind)


def _ordinary_decimal(kind: DecimalType) -> str:
    """Numbers whose digits all have a place in the type."""
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
    """All of the texts as numbers where the cast takes them as they are."""
    if not is_plain(texts):
        return None
    try:
        return pc.cast(texts, target)
    except pa.ArrowInvalid:
        return None


def doubtful_doubles(texts: pa.Array, values: pa.Array) -> pa.Array:
    """Which of the texts may have had more digits than the doubles that were made of them.

    Many digits are the same number again where the double's shortest text is the text itself.
    """
    long = pc.greater(pc.binary_length(texts), SAFE_DOUBLE_LENGTH)
    if not pc.any(long).as_py():
        return long
    return pc.and_(long, pc.not_equal(pc.cast(values, pa.string()), texts))


def one_by_one(texts: pa.Array, tag: str, kind: HiveType) -> Converted:
    """The contents under a type tag, each by the exact way; those it refuses are slow."""
    nothing = pa.nulls(len(texts), arrow_type(kind))
    return _one_by_one(texts, nothing, pc.is_valid(texts), kind, tag)


def _all_one_by_one(texts: pa.Array, kind: HiveType) -> Converted:
    return one_by_one(texts, "N", kind)


def _one_by_one(
    texts: pa.Array, values: pa.Array, doubtful: pa.Array, kind: HiveType, tag: str = "N"
) -> Converted:
    """Put the doubtful values in by the exact way; those it refuses are slow."""
    positions = np.flatnonzero(to_mask(doubtful.fill_null(False)))
    if not len(positions):
        return Converted(values, None)
    read: Read = value_reader(kind)
    replaced: list[Any] = []
    slow = np.zeros(len(texts), np.bool_)
    for position, text in zip(positions, texts.take(pa.array(positions)).to_pylist(), strict=True):
        try:
            replaced.append(read({tag: text}))
        except ExportValueError:
            replaced.append(None)
            slow[position] = True
    mask = np.zeros(len(texts), np.bool_)
    mask[positions] = True
    values = pc.replace_with_mask(values, pa.array(mask), pa.array(replaced, values.type))
    return Converted(values, slow if slow.any() else None)
