"""Which exports continue a state: a chain of windows without a gap, of one table.

A full export shows the table at a moment; each incremental one has the changes of a window. Pure
functions of manifests' values.
"""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from datetime import datetime, timezone
from itertools import takewhile
from typing import NamedTuple

from ddb_pipeline.errors import DdbPipelineError
from ddb_pipeline.export.layout import Export
from ddb_pipeline.lake.current.manifest import (
    MAX_APPLIED,
    AppliedExport,
    Manifest,
    Snapshot,
    TableIdentity,
    iso,
    micros_of,
)


class ChainError(DdbPipelineError):
    """Exports that do not continue the state or each other."""


class GapError(ChainError):
    """Between two windows there are changes that no export has."""


class OverlapError(ChainError):
    """A window begins before the end of what is applied, and adds nothing or comes out of order."""


class OtherTableError(ChainError):
    """An export is of another table than the state or the exports before it."""


class WrongExportError(ChainError):
    """An incremental export was given as a full one, or the other way round, or there is none."""


@dataclass(frozen=True, slots=True)
class Chain:
    """What is to be applied.

    Attributes:
        full: whether the full export is to be applied.
        changes: positions of the incremental exports to apply, in the order of their windows.
        skipped: names of exports that are applied already or are older than the full export.
        manifest: the state's manifest with what the chain changes in it: the table, the snapshot,
            ``as_of`` and the applied exports.
        overlap: the window of the one incremental export to apply, if it begins before the state's
            moment. An export has nothing of an item that was created and deleted in its window: if
            the item was created before that moment, the state still has it.
        more: whether there is more to apply after that, by another chain.
    """

    full: bool
    changes: tuple[int, ...]
    skipped: tuple[str, ...]
    manifest: Manifest
    overlap: AppliedExport | None = None
    more: bool = False

    @property
    def empty(self) -> bool:
        """Whether nothing is to be applied."""
        return not self.full and not self.changes


def name_of(export: Export) -> str:
    """The export's ARN, or its time or window if the manifest does not state one."""
    summary = export.summary
    if summary.export_arn:
        return summary.export_arn
    return f"{summary.from_time}/{summary.to_time}" if summary.incremental else summary.export_time


def window_of(export: Export) -> AppliedExport:
    """The window of an incremental export."""
    summary = export.summary
    return AppliedExport(name_of(export), _micros(summary.from_time), _micros(summary.to_time))


def next_chain(state: Manifest, full: Export | None, changes: Sequence[Export]) -> Chain:
    """What of a full export and of incremental exports a state lacks.

    The incremental exports may be given in any order, and repeatedly, if their windows do not
    overlap. Windows that overlap are in the order in which they are given; each is applied by a
    chain of its own.

    Raises:
        ChainError: they are no chain; the message names both ends.
    """
    _check_kinds(state, full, changes)
    exports = [export for export in (full, *changes) if export is not None]
    state = replace(state, table=_one_table(state, exports))
    skipped: list[str] = []
    applies = full is not None and _is_newer(full, state)
    if applies and full is not None:
        state = _based_on(state, full)
    elif full is not None:
        skipped.append(name_of(full))
    following = _following(state, changes)
    skipped += [step.window.export for step in following if step.applied]
    steps = [step for step in following if not step.applied]
    chosen = _one_update(steps, applies)
    for step in chosen:
        applied = (*state.applied, step.window)[-MAX_APPLIED:]
        state = replace(state, as_of=step.window.end, applied=applied)
    overlap = chosen[0].window if chosen and chosen[0].overlaps else None
    order = tuple(step.position for step in chosen)
    return Chain(applies, order, tuple(skipped), state, overlap, len(chosen) < len(steps))


class _Step(NamedTuple):
    """An incremental export in a chain.

    Attributes:
        position: its place among those that were given.
        applied: whether the state has its changes already.
        overlaps: whether its window begins before what is known when it is applied.
    """

    position: int
    window: AppliedExport
    applied: bool = False
    overlaps: bool = False


def _following(state: Manifest, changes: Sequence[Export]) -> list[_Step]:
    """The incremental exports in the order in which they continue a state."""
    windows = [window_of(export) for export in changes]
    _check_order(windows)
    done = {(entry.start, entry.end) for entry in state.applied}
    steps = []
    for position in sorted(range(len(windows)), key=lambda p: (windows[p].start, windows[p].end)):
        window = windows[position]
        if (window.start, window.end) in done or window.end <= _oldest_known(state):
            steps.append(_Step(position, window, applied=True))
            continue
        _check_continues(state, window)
        steps.append(_Step(position, window, overlaps=window.start < state.as_of))
        done.add((window.start, window.end))
        state = replace(state, as_of=window.end)
    return steps


