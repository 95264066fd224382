"""Gaps: what is added and cured, in any order and by several writers."""

import random
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ddb_pipeline.lake import gaps as gaps_module
from ddb_pipeline.lake.gaps import (
    STATE_KEY,
    Cure,
    Gap,
    Gaps,
    GapStateError,
    change_gaps,
    delivered_until,
    parse_gaps,
    read_gaps,
    render_gaps,
    report_gap,
    uncovered,
    with_cure,
    with_gap,
    with_unreachable,
)
from ddb_pipeline.lake.root import LakeRoot
from ddb_pipeline_tests.support.interleaved_s3 import InterleavedS3, MemoryBucket

moments = st.integers(0, 60)
spans = st.tuples(moments, moments).filter(lambda span: span[0] < span[1])


def gap(start: float, end: float, *cures: tuple[float, float], cause: str = "c") -> Gap:
    return Gap(start, end, (cause,), 1000.0, tuple(Cure("e", s, t, 2000.0) for s, t in cures))


def seconds(spans: Any) -> set[int]:
    return {second for start, end in spans for second in range(int(start), int(end))}


@given(spans, st.lists(spans, max_size=6))
def test_uncovered_parts_are_what_no_other_time_has(
    span: tuple[int, int], covered: list[tuple[int, int]]
) -> None:
    parts = uncovered(span, covered)
    assert seconds(parts) == seconds([span]) - seconds(covered)
    assert all(start < end for start, end in parts)


@given(st.lists(st.tuples(st.booleans(), spans), max_size=12))
def test_all_that_was_found_and_not_cured_is_open(
    events: list[tuple[bool, tuple[int, int]]],
) -> None:
    gaps: Gaps = ()
    known: set[int] = set()
    left: set[int] = set()
    exported: set[int] = set()
    for is_cure, (start, end) in events:
        if is_cure:
            gaps = with_cure(gaps, Cure("export", start, end, 1.0))
            left -= seconds([(start, end)])
            exported |= seconds([(start, end)])
        else:
            gaps = with_gap(gaps, gap(start, end))
            left |= seconds([(start, end)]) - known
            known |= seconds([(start, end)])
        found = seconds(part for each in gaps for part in each.left)
        # What an export had beside its gap may count as cured.
        assert left - exported <= found <= left
        assert parse_gaps(render_gaps(gaps)) == gaps
        # A gap that is found again, cured or not, changes nothing.
        assert all(with_gap(gaps, each) == gaps for each in gaps)
        assert delivered_until(gaps, 100.0) == min(found, default=100.0)


@pytest.mark.parametrize(
    ("known", "found", "left"),
    [
        ((), gap(1, 5), [(1, 5)]),
        ((gap(1, 5),), gap(2, 4), [(1, 5)]),
        ((gap(1, 5),), gap(3, 9), [(1, 9)]),
        ((gap(3, 5),), gap(1, 9), [(1, 9)]),
        ((gap(1, 5, (0, 6)),), gap(2, 8), [(5, 8)]),
        ((gap(1, 5, (0, 3)),), gap(5, 7), [(3, 7)]),
    ],
)
def test_a_found_gap_extends_the_open_one_that_it_meets(
    known: Gaps, found: Gap, left: list[tuple[float, float]]
) -> None:
    assert [part for each in with_gap(known, found) for part in each.left] == left


def test_the_number_of_gaps_is_bounded(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(gaps_module, "MAX_OPEN", 3)
    monkeypatch.setattr(gaps_module, "MAX_CLOSED", 2)
    gaps: Gaps = ()
    for start in (0, 100, 110, 300, 500):
        gaps = with_gap(gaps, gap(start, start + 5, cause=f"cause {start}"))
    assert [(each.start, each.end) for each in gaps] == [(0, 115), (300, 305), (500, 505)]
    assert gaps[0].causes == ("cause 0", "cause 100", "cause 110")
    closed = with_cure(gaps, Cure("e", 0, 1000, 1.0))
    assert [each.open for each in closed] == [False, False]


def test_an_unreachable_part_stays_open_until_a_full_export() -> None:
    gaps = with_unreachable((gap(10, 50),), 20.0)
    assert gaps[0].unreachable == 20.0
    gaps = with_cure(gaps, Cure("incremental", 20, 50, 1.0))
    assert gaps[0].left == ((10, 20),)
    assert with_unreachable(gaps, 5.0) == gaps
    assert not with_cure(gaps, Cure("full", 10, 20, 2.0, full=True))[0].open


def test_a_reported_gap_is_padded_but_not_to_the_future(tmp_path: Path) -> None:
    s3: Any = InterleavedS3(MemoryBucket(tmp_path))
    gaps = report_gap(s3, LakeRoot("lake"), (1000.0, 2000.0), "trimmed", now=2030.0)
    assert [(each.start, each.end) for each in gaps] == [(990.0, 2030.0)]
    assert report_gap(s3, LakeRoot("lake"), (1000.0, 2000.0), "again", now=9000.0) != gaps
    assert report_gap(s3, LakeRoot("lake"), (1000.0, 2000.0), "again", now=9000.0)[0].end == 2060.0


def test_writers_at_once_lose_no_gap(tmp_path: Path) -> None:
    bucket = MemoryBucket(tmp_path)
    other: Any = InterleavedS3(bucket)
    rivals = iter(range(3))

    def interfere(request: str) -> None:
        number = next(rivals, None) if request.startswith("put") else None
        if number is not None:
            report_gap(
                other, LakeRoot("lake"), (number * 1000.0, number * 1000.0 + 10), "rival", now=9e9
            )

    s3: Any = InterleavedS3(bucket, before=interfere)
    report_gap(s3, LakeRoot("lake"), (50_000.0, 50_010.0), "ours", now=9e9)
    assert [each.start + 10 for each in read_gaps(other, LakeRoot("lake"))] == [
        0,
        1000,
        2000,
        50_000,
    ]


def test_a_writer_that_is_always_too_late_says_so(tmp_path: Path) -> None:
    bucket = MemoryBucket(tmp_path)
    other: Any = InterleavedS3(bucket)
    count = iter(range(100))

    def interfere(request: str) -> None:
        if request.startswith("put"):
            moment = next(count) * 1000.0 + 100.0
            report_gap(other, LakeRoot("lake"), (moment, moment + 1), "rival", now=9e9)

    s3: Any = InterleavedS3(bucket, before=interfere)
    with pytest.raises(GapStateError, match="changed by others"):
        change_gaps(s3, LakeRoot("lake"), lambda gaps: with_gap(gaps, gap(-9, -8)))


@pytest.mark.parametrize("content", [b"", b"{}", b'{"format":2,"gaps":[]}', b'{"gaps":[1]}'])
def test_a_damaged_object_is_an_error_that_names_it(tmp_path: Path, content: bytes) -> None:
    bucket = MemoryBucket(tmp_path)
    bucket.put(STATE_KEY, content)
    s3: Any = InterleavedS3(bucket)
    with pytest.raises(GapStateError, match=r"s3://lake/pipeline-state/gaps\.json"):
        read_gaps(s3, LakeRoot("lake"))


def test_reports_in_any_order_lead_to_the_same_gaps() -> None:
    found = [gap(number * 7 % 50, number * 7 % 50 + 9) for number in range(12)]
    results = set()
    for seed in range(20):
        random.Random(seed).shuffle(found)
        gaps: Gaps = ()
        for each in found:
            gaps = with_gap(gaps, each)
        results.add(tuple(part for each in gaps for part in each.left))
    joined: Callable[[Any], set[int]] = seconds
    assert len({frozenset(joined(result)) for result in results}) == 1
