"""Changes matched with rows, failed records and dead letters, in a bounded amount of memory.

All are grouped by a hash of the change's identity, in files where there are many; then one group of
each is in memory at a time.
"""

import json
import tempfile
from collections import defaultdict
from collections.abc import Collection, Iterator, Mapping, Sequence
from contextlib import ExitStack
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

PARTITIONS = 64
BUFFERED_LINES = 50_000
"""Entries in memory, over all groups, before they are written to the files."""
CLOCK_SKEW_SECONDS = 60.0
"""By how much the clocks of the services may differ."""


@dataclass(frozen=True, slots=True)
class Expected:
    """Changes of one identity that must be somewhere.

    Attributes:
        digest: of their identity.
        moment: when they happened, epoch seconds.
        event_id: the event id of the last of them.
        count: how many they are.
    """

    digest: str
    moment: float
    event_id: str
    count: int = 1


@dataclass(frozen=True, slots=True)
class Rows:
    """Rows of one identity; ``moment`` is when the last of them was written, epoch seconds."""

    digest: str
    moment: float
    count: int = 1


@dataclass(slots=True)
class Matches:
    """Where the expected changes are.

    Attributes:
        expected: number of changes.
        rows: those that are rows.
        failed: those that are failed records.
        dead_lettered: those that are dead letters.
        repeated: rows beyond one for each change.
        lost: number of changes that are none of these.
        missing: these changes, up to a limit.
        surplus: rows without a change, up to a limit.
        limit: the largest number of missing changes, and of surplus rows, to list.
        surplus_since: only rows written from this moment on are listed, epoch seconds.
        complete: whether all missing changes and all surplus rows are listed.
    """

    expected: int = 0
    rows: int = 0
    failed: int = 0
    dead_lettered: int = 0
    repeated: int = 0
    lost: int = 0
    missing: list[Expected] = field(default_factory=list)
    surplus: list[Rows] = field(default_factory=list)
    limit: int = 200_000
    surplus_since: float = 0.0
    complete: bool = True

    def add_missing(self, found: Collection[Expected]) -> None:
        """Add changes that are lost."""
        self.lost += _count(found)
        self.missing += found
        self._cut(self.missing)

    def add_surplus(self, found: Rows) -> None:
        """Add rows without a change."""
        if found.moment >= self.surplus_since:
            self.surplus.append(found)
            self._cut(self.surplus)

    def _cut(self, found: list[Any]) -> None:
        if len(found) > self.limit:
            del found[self.limit :]
            self.complete = False


def match(
    expected: Collection[Expected],
    rows: Collection[Rows],
    failed: Collection[Rows],
    dead_letters: Collection[str],
    matches: Matches,
) -> None:
    """Match changes and add the result to ``matches``.

    A change counts once: as a row if it is one, else as a failed record, else as a dead letter. Of
    several changes of one identity the first are taken to be rows.

    Args:
        failed: failed records, with the moment of their arrival.
        dead_letters: the event ids of dead letters.
    """
    changes: dict[str, list[Expected]] = defaultdict(list)
    for each in expected:
        changes[each.digest].append(each)
    found_rows = _by_digest(rows)
    found_failed = _by_digest(failed)
    for digest, found in changes.items():
        total = sum(each.count for each in found)
        written = sum(each.count for each in found_rows.get(digest, ()))
        matches.expected += total
        matches.rows += min(total, written)
        matches.repeated += max(0, written - total)
        remaining = _without_first(found, written)
        if remaining:
            since = remaining[0].moment - CLOCK_SKEW_SECONDS
            recent = sum(f.count for f in found_failed.get(digest, ()) if f.moment >= since)
            after = _without_first(remaining, recent)
            matches.failed += _count(remaining) - _count(after)
            lost = [each for each in after if each.event_id not in dead_letters]
            matches.dead_lettered += _count(after) - _count(lost)
            matches.add_missing(lost)
    _add_surplus(changes, found_rows, matches)


