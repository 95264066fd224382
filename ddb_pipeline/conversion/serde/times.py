"""Dates and timestamps as the OpenX SerDe and Firehose read them from JSON.

Documented forms: "Choose the JSON deserializer" in the Amazon Data Firehose developer guide.
Other texts follow java.sql.Timestamp.valueOf, SimpleDateFormat and recorded output of the SerDe.
Where the probed service differs, it wins: an epoch number is in seconds or milliseconds by its
size, and an instant past the year 9999 wraps around in 64-bit nanoseconds.
"""

import re
from datetime import date, datetime, timedelta
from typing import Final, TypeVar

from ddb_pipeline.conversion.serde.java import (
    LONG_MAX,
    LONG_MIN,
    JavaError,
    for_input_string,
    java_trim,
    parse_double,
    parse_long,
)
from ddb_pipeline.hive.epoch import MILLISECONDS_FROM

EPOCH: Final = datetime(1970, 1, 1)

Epoch = TypeVar("Epoch", int, float)

_TIMESTAMP_FORMAT: Final = "Timestamp format must be yyyy-mm-dd hh:mm:ss[.fffffffff]"
# The forms with 'T' are strict. Minutes of an offset are ignored, as the pattern "X" of the
# SerDe's SimpleDateFormat ignores those of "+05:30".
_ISO: Final = re.compile(
    r"(\d{4})-(\d{2})-(\d{2})T(\d{2}):(\d{2}):(\d{2})"
    r"(?:(\.\d{1,9})?Z|([+-]\d{2}):?\d{2})\Z",
    re.ASCII,
)
_JDBC_DATE: Final = re.compile(r"(\d{4})-(\d{1,2})-(\d{1,2})\Z", re.ASCII)
_JDBC_TIMESTAMP: Final = re.compile(
    r"(\d{4})-(\d{1,2})-(\d{1,2}) ([^:]*):([^:]*):(?=.)([^.]*)(?:\.(.+))?\Z", re.ASCII | re.DOTALL
)
_LENIENT_DATE: Final = re.compile(r"[ \t]*(-?\d+)-[ \t]*(-?\d+)-[ \t]*(-?\d+)")
# The forms of nearly every timestamp, which datetime.fromisoformat reads equally.
_COMMON: Final = re.compile(
    r"[2-9]\d{3}-(?:0[1-9]|1[0-2])-(?:0[1-9]|1\d|2[0-8])"
    r"(?: (?:[01]\d|2[0-3]):[0-5]\d:[0-5]\d|T(?:[01]\d|2[0-3]):[0-5]\d:[0-5]\dZ)\Z",
    re.ASCII,
)
_FIRST_GREGORIAN: Final = date(1582, 10, 15).toordinal()


def parse_timestamp(text: str) -> datetime:
    """Parse the text of a JSON string or number for a timestamp column, as naive UTC.

    Digits past microseconds are dropped. Raises JavaError with Java's message.
    """
    if ":" not in text[1:]:
        return _epoch(text)
    if _COMMON.match(text):
        return datetime.fromisoformat(text[:19])
    match = _ISO.match(text)
    if match is None:
        return timestamp_value_of(text)
    year, month, day, hour, minute, second = (int(part) for part in match.groups()[:6])
    micros = _microseconds((match.group(7) or "")[1:])
    offset = int(match.group(8) or 0)
    return _moment(year, month, day, hour - offset, minute, second, micros)


def timestamp_value_of(text: str) -> datetime:
    """java.sql.Timestamp.valueOf: hours, minutes and seconds may have any value.

    Raises JavaError with Java's message.
    """
    match = _JDBC_TIMESTAMP.match(java_trim(text))
    year, month, day = (int(part) for part in match.groups()[:3]) if match else (0, 0, 0)
    if match is None or not (1 <= month <= 12 and 1 <= day <= 31):
        raise JavaError(_TIMESTAMP_FORMAT)
    hour, minute, second = (_time_part(part) for part in match.groups()[3:6])
    fraction = match.group(7) or ""
    if fraction and (len(fraction) > 9 or not fraction[0].isdigit()):
        raise JavaError(_TIMESTAMP_FORMAT)
    digits = str(_time_part(fraction)).zfill(len(fraction)) if fraction else ""
    return _moment(year, month, day, hour, minute, second, _microseconds(digits))


def parse_date(text: str) -> date:
    """Parse a text for a date column: lenient SimpleDateFormat("yyyy-MM-dd").parse.

    It ignores text after the date. Raises JavaError for any other text, and for a day outside
    the years 1 to 9999.
    """
    match = _LENIENT_DATE.match(text)
    if match is None or any(len(part) > 10 for part in match.groups()):
        raise JavaError(f'Unparseable date: "{text}"')
    year, month, day = (int(part) for part in match.groups())
    return _calendar_date(year, month, day)


