"""The arithmetic of windows: none that DynamoDB refuses, no gap, as few as possible."""

from datetime import datetime, timedelta, timezone
from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ddb_pipeline.export.window import (
    LONGEST_WINDOW,
    SHORTEST_WINDOW,
    Window,
    WindowRefusedError,
    covering_windows,
    due_windows,
)

NOON = datetime(2026, 11, 24, 12, tzinfo=timezone.utc)
seconds = st.integers(0, 40 * 86_400).map(lambda count: timedelta(seconds=count))
micros = st.integers(0, 40 * 86_400 * 10**6).map(lambda count: timedelta(microseconds=count))
lengths = st.integers(900, 86_400).map(lambda count: timedelta(seconds=count))


@pytest.mark.parametrize(
    ("start", "length", "reason"),
    [
        (NOON, timedelta(0), "15 minutes to 24 hours"),
        (NOON, timedelta(minutes=14, seconds=59), "15 minutes to 24 hours"),
        (NOON, timedelta(hours=24, seconds=1), "15 minutes to 24 hours"),
        (NOON, -timedelta(hours=1), "15 minutes to 24 hours"),
        (NOON.replace(tzinfo=None), timedelta(hours=1), "with a time zone"),
        (NOON.replace(microsecond=1), timedelta(hours=1), "whole second"),
    ],
)
def test_windows_that_dynamodb_refuses(start: datetime, length: timedelta, reason: str) -> None:
    with pytest.raises(WindowRefusedError, match=reason):
        Window(start, start + length)


@given(behind=seconds, every=lengths)
def test_due_windows_follow_one_another_up_to_the_last_whole_interval(
    behind: timedelta, every: timedelta
) -> None:
    windows = due_windows(NOON, NOON + behind, every)
    bounds = [NOON, *(window.to_time for window in windows)]
    assert [window.from_time for window in windows] == bounds[:-1]
    assert timedelta(0) <= NOON + behind - bounds[-1] < every
    assert all((window.to_time - NOON) % every == timedelta(0) for window in windows)
    # Two neighbours are never joined to one that DynamoDB would take.
    assert all(b.to_time - a.from_time > LONGEST_WINDOW - every for a, b in pairwise(windows))
    # What is due at once is due one after the other too.
    assert due_windows(bounds[-1], NOON + behind, every) == ()


@given(start=micros, length=micros)
def test_any_time_is_covered_by_as_few_windows_as_possible(
    start: timedelta, length: timedelta
) -> None:
    first, last = NOON + start, NOON + start + length
    windows = covering_windows(first, last)
    assert windows[0].from_time <= first
    assert timedelta(0) <= windows[-1].to_time - last < timedelta(seconds=1)
    assert all(a.to_time == b.from_time for a, b in pairwise(windows))
    covered = windows[-1].to_time - windows[0].from_time
    assert covered < max(length + timedelta(seconds=2), SHORTEST_WINDOW + timedelta(seconds=2))
    assert (len(windows) - 1) * LONGEST_WINDOW < covered
