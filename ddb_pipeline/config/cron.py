"""Cron expressions of schedules, checked before Dagster loads them.

Dagster takes five fields (minute, hour, day of month, month, day of week) or a name such as
``@daily``; for anything else it fails without naming the configuration key.
"""

import re
from typing import NamedTuple

NAMES = ("@hourly", "@daily", "@midnight", "@weekly", "@monthly", "@yearly", "@annually")
MONTHS = ["jan", "feb", "mar", "apr", "may", "jun", "jul", "aug", "sep", "oct", "nov", "dec"]
DAYS = ["sun", "mon", "tue", "wed", "thu", "fri", "sat"]
_PART = re.compile(r"(?:\*|(?P<first>\w+)(?:-(?P<last>\w+))?)(?:/(?P<step>\d{1,4}))?", re.ASCII)


class CronField(NamedTuple):
    """A field of a cron expression, and the numbers that it takes."""

    name: str
    first: int
    last: int
    words: tuple[str, ...] = ()
    """Words for the numbers from ``first`` on."""


FIELDS = (
    CronField("minute", 0, 59),
    CronField("hour", 0, 23),
    CronField("day of month", 1, 31),
    CronField("month", 1, 12, tuple(MONTHS)),
    CronField("day of week", 0, 7, tuple(DAYS)),
)


def checked_cron(text: str) -> str:
    """The expression without surrounding blanks.

    Raises:
        ValueError: it is not a cron expression; the message names the field.
    """
    expression = text.strip()
    if expression.lower() in NAMES:
        return expression
    parts = expression.split()
    if len(parts) != len(FIELDS):
        raise ValueError(
            f"{text!r} is not a cron expression: it takes five fields (minute, hour, day of month, "
            "month, day of week), for example 0 * * * *"
        )
    for field, part in zip(FIELDS, parts, strict=True):
        for element in part.lower().split(","):
            if not _is_valid(element, field):
                raise ValueError(
                    f"{text!r} is not a cron expression: the {field.name} {element!r} is none of "
                    f"{field.first} to {field.last}, a range, * or a step"
                )
    if parts[3].lower() in ("2", "02", "feb") and parts[2] in ("30", "31") and parts[4] == "*":
        raise ValueError(f"{text!r} is never: February has no day {parts[2]}")
    return expression


def _is_valid(element: str, field: CronField) -> bool:
    match = _PART.fullmatch(element)
    if match is None:
        return False
    first, last, step = match["first"], match["last"], match["step"]
    numbers = [_number(word, field) for word in (first, last) if word is not None]
    return all(number is not None for number in numbers) and (step is None or int(step) > 0)


def _number(word: str, field: CronField) -> int | None:
    if word in field.words:
        return field.first + field.words.index(word)
    number = int(word) if word.isdecimal() and len(word) <= 2 else -1
    return number if field.first <= number <= field.last else None
