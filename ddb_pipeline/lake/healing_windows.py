"""Which incremental exports cover the open parts of gaps. Pure functions of moments."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta, timezone
from typing import Final

from ddb_pipeline.export.window import (
    SHORTEST_WINDOW,
    RecoveryPeriod,
    Window,
    covering_windows,
)
from ddb_pipeline.lake.gaps import Span

EPOCH: Final = datetime(1970, 1, 1, tzinfo=timezone.utc)
_SECOND: Final = timedelta(seconds=1)


@dataclass(frozen=True, slots=True)
class HealingPlan:
    """The exports of a part of a gap.

    Attributes:
        due: windows that can be exported now, without gaps between them.
        wait_until: when the rest can be, epoch seconds; 0 where no rest is left.
        unreachable: what no incremental export reaches any more.
    """

    due: tuple[Window, ...] = ()
    wait_until: float = 0.0
    unreachable: Span | None = None


def healing_plan(part: Span, recovery: RecoveryPeriod) -> HealingPlan:
    """The exports that cover a part of a gap, as far as the service makes them.

    A part that is shorter than the shortest window is extended to its future, and waits for it: an
    export has nothing of an item that was created and deleted in its window, so that a window that
    begins before the gap could hide the end of an item that was delivered.

    Args:
        recovery: the times that exports reach.
    """
    start, end = _floor(part[0]), _ceiling(part[1])
    earliest, latest = _whole(recovery.earliest, up=True), _whole(recovery.latest)
    unreachable = None
    if start < earliest:
        unreachable = (part[0], min(part[1], seconds_of(earliest)))
        start = earliest
        if start >= end:
            return HealingPlan(unreachable=unreachable)
    end = max(end, start + SHORTEST_WINDOW)
    if end <= latest:
        return HealingPlan(covering_windows(start, end), unreachable=unreachable)
    cut = min(latest, end - SHORTEST_WINDOW)
    due = covering_windows(start, cut) if cut - start >= SHORTEST_WINDOW else ()
    return HealingPlan(due, seconds_of(end), unreachable)


def due_windows_of(parts: Sequence[Span], recovery: RecoveryPeriod) -> tuple[Window, ...]:
    """The windows of several parts that can be exported now, each once."""
    found = (window for part in parts for window in healing_plan(part, recovery).due)
    return tuple(dict.fromkeys(found))


def seconds_of(moment: datetime) -> float:
    """A time as epoch seconds."""
    return (moment - EPOCH) / _SECOND


def _floor(seconds: float) -> datetime:
    return EPOCH + _SECOND * int(seconds // 1)


def _ceiling(seconds: float) -> datetime:
    return EPOCH - _SECOND * int(-seconds // 1)


def _whole(moment: datetime, *, up: bool = False) -> datetime:
    found = moment.astimezone(timezone.utc).replace(microsecond=0)
    return found + _SECOND if up and found < moment else found
