"""Gaps: times of which changes are lost to the stream, and what has cured them.

A gap is open while a part of it is in no cure. A cure is an export: an incremental one has the net
changes of its window, a full one newer than the gap has the table as it is, without what happened
in between. The gaps are in one object, which every writer changes on the condition that no one else
has. Moments are epoch seconds.
"""

import json
from collections.abc import Callable, Iterable, Sequence
from dataclasses import asdict, dataclass, replace
from typing import TYPE_CHECKING, Any, Final

from ddb_pipeline.errors import DdbPipelineError
from ddb_pipeline.lake import conditional
from ddb_pipeline.lake.layout import STATE_PREFIX
from ddb_pipeline.lake.root import LakeRoot

if TYPE_CHECKING:
    from mypy_boto3_s3.client import S3Client

STATE_KEY: Final = f"{STATE_PREFIX}gaps.json"
PAD_BEFORE: Final = 10.0
PAD_AFTER: Final = 60.0
"""By how many seconds a gap is extended: a stream's times are approximate (Amazon DynamoDB Streams
API reference, ApproximateCreationDateTime). Before the gap by as few as possible, since an export
has nothing of an item that was created and deleted in its window."""
MAX_OPEN: Final = 100
"""Open gaps; where there are more, the nearest ones are joined."""
MAX_CLOSED: Final = 400
"""Closed gaps that are remembered, the newest ones."""
MAX_CAUSES: Final = 5
"""Causes that a gap shows."""
WRITE_ATTEMPTS: Final = 10

Span = tuple[float, float]
"""A time from a moment, inclusive, to another, exclusive."""


class GapStateError(DdbPipelineError):
    """The object with the gaps cannot be read or written."""


@dataclass(frozen=True, slots=True)
class Cure:
    """What has cured a part of a gap.

    Attributes:
        export: the export's id.
        start, end: its window; for a full export the part of the gap that it makes up for.
        at: when its changes were in the lake.
        changes: net changes that were added to the change log.
        full: whether it is a full export: the changes themselves are lost.
    """

    export: str
    start: float
    end: float
    at: float
    changes: int = 0
    full: bool = False


@dataclass(frozen=True, slots=True)
class Gap:
    """A time of which changes were not delivered.

    Attributes:
        start, end: from ``start`` inclusive to ``end`` exclusive.
        causes: why, a sentence each.
        found_at: when it was found.
        cures: what has cured parts of it.
        unreachable: the moment before which no incremental export reaches; 0 where all are reached.
    """

    start: float
    end: float
    causes: tuple[str, ...]
    found_at: float
    cures: tuple[Cure, ...] = ()
    unreachable: float = 0.0

    @property
    def left(self) -> tuple[Span, ...]:
        """The parts that no export has cured."""
        return uncovered((self.start, self.end), [(cure.start, cure.end) for cure in self.cures])

    @property
    def open(self) -> bool:
        """Whether a part is not cured."""
        return bool(self.left)


Gaps = tuple[Gap, ...]
"""All gaps, in the order of their times."""


def uncovered(span: Span, covered: Iterable[Span]) -> tuple[Span, ...]:
    """The parts of a time that are in none of the others."""
    position, end = span
    parts = []
    for start, stop in sorted(covered):
        if start >= end:
            break
        if start > position:
            parts.append((position, start))
        position = max(position, stop)
    if position < end:
        parts.append((position, end))
    return tuple(parts)


def with_gap(gaps: Gaps, found: Gap) -> Gaps:
    """The gaps with one that was found; what is in a known gap is not added again.

    A part that meets an open gap extends it.
    """
    for part in uncovered((found.start, found.end), [(gap.start, gap.end) for gap in gaps]):
        gaps = _with_part(gaps, replace(found, start=part[0], end=part[1], cures=()))
    return _bounded(gaps)


def _with_part(gaps: Gaps, part: Gap) -> Gaps:
    """The gaps with a part that overlaps none of them."""
    for gap in gaps:
        if gap.open and (gap.end == part.start or part.end == gap.start):
            others = tuple(other for other in gaps if other is not gap)
            return _sorted((*others, _joined(gap, part)))
    return _sorted((*gaps, part))


def _joined(one: Gap, other: Gap) -> Gap:
    causes = tuple(dict.fromkeys((*one.causes, *other.causes)))
    return Gap(
        start=min(one.start, other.start),
        end=max(one.end, other.end),
        causes=causes[:MAX_CAUSES],
        found_at=min(one.found_at, other.found_at),
        cures=(*one.cures, *other.cures),
        unreachable=max(one.unreachable, other.unreachable),
    )


