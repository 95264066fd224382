"""The narrowest Hive type that holds all values of two others, with all their digits.

``a < b`` means that ``b`` holds every value of ``a``:

- ``tinyint`` < ``smallint`` < ``int`` < ``bigint`` < ``decimal(19,0)``;
- ``decimal(p,s)`` < a decimal with at least as many digits on both sides of the point;
- ``float`` < ``double``;
- ``char(n)`` < ``varchar(n)`` < ``string``, and each < a longer one of its kind;
- ``void`` < every type.

Integers and ``double`` have no common wider type but ``string``: neither holds all of the other.
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
)

_INTEGER_DIGITS: Final = {"tinyint": 3, "smallint": 5, "int": 10, "bigint": 19}
"""Hive's integer types, narrowest first, with the decimal digits of the largest value."""


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
    if isinstance(kind, PrimitiveType) and kind.name in _INTEGER_DIGITS:
        return DecimalType(_INTEGER_DIGITS[kind.name], 0)
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
