"""Java's calendar and epoch numbers, beyond the recorded cases."""

from datetime import date, datetime, timedelta

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from ddb_pipeline.conversion.serde.java import JavaError
from ddb_pipeline.conversion.serde.times import (
    date_value_of,
    from_epoch_milliseconds,
    parse_date,
    parse_timestamp,
    timestamp_value_of,
)


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("2020-13-01", date(2021, 1, 1)),
        ("2021-02-29", date(2021, 3, 1)),
        ("2020-0-0", date(2019, 11, 30)),
        ("2020-01--1", date(2019, 12, 30)),
        ("2020-01-400", date(2021, 2, 3)),
        ("1582-10-05", date(1582, 10, 15)),
        ("1582-10-14", date(1582, 10, 24)),
        ("1500-02-28", date(1500, 2, 28)),
        ("0004-02-29", date(4, 2, 29)),
        ("2020-1-2T00", date(2020, 1, 2)),
        ("\t2020- 1-2", date(2020, 1, 2)),
    ],
)
def test_lenient_dates(text: str, expected: date) -> None:
    assert parse_date(text) == expected


@pytest.mark.parametrize("text", ["", "x", "2020-01", "2020/01/01", "20200101", "0000-00-00"])
def test_texts_that_are_not_dates(text: str) -> None:
    with pytest.raises(JavaError):
        parse_date(text)


@given(st.dates(min_value=date(1583, 1, 1)))
@settings(max_examples=150, deadline=None)
def test_iso_dates(day: date) -> None:
    assert parse_date(day.isoformat()) == day
    assert date_value_of(day.isoformat()) == day


@given(st.datetimes(min_value=datetime(1583, 1, 1)))
@settings(max_examples=150, deadline=None)
def test_iso_timestamps(moment: datetime) -> None:
    assert parse_timestamp(moment.isoformat(" ")) == moment
    assert parse_timestamp(moment.isoformat() + "Z") == moment
    assert timestamp_value_of(f" {moment.isoformat(' ')}\n") == moment


@given(st.datetimes(min_value=datetime(1970, 1, 1)).map(lambda at: at.replace(microsecond=0)))
@settings(max_examples=150, deadline=None)
def test_epoch_seconds(moment: datetime) -> None:
    seconds = (moment - datetime(1970, 1, 1)) // timedelta(seconds=1)
    assert parse_timestamp(str(seconds)) == moment


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("2020-01-02T03:04:05+01:30", datetime(2020, 1, 2, 2, 4, 5)),
        ("2020-01-02T03:04:05-0100", datetime(2020, 1, 2, 4, 4, 5)),
        ("2020-01-02 3:4:5.000000001", datetime(2020, 1, 2, 3, 4, 5)),
        ("2020-02-31 00:00:00", datetime(2020, 3, 2)),
        ("2020-01-01 -1:00:00", datetime(2019, 12, 31, 23)),
        ("-1.5", datetime(1969, 12, 31, 23, 59, 58, 500000)),
        ("999999999999.9", from_epoch_milliseconds(999999999999900)),
        ("1000000000000.0", datetime(2001, 9, 9, 1, 46, 40)),
    ],
)
def test_timestamps(text: str, expected: datetime) -> None:
    assert parse_timestamp(text) == expected


@pytest.mark.parametrize(
    "text",
    [
        "",
        "x",
        "NaN.",
        "2020-01-02",
        "2020-01-02T03:04:05",
        "2020-1-02T03:04:05Z",
        "2020-01-02 03:04:05Z",
        "2020-01-02 03:04:05.",
        "2020-01-02 03:04:05.x",
        "2020-01-02 03:04:05.1234567890",
        "2020-13-02 03:04:05",
        "12020-01-02 03:04:05",
        "9999-12-31 24:00:00",
        "1e3",
        "9" * 30,
    ],
)
def test_texts_that_are_not_timestamps(text: str) -> None:
    with pytest.raises(JavaError):
        parse_timestamp(text)


@given(st.integers(min_value=-(2**63), max_value=2**63 - 1))
@settings(max_examples=150, deadline=None)
def test_every_epoch_millisecond_is_an_instant(milliseconds: int) -> None:
    assert isinstance(from_epoch_milliseconds(milliseconds), datetime)


@given(st.text(alphabet="0123456789-: .TZ+x", max_size=24))
@settings(max_examples=150, deadline=None)
def test_any_text_is_an_instant_or_a_java_error(text: str) -> None:
    for parse in (parse_timestamp, parse_date, date_value_of):
        try:
            parse(text)
        except JavaError:
            continue