def _sorted(gaps: Iterable[Gap]) -> Gaps:
    return tuple(sorted(gaps, key=lambda gap: (gap.start, gap.end)))


def _bounded(gaps: Gaps) -> Gaps:
    """No more open and closed gaps than are stored."""
    still_open = [gap for gap in gaps if gap.open]
    closed = [gap for gap in gaps if not gap.open]
    while len(still_open) > MAX_OPEN:
        nearest = min(
            range(len(still_open) - 1),
            key=lambda number: still_open[number + 1].start - still_open[number].end,
        )
        pair = still_open[nearest : nearest + 2]
        still_open[nearest : nearest + 2] = [_joined(*pair)]
    newest = sorted(closed, key=lambda gap: gap.found_at)[-MAX_CLOSED:]
    return _sorted((*still_open, *newest))


def with_cure(gaps: Gaps, cure: Cure) -> Gaps:
    """The gaps with an export's cure of those that it overlaps."""
    return _bounded(
        tuple(
            replace(gap, cures=(*gap.cures, cure))
            if cure.start < gap.end and gap.start < cure.end and cure not in gap.cures
            else gap
            for gap in gaps
        )
    )


def with_unreachable(gaps: Gaps, earliest: float) -> Gaps:
    """The gaps, of which open parts before ``earliest`` can no longer be exported."""
    return tuple(
        replace(gap, unreachable=earliest)
        if any(start < earliest and end > gap.unreachable for start, end in gap.left)
        else gap
        for gap in gaps
    )


def delivered_until(gaps: Gaps, moment: float) -> float:
    """The moment up to which nothing is missing, if apart from gaps that is ``moment``."""
    return min([moment, *(part[0] for gap in gaps for part in gap.left)])


def read_gaps(s3: "S3Client", lake: LakeRoot) -> Gaps:
    """The gaps of a lake.

    Raises:
        GapStateError: the object is damaged.
    """
    found = conditional.read_if_exists(s3, lake, STATE_KEY)
    return () if found is None else parse_gaps(found.content, lake.uri(STATE_KEY))


def change_gaps(s3: "S3Client", lake: LakeRoot, change: Callable[[Gaps], Gaps]) -> Gaps:
    """Change the gaps of a lake, whoever else does so meanwhile.

    Args:
        change: called again where another writer was faster.

    Raises:
        GapStateError: the object is damaged, or is written by others all the time.
    """
    for _ in range(WRITE_ATTEMPTS):
        found = conditional.read_if_exists(s3, lake, STATE_KEY)
        before = () if found is None else parse_gaps(found.content, lake.uri(STATE_KEY))
        after = change(before)
        if after == before:
            return after
        content = render_gaps(after)
        if found is None:
            written = conditional.create(s3, lake, STATE_KEY, content)
        else:
            written = conditional.replace(s3, lake, STATE_KEY, content, found.etag)
        if written is not None:
            return after
    raise GapStateError(
        f"{lake.uri(STATE_KEY)} was changed by others {WRITE_ATTEMPTS} times in a row. Run again."
    )


def report_gap(s3: "S3Client", lake: LakeRoot, span: Span, cause: str, *, now: float) -> Gaps:
    """Add a gap that was found, extended a little on both sides, but not to the future.

    Raises:
        GapStateError: as ``change_gaps``.
    """
    start, end = span[0] - PAD_BEFORE, min(span[1] + PAD_AFTER, max(now, span[1]))
    found = Gap(start, end, (cause,), now)
    return change_gaps(s3, lake, lambda gaps: with_gap(gaps, found) if start < end else gaps)


def render_gaps(gaps: Sequence[Gap]) -> bytes:
    """The gaps as JSON."""
    return json.dumps({"format": 1, "gaps": [asdict(gap) for gap in gaps]}, indent=1).encode()


def parse_gaps(text: bytes, uri: str = STATE_KEY) -> Gaps:
    """Read what ``render_gaps`` returned.

    Raises:
        GapStateError: it is another text.
    """
    try:
        data: Any = json.loads(text)
        if data["format"] != 1:
            raise ValueError(f"format {data['format']!r}")
        return tuple(
            Gap(
                start=float(entry["start"]),
                end=float(entry["end"]),
                causes=tuple(map(str, entry["causes"])),
                found_at=float(entry["found_at"]),
                cures=tuple(Cure(**cure) for cure in entry["cures"]),
                unreachable=float(entry["unreachable"]),
            )
            for entry in data["gaps"]
        )
    except (ValueError, KeyError, TypeError, AttributeError) as error:
        raise GapStateError(
            f"{uri} is damaged: {error!r}. Restore an earlier version of the "
            "object. If there is none, delete it and export the whole table: gaps that it listed "
            "are no longer known."
        ) from error
