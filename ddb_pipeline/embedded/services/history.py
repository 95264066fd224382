"""The history of tables with point-in-time recovery: every change of an item, with its time.

Lines of JSON in a file for each day (UTC), which are removed after 35 days:

    [position, microseconds, account, region, table, table id, key, sort key, old item, new item]

A line is written before the change it describes is in the journal, and the journal states up to
which position the lines count. Lines past it, of changes that a kill undid, are removed at the next
start.
"""

import json
import os
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from datetime import datetime, timedelta, timezone
from pathlib import Path
from typing import Any, Final, NamedTuple

from ddb_pipeline.embedded.home import FILE_MODE
from ddb_pipeline.embedded.journal import State, encode
from ddb_pipeline.embedded.services.ministack import Document, saved_default
from ddb_pipeline.export.layout import ItemChange
from ddb_pipeline.export.window import RECOVERY_DAYS

HISTORY: Final = ("dynamodb", "history")
END: Final = "end"
"""The key of the number of lines that count."""
SINCE: Final = ("dynamodb", "history-since")
"""The group of the times from which on tables' histories are complete, by table id."""

Line = list[Any]


class Changed(NamedTuple):
    """An item that was written: before the first write, after the last one, and its time."""

    old: Document | None
    new: Document | None
    micros: int


class ChangeHistory:
    """The changes of items, written to files of a folder. Thread-safe.

    Attributes:
        lock: held where an item is changed and its change noted; whoever holds it sees the items as
            the history so far describes them.
    """

    def __init__(self, folder: Path, clock: Callable[[], float] = time.time) -> None:
        folder.mkdir(exist_ok=True)
        self._folder = folder
        self._clock = clock
        self.lock = threading.RLock()
        self._pending: list[tuple[str, str]] = []
        self._since: dict[str, int] = {}
        self._unsaved: dict[str, int | None] = {}
        self._end = self._saved_end = 0
        self._last_micros = 0

    def now(self) -> int:
        """The time in microseconds of the epoch; later than that of every change so far."""
        with self.lock:
            self._last_micros = max(self._last_micros + 1, int(self._clock() * 1e6))
            return self._last_micros

    def begin(self, table: Document) -> None:
        """Record a table's changes from now on.

        The history of a table that has no item now is complete for all times.
        """
        since = self.now() if table.get("ItemCount") else 0
        with self.lock:
            self._since[table["TableId"]] = self._unsaved[table["TableId"]] = since

    def end(self, table: Document) -> None:
        """Record no more changes of a table."""
        with self.lock:
            if self._since.pop(table["TableId"], None) is not None:
                self._unsaved[table["TableId"]] = None

    def since(self, table_id: str) -> int | None:
        """The time from which on a table's history is complete; None for a table without one."""
        return self._since.get(table_id)

    def note(
        self,
        scope: tuple[str, str, str],
        table_id: str,
        keys: tuple[str, str],
        old: Document | None,
        new: Document | None,
    ) -> None:
        """Record a change of an item; a write that changes nothing is none.

        Args:
            scope: account, region and name of the table.
        """
        if old == new:
            return
        with self.lock:
            micros, position = self.now(), self._end
            self._end += 1
            line = [position, micros, *scope, table_id, *keys, old, new]
            text = json.dumps(line, separators=(",", ":"), default=saved_default)
            self._pending.append((_day(micros), text))

    def write(self) -> None:
        """Write the changes to their files.

        Raises:
            OSError: they could not be written. They are written with the next ones.
        """
        with self.lock:
            while self._pending:
                day = self._pending[0][0]
                lines = [text for other, text in self._pending if other == day]
                self._append(self._folder / f"{day}.jsonl", lines)
                self._pending = [entry for entry in self._pending if entry[0] != day]

    def changes(self) -> Iterator[str]:
        """Yield what the journal states of the changes that are written."""
        with self.lock:
            end = self._end - len(self._pending)
            if end != self._saved_end:
                self._saved_end = end
                yield encode(HISTORY, END, end)
            for table_id, since in self._unsaved.items():
                yield encode(SINCE, table_id, *(() if since is None else (since,)))
            self._unsaved.clear()

    def lines(self) -> Iterator[str]:
        """Yield all that the journal states."""
        with self.lock:
            stated = [(HISTORY, END, self._saved_end)]
            stated += [(SINCE, table_id, since) for table_id, since in self._since.items()]
        for group, key, value in stated:
            yield encode(group, key, value)

    def restore(self, state: State) -> None:
        """Go on after the end of a process, whose last changes may not count."""
        with self.lock:
            self._end = self._saved_end = state.get(HISTORY, {}).get(END, 0)
            self._since = dict(state.get(SINCE, {}))
            files = sorted(self._folder.glob("*.jsonl"))
            for path in files[-2:]:
                self._keep_lines_before(path, self._end)
            for path in files[-2:]:
                for line in _read(path):
                    self._last_micros = max(self._last_micros, line[1])

    def forget_old(self) -> None:
        """Remove the files of days that no recovery reaches."""
        oldest = _day(int((self._clock() - (RECOVERY_DAYS + 1) * 86_400) * 1e6))
        for path in self._folder.glob("*.jsonl"):
            if path.stem < oldest:
                path.unlink(missing_ok=True)

    def changed(self, table_id: str, start: int, end: int) -> dict[tuple[str, str], "Changed"]:
        """The items of a table that were written from a time up to another, exclusive."""
        found: dict[tuple[str, str], Changed] = {}
        for _, micros, _, _, _, table, key, sort_key, old, new in self._between(start, end):
            if table == table_id and start <= micros < end:
                first = found.get((key, sort_key))
                found[key, sort_key] = Changed(first.old if first else old, new, micros)
        return found

    def net_changes(
        self, table_id: str, key_names: Sequence[str], start: int, end: int
    ) -> list[ItemChange]:
        """The net changes of a table from a time up to another, exclusive.

        An item that was created and deleted within the window is none.
        """
        changes = []
        for old, new, micros in self.changed(table_id, start, end).values():
            image = new or old
            if image is not None:
                keys = {name: image[name] for name in key_names}
                changes.append(ItemChange(keys, new, old, micros))
        return changes

    def _between(self, start: int, end: int) -> Iterator[Line]:
        """The changes of all tables on the days of a window, in their order."""
        with self.lock:
            self.write()
        first, last = _day(start), _day(end)
        for path in sorted(self._folder.glob("*.jsonl")):
            if first <= path.stem <= last:
                yield from _read(path)

    def _append(self, path: Path, lines: list[str]) -> None:
        data = memoryview("".join(f"{line}\n" for line in lines).encode())
        handle = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_APPEND, FILE_MODE)
        try:
            before = os.fstat(handle).st_size
            try:
                while data:
                    data = data[os.write(handle, data) :]
            except OSError:
                os.ftruncate(handle, before)
                raise
        finally:
            os.close(handle)

    def _keep_lines_before(self, path: Path, end: int) -> None:
        """Cut a file where a position, or half a line, begins that does not count."""
        size = 0
        with path.open("rb") as file:
            for text in file:
                if not text.endswith(b"\n") or json.loads(text)[0] >= end:
                    break
                size += len(text)
        os.truncate(path, size)


def _read(path: Path) -> Iterator[Line]:
    with path.open("rb") as file:
        for text in file:
            if text.endswith(b"\n"):
                yield json.loads(text)


def _day(micros: int) -> str:
    moment = datetime(1970, 1, 1, tzinfo=timezone.utc) + timedelta(microseconds=micros)
    return f"{moment:%Y-%m-%d}"