def _add_surplus(
    changes: Mapping[str, Sequence[Expected]], found: Mapping[str, Sequence[Rows]], matches: Matches
) -> None:
    """Add the rows that no change explains, such as those of changes not read yet."""
    for digest, rows in found.items():
        surplus = sum(each.count for each in rows) - _count(changes.get(digest, ()))
        if surplus > 0:
            newest = max(each.moment for each in rows)
            matches.add_surplus(Rows(digest, newest, surplus))


def _by_digest(found: Collection[Rows]) -> dict[str, list[Rows]]:
    grouped: dict[str, list[Rows]] = defaultdict(list)
    for each in found:
        grouped[each.digest].append(each)
    return grouped


def _count(changes: Collection[Expected]) -> int:
    return sum(each.count for each in changes)


def _without_first(changes: Collection[Expected], count: int) -> list[Expected]:
    """The changes without the ``count`` oldest."""
    remaining: list[Expected] = []
    for each in sorted(changes, key=lambda change: change.moment):
        taken = min(count, each.count)
        count -= taken
        if each.count > taken:
            left = each.count - taken
            remaining.append(Expected(each.digest, each.moment, each.event_id, left))
    return remaining


class IdentityPartitions(ExitStack):
    """Changes, rows and failed records, by a hash of their identity; many of them are in files.

    Attributes:
        dead_letters: the event ids of dead letters.
    """

    def __init__(self) -> None:
        super().__init__()
        self._folder = ""
        self._lines: dict[str, list[str]] = defaultdict(list)
        self._buffered = 0
        self.dead_letters: set[str] = set()

    def expect(self, each: Expected) -> None:
        """Add changes that must be somewhere."""
        event_id = json.dumps(each.event_id)
        self._add("expected", each.digest, f"{each.moment!r},{event_id},{each.count}")

    def add_rows(self, each: Rows) -> None:
        """Add rows of the lake."""
        self._add("rows", each.digest, f"{each.moment!r},{each.count}")

    def add_failed(self, each: Rows) -> None:
        """Add failed records of error objects."""
        self._add("failed", each.digest, f"{each.moment!r},{each.count}")

    def matches(self, surplus_since: float) -> Matches:
        """Match all that was added so far; ``surplus_since`` as in the result."""
        matches = Matches(surplus_since=surplus_since)
        for number in range(PARTITIONS):
            match(
                [Expected(digest, *entry) for digest, entry in self._entries("expected", number)],
                [Rows(digest, *entry) for digest, entry in self._entries("rows", number)],
                [Rows(digest, *entry) for digest, entry in self._entries("failed", number)],
                self.dead_letters,
                matches,
            )
        return matches

    def _add(self, side: str, digest: str, entry: str) -> None:
        name = f"{side}-{int(digest[:4], 16) % PARTITIONS}"
        self._lines[name].append(f"{digest} [{entry}]\n")
        self._buffered += 1
        if self._buffered >= BUFFERED_LINES:
            self._spill()

    def _spill(self) -> None:
        if not self._folder:
            self._folder = self.enter_context(tempfile.TemporaryDirectory(prefix="reconcile-"))
        for name, lines in self._lines.items():
            with open(Path(self._folder) / name, "a", encoding="ascii") as file:
                file.writelines(lines)
        self._lines.clear()
        self._buffered = 0

    def _entries(self, side: str, number: int) -> Iterator[tuple[str, list[Any]]]:
        name = f"{side}-{number}"
        yield from map(_entry, self._lines.get(name, ()))
        path = Path(self._folder) / name if self._folder else None
        if path is not None and path.exists():
            with open(path, encoding="ascii") as lines:
                yield from map(_entry, lines)


def _entry(line: str) -> tuple[str, list[Any]]:
    digest, _, entry = line.partition(" ")
    return digest, json.loads(entry)
