"""Timestamp formats of HiveJsonSerDe: parsing by Joda-Time patterns, and ``millis``.

Source: org.joda.time.format.DateTimeFormat. A time without a zone is UTC; a field that a pattern
does not have is that of 1970-01-01 00:00.
"""

import re
from datetime import datetime, timedelta
from typing import Final

from ddb_pipeline.conversion.serde.java import JavaError, parse_long
from ddb_pipeline.conversion.serde.times import from_epoch_milliseconds

MILLIS: Final = "millis"

_MONTH_NAMES: Final = (
    r"January|February|March|April|May|June|July|August|September|October|November|December"
    r"|Jan|Feb|Mar|Apr|Jun|Jul|Aug|Sep|Oct|Nov|Dec"
)
_MONTHS: Final = tuple(name[:3].lower() for name in _MONTH_NAMES.split("|")[:12])
_DAY_NAMES: Final = (
    r"Monday|Tuesday|Wednesday|Thursday|Friday|Saturday|Sunday|Mon|Tue|Wed|Thu|Fri|Sat|Sun"
)
_TOKEN: Final = re.compile(r"([A-Za-z])\1*|'((?:[^']|'')*)'|([^A-Za-z'])")
_HOURS: Final = (("hour", 24), ("clock_hour", 24), ("half_clock_hour", 12), ("half_hour", 12))
_WIDTHS: Final = {"M": 2, "d": 2, "D": 3, "H": 2, "h": 2, "k": 2, "K": 2, "m": 2, "s": 2}
_GROUPS: Final = {
    "M": "month",
    "d": "day",
    "D": "day_of_year",
    "H": "hour",
    "k": "clock_hour",
    "h": "half_clock_hour",
    "K": "half_hour",
    "m": "minute",
    "s": "second",
}


class TimestampFormatError(ValueError):
    """A pattern that Joda-Time refuses, or with a letter that is not supported here."""


class TimestampFormat:
    """One entry of TimestampFormats. Raises TimestampFormatError for an invalid pattern."""

    def __init__(self, pattern: str) -> None:
        self.pattern = pattern
        self._regex = None if pattern == MILLIS else re.compile(_regex(pattern), re.IGNORECASE)

    def parse(self, text: str) -> datetime | None:
        """Parse a text to naive UTC; returns None where it does not have this format.

        Raises JavaError where it has this format but is not a date, such as 30 February.
        """
        if self._regex is None:
            return _milliseconds(text)
        match = self._regex.fullmatch(text)
        if match is None:
            return None
        try:
            return _moment(match.groupdict())
        except (ValueError, OverflowError) as error:
            raise JavaError(f'Cannot parse "{text}": {error}') from None


def _milliseconds(text: str) -> datetime | None:
    try:
        return from_epoch_milliseconds(parse_long(text))
    except JavaError:
        return None


def _regex(pattern: str) -> str:
    parts: list[str] = []
    position = 0
    tokens = list(_TOKEN.finditer(pattern))
    for index, token in enumerate(tokens):
        if token.start() != position:
            raise TimestampFormatError(f"timestamp format {pattern!r}: unterminated quote")
        position = token.end()
        letter, quoted, literal = token.groups()
        if letter:
            following = tokens[index + 1].group(1) if index + 1 < len(tokens) else None
            parts.append(_field(letter, len(token.group()), following is not None, pattern))
        else:
            text = literal if literal is not None else (quoted or "").replace("''", "'") or "'"
            parts.append(re.escape(text))
    if position != len(pattern):
        raise TimestampFormatError(f"timestamp format {pattern!r}: unterminated quote")
    return "".join(parts)


def _field(letter: str, count: int, abutting: bool, pattern: str) -> str:
    """The regular expression of a field, whose width is fixed if the next field abuts it."""
    if letter in "yYxu":
        return f"(?P<year>[+-]?[0-9]{{{count}}})" if abutting else "(?P<year>[+-]?[0-9]{1,9})"
    if letter == "M" and count >= 3:
        return f"(?P<month_name>{_MONTH_NAMES})"
    if letter in _WIDTHS:
        width = str(count) if abutting else f"1,{_WIDTHS[letter]}"
        return f"(?P<{_GROUPS[letter]}>[0-9]{{{width}}})"
    if letter == "S":
        width = str(count) if abutting else f"1,{count}"
        return f"(?P<fraction>[0-9]{{{width}}})"
    if letter == "E":
        return f"(?:{_DAY_NAMES})"
    if letter == "a":
        return "(?P<half>am|pm)"
    if letter == "Z" and count <= 2:
        return r"(?P<offset>Z|[+-][0-9]{2}:?[0-9]{2})"
    if letter == "z":
        return "(?P<zone>UTC|GMT)"
    raise TimestampFormatError(f"timestamp format {pattern!r}: letter {letter!r} is not supported")


def _moment(fields: dict[str, str | None]) -> datetime:
    def number(name: str, default: int) -> int:
        text = fields.get(name)
        return default if text is None else int(text)

    name = fields.get("month_name")
    month = _MONTHS.index(name[:3].lower()) + 1 if name else number("month", 1)
    second, minute = number("second", 0), number("minute", 0)
    fraction = (fields.get("fraction") or "")[:6].ljust(6, "0")
    moment = datetime(
        number("year", 1970), month, number("day", 1), _hour(fields), minute, second, int(fraction)
    )
    if fields.get("day_of_year"):
        moment = moment.replace(month=1, day=1) + timedelta(days=number("day_of_year", 1) - 1)
    return moment - _offset(fields.get("offset"))


def _hour(fields: dict[str, str | None]) -> int:
    for name, length in _HOURS:
        text = fields.get(name)
        if text is None:
            continue
        hour = int(text)
        if hour > length or (hour == length and "clock" not in name):
            raise ValueError(f"hour {hour} out of range")
        hour %= length
        return hour + 12 if length == 12 and (fields.get("half") or "").lower() == "pm" else hour
    return 0


def _offset(text: str | None) -> timedelta:
    if not text or text.upper() == "Z":
        return timedelta()
    digits = text[1:].replace(":", "")
    offset = timedelta(hours=int(digits[:2]), minutes=int(digits[2:]))
    return -offset if text[0] == "-" else offset