def _one_update(steps: Sequence[_Step], applies_full: bool) -> list[_Step]:
    """The first of the steps that one update can apply: one that overlaps, or all before it."""
    if steps and steps[0].overlaps and not applies_full:
        return [steps[0]]
    return list(takewhile(lambda step: not step.overlaps, steps))


def _check_kinds(state: Manifest, full: Export | None, changes: Sequence[Export]) -> None:
    if full is not None and full.summary.incremental:
        raise WrongExportError(
            f"{name_of(full)} is an incremental export, of {full.summary.from_time} to "
            f"{full.summary.to_time}. Give a full export with --full, this one with --changes."
        )
    for export in changes:
        if not export.summary.incremental:
            raise WrongExportError(
                f"{name_of(export)} is a full export, of {export.summary.export_time}. Give an "
                "incremental export with --changes, this one with --full."
            )
    if full is None and state.version == 0:
        raise WrongExportError("There is no current view yet. Give a full export with --full.")


def _one_table(state: Manifest, exports: Sequence[Export]) -> TableIdentity:
    known = state.table
    for export in exports:
        found = TableIdentity(export.summary.table_arn, export.summary.table_id)
        for ours, theirs in ((known.arn, found.arn), (known.id, found.id)):
            if ours and theirs and ours != theirs:
                raise OtherTableError(
                    f"{name_of(export)} is of table {found.arn} (id {found.id or 'not stated'}), "
                    f"the exports before it of {known.arn} (id {known.id or 'not stated'}). Give "
                    "exports of one table; a table that was created again is another one."
                )
        known = TableIdentity(known.arn or found.arn, known.id or found.id)
    return known


def _is_newer(full: Export, state: Manifest) -> bool:
    if state.snapshot is None:
        return True
    time = _micros(full.summary.export_time)
    if state.snapshot.export == name_of(full) or state.snapshot.time == time:
        return False
    if time < state.as_of and time >= state.snapshot.time:
        # Inside a window an export tells nothing of items that the window created and deleted, so
        # that those of the full export could be such. The view is newer anyway.
        return time in {entry.start for entry in state.applied}
    if time < state.snapshot.time:
        raise OverlapError(
            f"The full export {name_of(full)} is of {iso(time)}, the view is based on one of "
            f"{iso(state.snapshot.time)} already. Give a newer one, or none."
        )
    return True


def _based_on(state: Manifest, full: Export) -> Manifest:
    """The state's manifest after a full export: earlier windows do not matter any more."""
    snapshot = Snapshot(name_of(full), _micros(full.summary.export_time))
    applied = tuple(entry for entry in state.applied if entry.end > snapshot.time)
    as_of = max(state.as_of, snapshot.time) if applied else snapshot.time
    return replace(state, snapshot=snapshot, applied=applied, as_of=as_of)


def _oldest_known(state: Manifest) -> int:
    """The moment up to which windows are applied or in the full export, whichever they are."""
    start = state.snapshot.time if state.snapshot is not None else 0
    return max(start, state.applied[0].start) if len(state.applied) == MAX_APPLIED else start


def _check_order(windows: Sequence[AppliedExport]) -> None:
    for position, later in enumerate(windows):
        for earlier in windows[:position]:
            if later.start < earlier.start < later.end and (later.end != earlier.end):
                raise OverlapError(
                    f"{later.export} has the window {_shown(later)}, which overlaps "
                    f"{_shown(earlier)} of {earlier.export}, which is given before it. Give them "
                    "in the order of time, or only those that the chain needs."
                )


def _check_continues(state: Manifest, window: AppliedExport) -> None:
    if window.start > state.as_of:
        raise GapError(
            f"The changes from {iso(state.as_of)} to {iso(window.start)} are missing: the view is "
            f"complete up to {iso(state.as_of)}, and {window.export} begins at "
            f"{iso(window.start)}. Export the window between, or give a newer full export."
        )
    if window.end <= state.as_of:
        raise OverlapError(
            f"{window.export} has the window {_shown(window)}, and the view is complete up to "
            f"{iso(state.as_of)} without it. Leave it out."
        )
    snapshot = state.snapshot
    if snapshot is not None and window.start < snapshot.time:
        # The full export does not say when its items were created.
        raise OverlapError(
            f"{window.export} has the window {_shown(window)}, and the full export "
            f"{snapshot.export} of {iso(snapshot.time)} is inside of it. An item that was created "
            "before and deleted after that time would stay in the view: the export of the window "
            f"has nothing of it. Export the window from {iso(snapshot.time)} on."
        )


def _shown(window: AppliedExport) -> str:
    return f"{iso(window.start)} to {iso(window.end)}"


def _micros(text: str) -> int:
    try:
        time = datetime.fromisoformat(text.replace("Z", "+00:00"))
    except ValueError:
        raise WrongExportError(
            f"{text!r} in an export's manifest-summary.json is not a time. Copy the export again."
        ) from None
    return micros_of(time if time.tzinfo else time.replace(tzinfo=timezone.utc))
