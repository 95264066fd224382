"""The Hive type that holds a set of DynamoDB numbers with all their digits.

DynamoDB's numbers have up to 38 significant digits between 1E-130 and 9.9E+125. The type follows
from the range of the numbers, and ranges merge in any order.
"""

import re
from dataclasses import dataclass
from decimal import Decimal
from typing import Final

from ddb_pipeline.hive.types import (
    MAX_DECIMAL_PRECISION,
    PRIMITIVE_TYPES,
    STRING,
    DecimalType,
    HiveType,
)
from ddb_pipeline.hive.undecodable import UndecodableValueError

_SMALL_INTEGER: Final = re.compile(r"-?(?:0|[1-9][0-9]{0,14})").fullmatch
_NUMBER: Final = re.compile(r"[+-]?([0-9]*)(?:\.([0-9]*))?(?:[eE]([+-]?[0-9]{1,9}))?").fullmatch
_BIGINT_DIGITS: Final = 19
_BIGINT_RANGE: Final = range(-(2**63), 2**63)
_EXACT_DOUBLE_DIGITS: Final = 15
_UNSIGNED_LONG: Final = DecimalType(20, 0)
_WHOLE: Final = DecimalType(MAX_DECIMAL_PRECISION, 0)
_FRACTION: Final = DecimalType(MAX_DECIMAL_PRECISION, 18)


@dataclass(frozen=True, slots=True)
class NumberRange:
    """The range of a set of numbers, and which types hold them all.

    Attributes:
        whole_digits: the largest number of digits before the decimal point.
        scale: the largest number of digits after the decimal point.
        bigint: whether each number is a 64-bit integer.
        double: whether each number stays the same when read as a 64-bit floating point number.
    """

    whole_digits: int = 0
    scale: int = 0
    bigint: bool = True
    double: bool = True

    def merged(self, other: "NumberRange") -> "NumberRange":
        """The range of both sets together."""
        if self == other:
            return self
        return NumberRange(
            max(self.whole_digits, other.whole_digits),
            max(self.scale, other.scale),
            self.bigint and other.bigint,
            self.double and other.double,
        )


def number_range(text: str) -> NumberRange:
    """The range of one number, given as DynamoDB writes it.

    Raises:
        UndecodableValueError: the text is not a number, or its exponent has more than nine digits.
    """
    if _SMALL_INTEGER(text):
        return _SMALL_RANGES[len(text.lstrip("-"))]
    match = _NUMBER(text)
    if match is None or not (match[1] or match[2]):
        raise UndecodableValueError("the text is not a number of DynamoDB")
    fraction = match[2] or ""
    digits = (match[1] + fraction).lstrip("0")
    significant = digits.rstrip("0")
    if not significant:
        return _SMALL_RANGES[1]
    exponent = int(match[3] or 0) - len(fraction) + len(digits) - len(significant)
    whole_digits = max(0, len(significant) + exponent)
    return NumberRange(
        whole_digits=whole_digits,
        scale=max(0, -exponent),
        bigint=exponent >= 0 and whole_digits <= _BIGINT_DIGITS and _is_bigint(text),
        double=_survives_double(text, len(significant), exponent),
    )


_SMALL_RANGES: Final = tuple(NumberRange(whole_digits=digits) for digits in range(16))


def _is_bigint(text: str) -> bool:
    return int(Decimal(text)) in _BIGINT_RANGE


def _survives_double(text: str, digits: int, exponent: int) -> bool:
    if not -300 < exponent + digits < 300:
        return False
    return digits <= _EXACT_DOUBLE_DIGITS or Decimal(repr(float(text))) == Decimal(text)


def number_type(numbers: NumberRange) -> HiveType:
    """The type for numbers of this range: bigint, else double, else a decimal, else string.

    A double that loses no digit comes before a decimal: Glue's crawler prefers it too, and the
    OpenX SerDe refuses decimals. Decimals have all 38 digits if possible, so that a number with one
    more digit does not change the type.
    """
    if numbers.bigint:
        return PRIMITIVE_TYPES["bigint"]
    if numbers.double:
        return PRIMITIVE_TYPES["double"]
    for decimal in (_UNSIGNED_LONG, _FRACTION, _WHOLE):
        fits = numbers.whole_digits <= decimal.precision - decimal.scale
        if fits and numbers.scale <= decimal.scale:
            return decimal
    if numbers.whole_digits + numbers.scale <= MAX_DECIMAL_PRECISION:
        return DecimalType(MAX_DECIMAL_PRECISION, numbers.scale)
    return STRING
