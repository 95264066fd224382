from dataclasses import replace
from datetime import datetime, timedelta, timezone

import pytest

from ddb_pipeline.export.layout import Export, ExportSummary, timestamp
from ddb_pipeline.lake.current.chain import (
    Chain,
    ChainError,
    GapError,
    OtherTableError,
    OverlapError,
    WrongExportError,
    next_chain,
)
from ddb_pipeline.lake.current.manifest import MAX_APPLIED, Manifest, micros_of

ARN = "arn:aws:dynamodb:eu-west-1:000000000000:table/orders"
T0 = datetime(2026, 11, 1, tzinfo=timezone.utc)


def hour(number: float) -> datetime:
    return T0 + timedelta(hours=number)


def full(number: float, arn: str = ARN, table_id: str = "id-1") -> Export:
    summary = ExportSummary(
        arn,
        "b",
        export_arn=f"full {number}",
        table_id=table_id,
        export_time=timestamp(hour(number)),
    )
    return Export(summary, ())


def window(start: float, end: float, arn: str = ARN, table_id: str = "id-1") -> Export:
    summary = ExportSummary(
        arn,
        "b",
        export_arn=f"{start}-{end}",
        table_id=table_id,
        from_time=timestamp(hour(start)),
        to_time=timestamp(hour(end)),
    )
    return Export(summary, ())


def applied(chain: Chain, changes: list[Export]) -> list[str]:
    return [changes[position].summary.export_arn for position in chain.changes]


def view(*steps: Export) -> Manifest:
    """The manifest after exports."""
    first, *rest = steps
    found = next_chain(Manifest(), first, rest).manifest
    return Manifest(**{**{n: getattr(found, n) for n in found.__dataclass_fields__}, "version": 1})


@pytest.mark.parametrize(
    ("given", "expected"),
    [
        ([window(0, 1), window(1, 2)], ["0-1", "1-2"]),
        ([window(1, 2), window(0, 1)], ["0-1", "1-2"]),
        ([window(0, 1), window(0, 1)], ["0-1"]),
        ([window(-2, -1), window(-1, 0), window(0, 1)], ["0-1"]),
        ([], []),
    ],
)
def test_chains(given: list[Export], expected: list[str]) -> None:
    chain = next_chain(Manifest(), full(0), given)
    assert chain.full
    assert applied(chain, given) == expected
    last = max([hour(0), *(hour(float(name.rsplit("-", 1)[1])) for name in expected)])
    assert chain.manifest.as_of == micros_of(last)
    assert len(chain.skipped) == len(given) - len(expected)


@pytest.mark.parametrize(
    ("state", "base", "given", "error", "named"),
    [
        (None, full(0), [window(1, 2)], GapError, ["2026-11-01T00:00:00Z", "2026-11-01T01:00:00Z"]),
        (
            None,
            full(0),
            [window(0, 1), window(2, 3)],
            GapError,
            ["2026-11-01T01:00:00Z", "2026-11-01T02:00:00Z"],
        ),
        (view(full(0), window(0, 1)), None, [window(2, 3)], GapError, ["T01:00", "T02:00"]),
        (
            None,
            full(0),
            [window(0.5, 2), window(0, 1)],
            OverlapError,
            ["2026-11-01T00:30:00Z", "2026-11-01T01:00:00Z"],
        ),
        (view(full(0), window(0, 2)), None, [window(0.5, 1)], OverlapError, ["T00:30", "T02:00"]),
        (None, full(0), [window(-1, 1)], OverlapError, ["-1-1", "2026-11-01T00:00:00Z on"]),
        (view(full(0)), None, [window(-1, 1)], OverlapError, ["-1-1", "2026-11-01T00:00:00Z on"]),
        # Nothing is applied where a later one is refused.
        (
            view(full(0), window(0, 1)),
            None,
            [window(0.5, 2), window(3, 4)],
            GapError,
            ["2026-11-01T02:00:00Z", "2026-11-01T03:00:00Z"],
        ),
        (view(full(5)), full(2), [], OverlapError, ["T02:00", "T05:00"]),
        (None, full(0), [window(0, 1, arn=ARN + "2")], OtherTableError, [ARN, ARN + "2"]),
        (None, full(0), [window(0, 1, table_id="id-2")], OtherTableError, ["id-1", "id-2"]),
        (view(full(0)), None, [window(0, 1, arn=ARN + "2")], OtherTableError, [ARN + "2"]),
        (None, window(0, 1), [], WrongExportError, ["incremental"]),
        (None, full(0), [full(1)], WrongExportError, ["full export"]),
        (None, None, [window(0, 1)], WrongExportError, ["--full"]),
    ],
)
def test_what_is_refused_names_both_ends(
    state: Manifest | None,
    base: Export | None,
    given: list[Export],
    error: type[ChainError],
    named: list[str],
) -> None:
    with pytest.raises(error) as raised:
        next_chain(state or Manifest(), base, given)
    for text in named:
        assert text in str(raised.value)


def test_a_window_that_overlaps_is_applied_by_itself() -> None:
    given = [window(0, 1), window(0.5, 2), window(2, 3), window(2.5, 4)]
    state = Manifest()
    found: list[Chain] = []
    while not found or found[-1].more:
        chain = next_chain(state, full(0), given)
        state = replace(chain.manifest, version=state.version + 1)
        found.append(chain)
    assert [applied(chain, given) for chain in found] == [["0-1"], ["0.5-2"], ["2-3"], ["2.5-4"]]
    overlaps = [chain.overlap.export if chain.overlap else "" for chain in found]
    assert overlaps == ["", "0.5-2", "", "2.5-4"]
    assert [chain.full for chain in found] == [True, False, False, False]
    assert state.as_of == micros_of(hour(4))


def test_what_is_applied_is_skipped() -> None:
    given = [window(0, 1), window(1, 2)]
    state = view(full(0), *given)
    chain = next_chain(state, full(0), given)
    assert chain.empty
    assert chain.skipped == ("full 0", "0-1", "1-2")
    assert chain.manifest == state


def test_a_newer_full_export_continues_with_the_windows_after_it() -> None:
    state = view(full(0), window(0, 1), window(1, 2))
    begins = next_chain(state, full(1), [window(2, 3)])
    assert (begins.full, begins.changes, begins.manifest.as_of) == (True, (0,), micros_of(hour(3)))
    # Its items may have been deleted in the window that it is inside of.
    inside = next_chain(state, full(1.5), [window(2, 3)])
    assert (inside.full, inside.changes) == (False, (0,))
    assert inside.skipped == ("full 1.5",)
    # A full export closes a gap.
    later = next_chain(state, full(9), [window(9, 10)])
    assert (later.full, later.changes, later.manifest.as_of) == (True, (0,), micros_of(hour(10)))
    assert not next_chain(state, full(9), [window(0, 1)]).changes


def test_the_manifest_does_not_grow_with_the_chain() -> None:
    windows = [window(number, number + 1) for number in range(MAX_APPLIED + 5)]
    state = view(full(0), *windows)
    assert len(state.applied) == MAX_APPLIED
    assert next_chain(state, full(0), windows).empty
