"""Which Hive type holds all the values of two others, without changing a digit of them.

- ``tinyint`` < ``smallint`` < ``int`` < ``bigint`` < ``decimal(19,0)``;
- ``decimal(p,s)`` < one with at least as many digits on both sides of the point;
- ``float`` < ``double``;
- ``char(n)`` < ``varchar(n)`` < ``string``, and each < a longer one of its own;
- ``void`` < anything.

Whole numbers and ``double`` have no common wider type but text: neither holds all of the other.
"""

from typing import Final

from ddb_pipeline.hive.types import (
    MAX_DECIMAL_PRECISION,
    STRING,
    CharType,
    DecimalType,
    HiveType,
    PrimitiveType,
    VarcharType,
    children,
)

INTEGER_DIGITS: Final = {"tinyint": 3, "smallint": 5, "int": 10, "bigint": 19}
"""Hive's integers from the narrowest to the widest, with the decimal digits of their largest."""


def wider_primitive(one: HiveType, other: HiveType) -> HiveType | None:
    """The narrowest type that holds all values of two types without others inside; None if none.

    Void gives way to anything, containers included.
    """
    if one == other:
        return one
    for void, kind in ((one, other), (other, one)):
        if isinstance(void, PrimitiveType) and void.name == "void":
            return kind
    if children(one) or children(other):
        return None
    return _wider_number(one, other) or _wider_text(one, other)


def _wider_number(one: HiveType, other: HiveType) -> HiveType | None:
    names = {kind.name for kind in (one, other) if isinstance(kind, PrimitiveType)}
    if names == {"float", "double"}:
        return PrimitiveType("double")
    if len(names) == 2 and names <= INTEGER_DIGITS.keys():
        return PrimitiveType(max(names, key=INTEGER_DIGITS.__getitem__))
    decimals = [_as_decimal(one), _as_decimal(other)]
    exact = [kind for kind in decimals if kind is not None]
    if len(exact) < 2:
        return None
    scale = max(kind.scale for kind in exact)
    precision = scale + max(kind.precision - kind.scale for kind in exact)
    return DecimalType(precision, scale) if precision <= MAX_DECIMAL_PRECISION else None


def _as_decimal(kind: HiveType) -> DecimalType | None:
    if isinstance(kind, DecimalType):
        return kind
    if isinstance(kind, PrimitiveType) and kind.name in INTEGER_DIGITS:
        return DecimalType(INTEGER_DIGITS[kind.name], 0)
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
