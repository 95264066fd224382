"""Dates and timestamps: ISO 8601 texts and epoch numbers of the years 1 to 9999, exact.

Parsed here instead of by ``datetime.fromisoformat``, which accepts other texts in each version of
Python. Epoch numbers are in seconds or milliseconds by their size, as Firehose reads them.
"""

import re
from datetime import date, datetime, timedelta
from decimal import Context, Decimal
from typing import Final

from ddb_pipeline.hive.epoch import MILLISECONDS_FROM
from ddb_pipeline.hive.undecodable import UndecodableValueError

_DATE: Final = re.compile(r"[0-9]{4}-[0-9]{2}-[0-9]{2}\Z")
_TIMESTAMP: Final = re.compile(
    r"([0-9]{4}-[0-9]{2}-[0-9]{2})"
    r"(?:[T ]([0-9]{2}):([0-9]{2})(?::([0-9]{2})(?:[.,]([0-9]{1,9}))?)?"
    r"(Z|[+-][0-9]{2}(?::?[0-9]{2})?)?)?\Z"
)
_EPOCH_TEXT: Final = re.compile(r"-?[0-9]{1,19}\Z")
_EPOCH: Final = datetime(1970, 1, 1)
_EXACT: Final = Context(prec=80)
_OUTSIDE: Final = "the time is outside of the years 1 to 9999"
_TOO_FINE: Final = "the time has digits past microseconds, which a timestamp column does not hold"


def read_date(text: str) -> date:
    """A day, ``YYYY-MM-DD``.

    Raises:
        UndecodableValueError: the text is something else.
    """
    try:
        if _DATE.match(text):
            return date.fromisoformat(text)
    except ValueError:
        pass
    raise UndecodableValueError("the text is not a date, YYYY-MM-DD")


def read_timestamp(text: str) -> datetime:
    """A text as naive UTC: ISO 8601 (a time without a zone is UTC), or an integer epoch number.

    Raises:
        UndecodableValueError: it is something else, outside of the years 1 to 9999, or has digits
            past microseconds.
    """
    if _EPOCH_TEXT.match(text):
        return read_epoch(text)
    match = _TIMESTAMP.match(text)
    try:
        if match is None:
            raise ValueError
        day = date.fromisoformat(match[1])
        hour, minute, second = (int(part or 0) for part in match.group(2, 3, 4))
        local = datetime(day.year, day.month, day.day, hour, minute, second)
        offset = _offset(match[6] or "Z")
    except ValueError:
        raise UndecodableValueError("the text is not an ISO 8601 timestamp") from None
    fraction = (match[5] or "").ljust(9, "0")
    if fraction[6:] != "000":
        raise UndecodableValueError(_TOO_FINE)
    try:
        return local - offset + timedelta(microseconds=int(fraction[:6]))
    except OverflowError:
        raise UndecodableValueError(_OUTSIDE) from None


def _offset(text: str) -> timedelta:
    """The offset of a zone from UTC. Raises ValueError."""
    if text == "Z":
        return timedelta()
    hours, minutes = int(text[1:3]), int(text[3:].lstrip(":") or 0)
    if hours > 23 or minutes > 59:
        raise ValueError(text)
    offset = timedelta(hours=hours, minutes=minutes)
    return -offset if text[0] == "-" else offset


def read_epoch(text: str) -> datetime:
    """A number of seconds or milliseconds since 1970 as naive UTC.

    Raises:
        UndecodableValueError: it is outside of the years 1 to 9999, or has digits past
            microseconds.
    """
    number = Decimal(text)
    if number.adjusted() > 18:
        raise UndecodableValueError(_OUTSIDE)
    factor = 1_000 if abs(number) >= MILLISECONDS_FROM else 1_000_000
    micros = _EXACT.multiply(number, Decimal(factor))
    if micros.as_tuple().exponent < -80 or micros != micros.to_integral_value(context=_EXACT):  # type: ignore[operator]
        raise UndecodableValueError(_TOO_FINE)
    try:
        return _EPOCH + timedelta(microseconds=int(micros))
    except OverflowError:
        raise UndecodableValueError(_OUTSIDE) from None
