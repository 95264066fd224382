"""Windows of incremental exports: which of them DynamoDB takes, and which ones cover a time.

Limits: Amazon DynamoDB developer guide, "Requesting a table export in DynamoDB". The API counts the
times in whole seconds (API reference, IncrementalExportSpecification).
"""

from dataclasses import dataclass
from datetime import datetime, timedelta
from itertools import pairwise
from typing import Final

from ddb_pipeline.errors import DdbPipelineError

SHORTEST_WINDOW: Final = timedelta(minutes=15)
LONGEST_WINDOW: Final = timedelta(hours=24)
RECOVERY_DAYS: Final = 35
"""Days that point-in-time recovery reaches back at most, and unless it is told otherwise."""

_SECOND: Final = timedelta(seconds=1)


class WindowRefusedError(DdbPipelineError):
    """A window of which DynamoDB makes no incremental export; the message says why."""


@dataclass(frozen=True, slots=True)
class Window:
    """The time window of an incremental export: ``from_time`` inclusive, ``to_time`` exclusive.

    Both have a time zone and no fraction of a second.

    Raises:
        WindowRefusedError: it is shorter than 15 minutes or longer than 24 hours, or its times are
            of another form.
    """

    from_time: datetime
    to_time: datetime

    def __post_init__(self) -> None:
        for moment in (self.from_time, self.to_time):
            if moment.tzinfo is None or moment.microsecond:
                raise WindowRefusedError(
                    f"An incremental export begins and ends at a whole second, with a time zone, "
                    f"not at {moment.isoformat()}."
                )
        if not SHORTEST_WINDOW <= self.to_time - self.from_time <= LONGEST_WINDOW:
            raise WindowRefusedError(
                f"An incremental export covers 15 minutes to 24 hours, not {self}. Choose other "
                "times, or several windows."
            )

    def __str__(self) -> str:
        return f"{self.from_time.isoformat()} to {self.to_time.isoformat()}"


@dataclass(frozen=True, slots=True)
class RecoveryPeriod:
    """The times to which point-in-time recovery can restore a table."""

    earliest: datetime
    latest: datetime


def check_window(window: Window, now: datetime, recovery: RecoveryPeriod | None) -> None:
    """Refuse what DynamoDB would refuse.

    Args:
        recovery: None where it is not known.

    Raises:
        WindowRefusedError: the window ends in the future, or begins before the recovery period.
    """
    if window.to_time > now:
        raise WindowRefusedError(
            f"The window {window} ends in the future: it is {now.isoformat(timespec='seconds')}."
        )
    if recovery is not None and window.from_time < recovery.earliest:
        raise WindowRefusedError(
            f"The window {window} begins before {recovery.earliest.isoformat()}, the earliest time "
            "that the table's point-in-time recovery reaches. Changes before it are in no "
            "incremental export; a full export has the table as it is."
        )


def due_windows(ended_at: datetime, latest: datetime, every: timedelta) -> tuple[Window, ...]:
    """The windows that follow one another from ``ended_at`` on and have ended by ``latest``.

    Each has the length ``every`` (15 minutes to 24 hours). Where more than one is due, they are
    joined to as few as possible of at most 24 hours. There is no gap between them.
    """
    windows = []
    start = ended_at
    longest = every * (LONGEST_WINDOW // every)
    while latest - start >= every:
        end = start + min(longest, every * ((latest - start) // every))
        windows.append(Window(start, end))
        start = end
    return tuple(windows)


def covering_windows(start: datetime, end: datetime) -> tuple[Window, ...]:
    """Windows without gaps that cover a time of any length, as few as possible.

    A time that is too short is extended to its past: a change may be exported twice.
    """
    last = end.replace(microsecond=0)
    last += _SECOND if last < end else timedelta()
    first = min(start.replace(microsecond=0), last - SHORTEST_WINDOW)
    count = -((first - last) // LONGEST_WINDOW)
    seconds = (last - first) // _SECOND
    bounds = [first + _SECOND * (seconds * number // count) for number in range(count + 1)]
    return tuple(Window(*pair) for pair in pairwise(bounds))
