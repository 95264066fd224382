"""Gaps to windows of incremental exports: allowed ones, that cover what can be covered."""

from datetime import datetime, timedelta, timezone
from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ddb_pipeline.export.window import RecoveryPeriod, check_window
from ddb_pipeline.lake.healing_windows import due_windows_of, healing_plan, seconds_of

NOW = datetime(2026, 5, 28, 12, tzinfo=timezone.utc)
MINUTE, HOUR, DAY = 60.0, 3600.0, 86_400.0
RECOVERY = RecoveryPeriod(NOW - timedelta(days=35), NOW - timedelta(minutes=5))


@given(
    ago=st.floats(0, 40 * DAY),
    length=st.floats(0.001, 40 * DAY),
    age=st.floats(16 * MINUTE, 35 * DAY),
    delay=st.floats(0, 10 * MINUTE),
)
def test_windows_are_allowed_adjacent_and_cover_the_part(
    ago: float, length: float, age: float, delay: float
) -> None:
    now = seconds_of(NOW)
    part = (now - ago, min(now - ago + length, now))
    if part[0] >= part[1]:
        return
    recovery = RecoveryPeriod(NOW - timedelta(seconds=age), NOW - timedelta(seconds=delay))
    plan = healing_plan(part, recovery)
    for window in plan.due:
        check_window(window, recovery.latest, recovery)
    assert all(one.to_time == two.from_time for one, two in pairwise(plan.due))
    # Each moment is exported, waits for its export, or cannot be exported.
    for moment in (part[0], (part[0] + part[1]) / 2, part[1] - 0.0005):
        in_due = any(
            seconds_of(window.from_time) <= moment < seconds_of(window.to_time)
            for window in plan.due
        )
        is_lost = plan.unreachable is not None and moment < plan.unreachable[1]
        waits = bool(plan.wait_until) and moment < plan.wait_until
        assert in_due or is_lost or waits
    if plan.unreachable is None and plan.due:
        assert seconds_of(plan.due[0].from_time) <= part[0]
    if plan.wait_until:
        # As soon as the service allows: what waits is less than two of the shortest windows.
        later = healing_plan(
            (part[0], part[1]),
            RecoveryPeriod(recovery.earliest, NOW + timedelta(minutes=30)),
        )
        assert later.wait_until == 0.0


@pytest.mark.parametrize(
    ("from_ago", "to_ago", "lengths", "waits"),
    [
        (30 * HOUR, 2 * HOUR, [14 * HOUR, 14 * HOUR], False),
        (30 * HOUR, 6 * HOUR, [24 * HOUR], False),
        (2 * HOUR, 2 * HOUR - 1, [15 * MINUTE], False),
        (10 * MINUTE, 6 * MINUTE, [], True),
        (10 * MINUTE, MINUTE, [], True),
        (60 * MINUTE, MINUTE, [44 * MINUTE], True),
        (60 * MINUTE, 16 * MINUTE, [44 * MINUTE], False),
    ],
)
def test_windows_of_a_part(
    from_ago: float, to_ago: float, lengths: list[float], waits: bool
) -> None:
    now = seconds_of(NOW)
    plan = healing_plan((now - from_ago, now - to_ago), RECOVERY)
    found = [(window.to_time - window.from_time).total_seconds() for window in plan.due]
    assert found == lengths
    assert bool(plan.wait_until) == waits
    assert plan.unreachable is None


def test_what_is_older_than_the_recovery_is_unreachable() -> None:
    now = seconds_of(NOW)
    plan = healing_plan((now - 36 * DAY, now - 34 * DAY), RECOVERY)
    assert plan.unreachable == (now - 36 * DAY, now - 35 * DAY)
    assert [seconds_of(window.from_time) for window in plan.due] == [now - 35 * DAY]
    assert healing_plan((now - 37 * DAY, now - 36 * DAY), RECOVERY).due == ()


def test_equal_windows_of_several_parts_are_exported_once() -> None:
    now = seconds_of(NOW)
    parts = [(now - 2 * HOUR, now - HOUR), (now - 2 * HOUR, now - HOUR)]
    assert len(due_windows_of(parts, RECOVERY)) == 1
