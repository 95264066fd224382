"""Patterns of java.time.format.DateTimeFormatter, which Firehose prefixes use; formatting only.

Every letter that is useful in an object key is supported, with English names (Locale.ROOT); all
others are refused. Source: documentation of DateTimeFormatter and DateTimeFormatterBuilder, Java
SE 8.
"""

from collections.abc import Callable, Iterator
from datetime import datetime, timedelta
from typing import Final

_MONTHS: Final = (
    "January",
    "February",
    "March",
    "April",
    "May",
    "June",
    "July",
    "August",
    "September",
    "October",
    "November",
    "December",
)
_DAYS: Final = ("Monday", "Tuesday", "Wednesday", "Thursday", "Friday", "Saturday", "Sunday")
_ORDINALS: Final = ("1st", "2nd", "3rd", "4th")


class TimestampPatternError(ValueError):
    """A pattern that DateTimeFormatter or this subset of it does not accept."""


def format_timestamp(pattern: str, moment: datetime) -> str:
    """Format an aware datetime as ``DateTimeFormatter.ofPattern(pattern)`` does.

    Raises:
        TimestampPatternError: the pattern is not supported; the message names the letter.
    """
    return "".join(_parts(pattern, moment))


def _parts(pattern: str, moment: datetime) -> Iterator[str]:
    position = 0
    optional_depth = 0
    while position < len(pattern):
        character = pattern[position]
        if character.isascii() and character.isalpha():
            end = position
            while end < len(pattern) and pattern[end] == character:
                end += 1
            yield _field(character, end - position, moment)
            position = end
        elif character == "'":
            text, position = _quoted(pattern, position)
            yield text
        elif character in "[]":
            # All supported fields have a value, so optional sections are always printed.
            optional_depth += 1 if character == "[" else -1
            if optional_depth < 0:
                raise TimestampPatternError("Pattern invalid as it contains ] without previous [")
            position += 1
        elif character in "{}#":
            raise TimestampPatternError(f"Pattern includes reserved character: '{character}'")
        else:
            yield character
            position += 1


def _quoted(pattern: str, start: int) -> tuple[str, int]:
    position = start + 1
    text: list[str] = []
    while position < len(pattern):
        if pattern[position] != "'":
            text.append(pattern[position])
            position += 1
        elif pattern[position + 1 : position + 2] == "'":
            text.append("'")
            position += 2
        else:
            return "".join(text) or "'", position + 1
    raise TimestampPatternError(
        f"Pattern ends with an incomplete string literal: {pattern[start:]}"
    )


def _field(letter: str, count: int, moment: datetime) -> str:
    formatter = _FIELDS.get(letter)
    if formatter is None:
        raise TimestampPatternError(f"Unknown pattern letter: {letter}")
    return formatter(letter, count, moment)


def _too_many(letter: str) -> TimestampPatternError:
    return TimestampPatternError(f"Too many pattern letters: {letter}")


def _number(value: Callable[[datetime], int], limit: int) -> Callable[[str, int, datetime], str]:
    def render(letter: str, count: int, moment: datetime) -> str:
        if count > limit:
            raise _too_many(letter)
        return str(value(moment)).zfill(count)

    return render


def _year(value: Callable[[datetime], int]) -> Callable[[str, int, datetime], str]:
    def render(letter: str, count: int, moment: datetime) -> str:
        if count > 19:
            raise _too_many(letter)
        year = value(moment)
        # Two letters are the reduced form: the last two digits of the year.
        return f"{year % 100:02d}" if count == 2 else str(year).zfill(count)

    return render


def _month(letter: str, count: int, moment: datetime) -> str:
    return _named(letter, count, moment.month, _MONTHS[moment.month - 1])


def _day_name(letter: str, count: int, moment: datetime) -> str:
    name = _DAYS[moment.weekday()]
    return _text(letter, max(count, 3), name)


def _local_day(letter: str, count: int, moment: datetime) -> str:
    # Locale.ROOT has ISO weeks: Monday is day 1.
    if letter == "c" and count == 2:
        raise TimestampPatternError(f'Invalid pattern "{letter * count}"')
    return _named(letter, count, moment.isoweekday(), _DAYS[moment.weekday()])


def _quarter(letter: str, count: int, moment: datetime) -> str:
    quarter = (moment.month - 1) // 3 + 1
    if count == 3:
        return f"Q{quarter}"
    if count == 4:
        return f"{_ORDINALS[quarter - 1]} quarter"
    return _named(letter, count, quarter, str(quarter))


def _named(letter: str, count: int, number: int, name: str) -> str:
    return str(number).zfill(count) if count <= 2 else _text(letter, count, name)


