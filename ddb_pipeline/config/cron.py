"""Cron expressions of schedules, checked before Dagster loads them.

Dagster takes five fields (minute, hour, day of month, month, day of week) or a name such as
``@daily``; for anything else it fails without naming the configuration key.
"""

import re
from datetime import date, timedelta
from typing import NamedTuple

NAMED = {
    "@hourly": "0 * * * *",
    "@daily": "0 0 * * *",
    "@midnight": "0 0 * * *",
    "@weekly": "0 0 * * 0",
    "@monthly": "0 0 1 * *",
    "@yearly": "0 0 1 1 *",
    "@annually": "0 0 1 1 *",
}
"""Names, and the expressions that they stand for."""
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
    if expression.lower() in NAMED:
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


def runs_a_day(expression: str) -> float:
    """How often a cron expression is due a day, in the mean of a year of 365 days.

    A day is due if the day of the month or that of the week is, where both are restricted
    (crontab(5)).
    """
    parts = NAMED.get(expression.strip().lower(), expression).split()
    minutes, hours, month_days, months, week_days = map(_taken, parts, FIELDS)
    restricted = parts[2][0] != "*" and parts[4][0] != "*"
    join = any if restricted else all
    year = (date(2026, 1, 1) + timedelta(days=number) for number in range(365))
    due = sum(
        day.month in months
        and join((day.day in month_days, not week_days.isdisjoint(_week_day_numbers(day))))
        for day in year
    )
    return len(minutes) * len(hours) * due / 365


def _week_day_numbers(day: date) -> set[int]:
    """The numbers of a day of the week; Sunday has two."""
    number = day.isoweekday()
    return {0, 7} if number == 7 else {number}


def _taken(part: str, field: CronField) -> set[int]:
    """The numbers that a part of a valid expression takes."""
    taken: set[int] = set()
    for element in part.lower().split(","):
        match = _PART.fullmatch(element)
        assert match is not None
        step, first = match["step"], _number(match["first"] or "*", field)
        last = _number(match["last"], field) if match["last"] else None
        if first is None:
            first, last = field.first, field.last
        elif last is None:
            # 5/10 is 5-59/10.
            last = field.last if step else first
        taken.update(range(first, last + 1, int(step or 1)))
    return taken


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
