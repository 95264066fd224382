"""The range of many numbers at once, as ``hive.numbers`` returns it for each of them."""

from typing import Final

import pyarrow as pa
import pyarrow.compute as pc

from ddb_pipeline.export.rows.numbers import doubtful_doubles, is_plain
from ddb_pipeline.hive.numbers import NumberRange, number_range

_DECIMAL: Final = r"^-?[0-9]+\.[0-9]+$"
_SMALL_DIGITS: Final = 10**15


def range_of_numbers(texts: pa.Array) -> NumberRange:
    """The range of numbers, as ``number_range`` returns it for each of them.

    ``texts`` has at least one text and no nulls, and each text is a number.
    """
    if not is_plain(texts):
        return _exact_range(texts)
    try:
        return _integer_range(pc.cast(texts, pa.int64()))
    except pa.ArrowInvalid:
        pass
    decimal = pc.match_substring_regex(texts, _DECIMAL)
    whole = texts.filter(pc.invert(decimal))
    found = _decimal_range(texts.filter(decimal))
    if len(whole):
        try:
            other = _integer_range(pc.cast(whole, pa.int64()))
        except pa.ArrowInvalid:
            other = _exact_range(whole)
        found = other if found is None else found.merged(other)
    return found or NumberRange()


def _integer_range(numbers: pa.Array) -> NumberRange:
    values = numbers.to_numpy()
    low, high = int(values.min()), int(values.max())
    large = values[(values >= _SMALL_DIGITS) | (values <= -_SMALL_DIGITS)]
    return NumberRange(
        whole_digits=len(str(max(-low, high))),
        double=all(number_range(str(value)).double for value in large.tolist()),
    )


def _decimal_range(texts: pa.Array) -> NumberRange | None:
    """The range of numbers that have a decimal point; None if present are none."""
    if not len(texts):
        return None
    digits = pc.utf8_ltrim(texts, "-")
    shortened = pc.utf8_rtrim(digits, "0")
    scales = pc.subtract(pc.binary_length(shortened), pc.add(pc.find_substring(shortened, "."), 1))
    scale = pc.max(scales).as_py()
    whole = pc.max(pc.find_substring(pc.utf8_ltrim(digits, "0"), ".")).as_py()
    values = pc.cast(texts, pa.float64())
    if not whole and pc.any(pc.equal(values, 0.0)).as_py():
        whole = 1
    if pc.any(pc.equal(scales, 0)).as_py():
        # 5.0 is an integer; whether bigint holds it depends on all its digits.
        whole_numbers = _exact_range(texts.filter(pc.equal(scales, 0)))
        bigint = whole_numbers.bigint and scale == 0
    else:
        bigint = False
    doubtful = texts.filter(doubtful_doubles(texts, values))
    return NumberRange(
        whole_digits=whole,
        scale=scale,
        bigint=bigint,
        double=all(number_range(text).double for text in doubtful.to_pylist()),
    )


def _exact_range(texts: pa.Array) -> NumberRange:
    found = number_range(texts[0].as_py())
    for text in pc.unique(texts).to_pylist():
        found = found.merged(number_range(text))
    return found