def _text(letter: str, count: int, name: str) -> str:
    if count > 5:
        raise _too_many(letter)
    return {3: name[:3], 4: name, 5: name[:1]}[count]


def _am_pm(letter: str, count: int, moment: datetime) -> str:
    if count > 1:
        raise _too_many(letter)
    return "AM" if moment.hour < 12 else "PM"


def _era(letter: str, count: int, moment: datetime) -> str:
    if count > 5:
        raise _too_many(letter)
    return {4: "Anno Domini", 5: "A"}.get(count, "AD")


def _fraction(letter: str, count: int, moment: datetime) -> str:
    if count > 9:
        raise _too_many(letter)
    return f"{moment.microsecond * 1000:09d}"[:count]


def _zone_name(letter: str, count: int, moment: datetime) -> str:
    if count > 4:
        raise _too_many(letter)
    return moment.tzname() or ""


def _zone_id(letter: str, count: int, moment: datetime) -> str:
    if count != 2:
        raise TimestampPatternError(f"Pattern letter count must be 2: {letter}")
    zone = str(moment.tzinfo)
    return "Z" if zone == "UTC" else zone


def _offset(letter: str, count: int, moment: datetime) -> str:
    if count > 5:
        raise _too_many(letter)
    total = int((moment.utcoffset() or timedelta()).total_seconds())
    if total == 0 and letter == "X":
        return "Z"
    sign = "-" if total < 0 else "+"
    hours, minutes = divmod(abs(total) // 60, 60)
    if count == 1:
        return f"{sign}{hours:02d}" + (f"{minutes:02d}" if minutes else "")
    separator = ":" if count in (3, 5) else ""
    return f"{sign}{hours:02d}{separator}{minutes:02d}"


def _zone_offset(letter: str, count: int, moment: datetime) -> str:
    if count <= 3:
        return _offset("x", 2, moment)
    if count == 4:
        return _localized_offset("O", 4, moment)
    if count == 5:
        return _offset("X", 3, moment)
    raise _too_many(letter)


def _localized_offset(letter: str, count: int, moment: datetime) -> str:
    if count not in (1, 4):
        raise TimestampPatternError(f"Pattern letter count must be 1 or 4: {letter}")
    total = int((moment.utcoffset() or timedelta()).total_seconds())
    if total == 0:
        return "GMT"
    hours, minutes = divmod(abs(total) // 60, 60)
    sign = "-" if total < 0 else "+"
    if count == 4:
        return f"GMT{sign}{hours:02d}:{minutes:02d}"
    return f"GMT{sign}{hours}" + (f":{minutes:02d}" if minutes else "")


def _nano_of_day(moment: datetime) -> int:
    seconds = (moment.hour * 60 + moment.minute) * 60 + moment.second
    return (seconds * 1_000_000 + moment.microsecond) * 1000


def _week_of_month(moment: datetime) -> int:
    # ISO rules: weeks start on Monday, the first one has at least four days.
    first = moment.replace(day=1).weekday()
    return (moment.day - 1 + first) // 7 + (1 if first <= 3 else 0)


_FIELDS: Final[dict[str, Callable[[str, int, datetime], str]]] = {
    "G": _era,
    "y": _year(lambda at: at.year),
    "u": _year(lambda at: at.year),
    "Y": _year(lambda at: at.isocalendar()[0]),
    "M": _month,
    "L": _month,
    "Q": _quarter,
    "q": _quarter,
    "w": _number(lambda at: at.isocalendar()[1], 2),
    "W": _number(_week_of_month, 1),
    "d": _number(lambda at: at.day, 2),
    "D": _number(lambda at: at.timetuple().tm_yday, 3),
    "F": _number(lambda at: (at.day - 1) // 7 + 1, 1),
    "E": _day_name,
    "e": _local_day,
    "c": _local_day,
    "a": _am_pm,
    "H": _number(lambda at: at.hour, 2),
    "k": _number(lambda at: at.hour or 24, 2),
    "K": _number(lambda at: at.hour % 12, 2),
    "h": _number(lambda at: at.hour % 12 or 12, 2),
    "m": _number(lambda at: at.minute, 2),
    "s": _number(lambda at: at.second, 2),
    "S": _fraction,
    "A": _number(lambda at: _nano_of_day(at) // 1_000_000, 19),
    "n": _number(lambda at: at.microsecond * 1000, 19),
    "N": _number(_nano_of_day, 19),
    "V": _zone_id,
    "z": _zone_name,
    "O": _localized_offset,
    "X": _offset,
    "x": _offset,
    "Z": _zone_offset,
}
