"""DynamoDB numbers and the type that holds them."""

from decimal import Decimal

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from ddb_pipeline.hive.numbers import NumberRange, number_range, number_type
from ddb_pipeline.hive.types import DecimalType


def together(*numbers: str) -> NumberRange:
    found = NumberRange()
    for text in numbers:
        found = found.merged(number_range(text))
    return found


@pytest.mark.parametrize(
    ("numbers", "kind"),
    [
        (["0"], "bigint"),
        (["-0", "007", "+5"], "bigint"),
        (["1.0", "1.50E+1", "1E+2"], "bigint"),
        (["9223372036854775807", "-9223372036854775808"], "bigint"),
        (["9223372036854775808"], "decimal(20,0)"),
        (["99999999999999999999999999999999999999"], "decimal(38,0)"),
        (["1E+19"], "double"),
        (["0.1"], "double"),
        (["12", "12.5"], "double"),
        (["9.9E+125", "1E-130", "-1E-130"], "double"),
        # 2**53 + 1 and a fraction: no double holds the first, no bigint the second.
        (["9007199254740993", "0.5"], "decimal(38,18)"),
        (["9007199254740992", "0.5"], "double"),
        (["0.1234567890123456789"], "decimal(38,19)"),
        (["1.234567890123456789"], "decimal(38,18)"),
        (["123456789012345678901234567890.12345678"], "decimal(38,8)"),
        (["0.00000000000000000000000000000000012345678901234567890"], "string"),
        # Each fits a decimal, both together would need 20 + 20 digits.
        (["12345678901234567891", "0.12345678901234567891"], "string"),
        (["9.9E+125", "12345678901234567891"], "string"),
    ],
)
def test_the_type_that_holds_them_all(numbers: list[str], kind: str) -> None:
    assert str(number_type(together(*numbers))) == kind
    assert str(number_type(together(*reversed(numbers)))) == kind


@pytest.mark.parametrize("text", ["", ".", "-", "NaN", "Infinity", "1,5", "0x1", " 1", "1e", "١"])
def test_text_that_is_not_a_number(text: str) -> None:
    with pytest.raises(ValueError, match="not a number"):
        number_range(text)


digits = st.text(st.sampled_from("0123456789"), min_size=1, max_size=38)
numbers = st.builds(
    "{}{}{}".format,
    st.sampled_from(["", "-"]),
    digits | st.builds("{}.{}".format, digits, digits),
    st.just("") | st.integers(-130, 125).map("E{:+d}".format),
)
ranges = numbers.map(number_range)


@given(st.lists(numbers, min_size=1, max_size=4))
@settings(deadline=None)
def test_no_digit_is_lost(texts: list[str]) -> None:
    kind = number_type(together(*texts))
    for text in texts:
        number = Decimal(text)
        if str(kind) == "bigint":
            assert number == int(number)
            assert -(2**63) <= number < 2**63
        elif str(kind) == "double":
            assert Decimal(repr(float(text))) == number
        elif isinstance(kind, DecimalType):
            whole, _, fraction = f"{abs(number):f}".partition(".")
            assert len(whole.lstrip("0")) <= kind.precision - kind.scale
            assert len(fraction.rstrip("0")) <= kind.scale


@given(ranges, ranges, ranges)
@settings(deadline=None)
def test_merging_in_any_order(a: NumberRange, b: NumberRange, c: NumberRange) -> None:
    assert a.merged(b) == b.merged(a)
    assert a.merged(b).merged(c) == a.merged(b.merged(c))
    assert a.merged(a) == a
    assert a.merged(NumberRange()) == a