def date_value_of(text: str) -> date:
    """java.sql.Date.valueOf, which the SerDes use for date keys of a map. Raises JavaError."""
    match = _JDBC_DATE.match(text)
    year, month, day = (int(part) for part in match.groups()) if match else (0, 0, 0)
    if not (1 <= month <= 12 and 1 <= day <= 31):
        raise JavaError("null")
    return _calendar_date(year, month, day)


def from_epoch_milliseconds(milliseconds: int) -> datetime:
    """The instant as naive UTC, wrapped around in 64-bit nanoseconds past what datetime holds.

    The service does so: 999999999999 seconds arrives as an instant of the year 2092.
    """
    try:
        return EPOCH + timedelta(milliseconds=milliseconds)
    except OverflowError:
        nanoseconds = (milliseconds * 1_000_000 + 2**63) % 2**64 - 2**63
        return EPOCH + timedelta(microseconds=nanoseconds // 1000)


def _epoch(text: str) -> datetime:
    if "." in text:
        number = _milliseconds(parse_double(text))
        if number != number:
            raise for_input_string(text)
        # A Java cast of a double to long saturates.
        return from_epoch_milliseconds(int(max(min(number, float(LONG_MAX)), float(LONG_MIN))))
    return from_epoch_milliseconds(_milliseconds(parse_long(text)))


def _milliseconds(number: Epoch) -> Epoch:
    return number * 1000 if abs(number) < MILLISECONDS_FROM else number


def _time_part(text: str) -> int:
    """Integer.parseInt, for a part of a timestamp."""
    if re.fullmatch(r"[+-]?\d{1,10}", text):
        return int(text)
    bad = re.match(r"[+-]?\d*", text)
    index = bad.end() if bad else 0
    raise JavaError(f'Error at index {index} in: "{text}"' if text else 'For input string: ""')


def _microseconds(digits: str) -> int:
    return int(digits[:6].ljust(6, "0"))


def _moment(
    year: int, month: int, day: int, hour: int, minute: int, second: int, micros: int
) -> datetime:
    start = _calendar_date(year, month, day)
    elapsed = timedelta(hours=hour, minutes=minute, seconds=second, microseconds=micros)
    try:
        return datetime(start.year, start.month, start.day) + elapsed
    except OverflowError:
        raise JavaError(f"Timestamp outside the years 1 to 9999: {start} + {elapsed}") from None


def _calendar_date(year: int, month: int, day: int) -> date:
    """The day of a lenient java.util.GregorianCalendar.

    Months and days past their range roll over; dates before 15 October 1582 are Julian.
    """
    try:
        if year > 1582:
            return date(year, month, day)
    except ValueError:
        pass
    year, month = year + (month - 1) // 12, (month - 1) % 12 + 1
    ordinal = _gregorian_ordinal(year, month) + day - 1
    if ordinal >= _FIRST_GREGORIAN:
        return _from_ordinal(ordinal)
    julian = _julian_ordinal(year, month) + day - 1
    if julian >= _FIRST_GREGORIAN:
        return _from_ordinal(julian)
    return _julian_label(julian)


def _gregorian_ordinal(year: int, month: int) -> int:
    before = year - 1
    days = before * 365 + before // 4 - before // 100 + before // 400
    leap = year % 4 == 0 and (year % 100 != 0 or year % 400 == 0)
    return days + _days_before_month(month, leap) + 1


def _julian_ordinal(year: int, month: int) -> int:
    # The Julian calendar's 1 January of the year 1 is two days before the Gregorian calendar's.
    before = year - 1
    return before * 365 + before // 4 + _days_before_month(month, year % 4 == 0) - 1


def _days_before_month(month: int, leap: bool) -> int:
    return (0, 31, 59, 90, 120, 151, 181, 212, 243, 273, 304, 334)[month - 1] + (
        1 if leap and month > 2 else 0
    )


def _julian_label(ordinal: int) -> date:
    """The date of a day in the Julian calendar, which Java prints."""
    year = (ordinal + 1) * 4 // 1461 + 1
    while _julian_ordinal(year, 1) > ordinal:
        year -= 1
    month = max(m for m in range(1, 13) if _julian_ordinal(year, m) <= ordinal)
    if year < 1:
        raise JavaError("Date outside the years 1 to 9999")
    day = ordinal - _julian_ordinal(year, month) + 1
    try:
        return date(year, month, day)
    except ValueError:  # 29 February of a Julian leap year that Gregorian does not have
        return _from_ordinal(ordinal)


def _from_ordinal(ordinal: int) -> date:
    try:
        return date.fromordinal(ordinal)
    except (ValueError, OverflowError):
        raise JavaError("Date outside the years 1 to 9999") from None
