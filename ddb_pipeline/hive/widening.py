"""The Hive type that holds all values of two others, with all their digits: the narrowest readable.

``a < b`` means that ``b`` holds every value of ``a``:

- ``tinyint`` < ``smallint`` < ``int`` < ``bigint`` < ``decimal(20,0)``, as which Spark reads the
  files that have a ``bigint``: of fewer digits it reads none;
- ``decimal(p,s)`` < a decimal with at least as many digits on both sides of the point;
- ``float`` < ``double``;
- ``char(n)`` < ``varchar(n)`` < ``string``, and each < a longer one of its kind;
- ``void`` < every type.

Integers and ``double`` have no common wider type but ``string``: neither holds all of the other.
"""

from collections.abc import Mapping
from typing import Final

from ddb_pipeline.hive.types import (
    MAX_DECIMAL_PRECISION,
    STRING,
    CharType,
    DecimalType,
    HiveType,
    PrimitiveType,
    VarcharType,
)

_INTEGER_DIGITS: Final = {"tinyint": 3, "smallint": 5, "int": 10, "bigint": 19}
"""Hive's integer types, narrowest first, with the decimal digits of the largest value."""
_SPARK_DIGITS: Final = {"tinyint": 10, "smallint": 10, "int": 10, "bigint": 20}
"""The digits before the point of the decimals as which Spark 4 reads a file's integers: it refuses
to read the file as any narrower decimal (measured)."""


def wider_type(one: HiveType, other: HiveType) -> HiveType | None:
    """The narrowest type that holds all values of two types; None if there is none.

    A container has no common type with any other type but ``void``.
    """
    if one == other:
        return one
    for void, kind in ((one, other), (other, one)):
        if isinstance(void, PrimitiveType) and void.name == "void":
            return kind
    return _wider_number(one, other) or _wider_text(one, other)


def _wider_number(one: HiveType, other: HiveType) -> HiveType | None:
    names = {kind.name for kind in (one, other) if isinstance(kind, PrimitiveType)}
    if names == {"float", "double"}:
        return PrimitiveType("double")
    if len(names) == 2 and names <= _INTEGER_DIGITS.keys():
        return PrimitiveType(max(names, key=_INTEGER_DIGITS.__getitem__))
    return _wider_decimal(one, other, _SPARK_DIGITS) or _wider_decimal(one, other, _INTEGER_DIGITS)


def _wider_decimal(
    one: HiveType, other: HiveType, integers: Mapping[str, int]
) -> DecimalType | None:
    decimals = [_as_decimal(one, integers), _as_decimal(other, integers)]
    exact = [kind for kind in decimals if kind is not None]
    if len(exact) < 2:
        return None
    scale = max(kind.scale for kind in exact)
    precision = scale + max(kind.precision - kind.scale for kind in exact)
    return DecimalType(precision, scale) if precision <= MAX_DECIMAL_PRECISION else None


def _as_decimal(kind: HiveType, integers: Mapping[str, int]) -> DecimalType | None:
    if isinstance(kind, DecimalType):
        return kind
    if isinstance(kind, PrimitiveType) and kind.name in integers:
        return DecimalType(integers[kind.name], 0)
    return None


def _wider_text(one: HiveType, other: HiveType) -> HiveType | None:
    kinds = (one, other)
    if not all(isinstance(kind, CharType | VarcharType) or kind == STRING for kind in kinds):
        return None
    length = max(kind.length for kind in kinds if isinstance(kind, CharType | VarcharType))
    if STRING in kinds:
        return STRING
    both_char = isinstance(one, CharType) and isinstance(other, CharType)
    return CharType(length) if both_char else VarcharType(length)
