"""The journal of the embedded AWS: every change of its state in the order in which it was made.

A change is on disk before the request that made it is answered, so the end of the process, even by
``kill -9``, loses no acknowledged write. The operating system is trusted to write what it was
given: a power failure can lose the last seconds.

The state is groups of entries; a line of the journal is one change, as JSON:

- ``[group, key, value]`` sets the value of a key,
- ``[group, key]`` removes a key,
- ``[group]`` removes all keys of a group.

Applying a line twice, or on a state that already contains it, has the effect of once. Therefore a
snapshot, which has the same lines, may be written while changes go on: ``snapshot-N`` and the
segments from ``journal-N`` on together make the state, and older files are removed.
"""

import json
import os
import re
import threading
from collections.abc import Callable, Hashable, Iterable, Iterator
from pathlib import Path
from typing import Any

from ddb_pipeline.embedded.home import FILE_MODE, EmbeddedError

Group = tuple[Hashable, ...]
State = dict[Group, dict[Any, Any]]
"""By group, the values by key: a list in JSON is a tuple as a key."""

FIRST_COMPACTION_BYTES = 32 * 1024 * 1024
"""Below this size the journal is not compacted, however small its snapshot is."""
COMPACTION_FACTOR = 1.0
"""A snapshot is due when the segments have grown by this multiple of the last snapshot."""

_FILE = re.compile(r"(journal|snapshot)-(\d{8})\.jsonl\Z")
_PARTIAL_SUFFIX = ".partial"


def encode(
    group: Group, *change: Any, default: Callable[[Any], Any] | None = None, text: str | None = None
) -> str:
    """Return the line of a change.

    Args:
        group: the group.
        change: nothing, or a key, or a key and its value.
        default: encodes what is not JSON, as in ``json.dumps``.
        text: the value in JSON, where it is encoded already.
    """
    line = json.dumps([group, *change], separators=(",", ":"), default=default)
    return line if text is None else f"{line[:-1]},{text}]"


class Journal:
    """The files of a journal in one folder, written by one process."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._files: dict[tuple[str, int], Path] = {}
        for path in sorted(folder.iterdir()):
            match = _FILE.match(path.name)
            if match:
                self._files[match[1], int(match[2])] = path
            elif path.name.endswith(_PARTIAL_SUFFIX):
                path.unlink()
        self._snapshot = max((n for kind, n in self._files if kind == "snapshot"), default=0)
        segments = [n for kind, n in self._files if kind == "journal" and n >= self._snapshot]
        self._segment = max(segments, default=self._snapshot)
        self._pending: list[str] = []
        self._writing = threading.Lock()
        self._remove_old()
        self._handle = self._open_segment()

    @property
    def is_empty(self) -> bool:
        """Whether nothing was ever written."""
        return not any(path.stat().st_size for path in self._files.values())

    @property
    def needs_compaction(self) -> bool:
        """Whether the segments have grown so far that a snapshot is due."""
        sizes = {name: path.stat().st_size for name, path in self._files.items()}
        snapshot = sizes.get(("snapshot", self._snapshot), 0)
        segments = sum(size for (kind, _), size in sizes.items() if kind == "journal")
        return segments > max(FIRST_COMPACTION_BYTES, COMPACTION_FACTOR * snapshot)

    def read(self, object_hook: Callable[[dict[str, Any]], Any] | None = None) -> State:
        """Return the state that the journal describes.

        Raises:
            EmbeddedError: a line is damaged, other than the last one, which the process may not
                have written to its end.
        """
        state: State = {}
        for name in sorted(self._files, key=lambda name: (name[1], name[0] == "journal")):
            with self._files[name].open("rb") as file:
                for number, line in enumerate(file, 1):
                    try:
                        _apply(state, json.loads(line, object_hook=object_hook))
                    except (ValueError, TypeError, LookupError) as error:
                        raise EmbeddedError(
                            f"State file {self._files[name]} is damaged in line {number}: {error}"
                        ) from error
        return state

    def append(self, lines: Iterable[str]) -> None:
        """Write changes. They are on disk, in the sense of this module, when this returns.

        Raises:
            OSError: they could not be written. They are written with the next ones, before these.
        """
        with self._writing:
            self._pending += lines
            if not self._pending:
                return
            data = "".join(f"{line}\n" for line in self._pending).encode()
            before = os.fstat(self._handle).st_size
            try:
                _write_all(self._handle, data)
            except OSError:
                # Half a line would damage the journal.
                os.ftruncate(self._handle, before)
                raise
            self._pending.clear()

    def compact(self, lines: Callable[[], Iterator[str]]) -> None:
        """Write a snapshot in place of the changes so far.

        Args:
            lines: returns the lines of the whole state, as it is at some time after the call or
                later. Changes that are appended meanwhile are applied to the snapshot.

        Raises:
            OSError: it could not be written; the journal is complete without it.
        """
        with self._writing:
            os.close(self._handle)
            self._segment += 1
            self._handle = self._open_segment()
            number = self._segment
        path = self._path("snapshot", number)
        partial = path.with_name(path.name + _PARTIAL_SUFFIX)
        try:
            with open(partial, "w", encoding="utf-8", opener=_private_opener) as file:
                for line in lines():
                    file.write(line)
                    file.write("\n")
            partial.replace(path)
        except OSError:
            partial.unlink(missing_ok=True)
            raise
        self._files["snapshot", number] = path
        self._snapshot = number
        self._remove_old()

    def _path(self, kind: str, number: int) -> Path:
        return self._folder / f"{kind}-{number:08d}.jsonl"

    def _open_segment(self) -> int:
        """Open the newest segment for appending, without the half line that a kill may leave."""
        path = self._path("journal", self._segment)
        self._files["journal", self._segment] = path
        handle = os.open(path, os.O_RDWR | os.O_CREAT | os.O_APPEND, FILE_MODE)
        os.ftruncate(handle, _complete_size(handle))
        return handle

    def _remove_old(self) -> None:
        for name in [name for name in self._files if name[1] < self._snapshot]:
            self._files.pop(name).unlink()


def _apply(state: State, change: list[Any]) -> None:
    group = tuple(change[0])
    if len(change) == 1:
        state.pop(group, None)
        return
    key = tuple(change[1]) if isinstance(change[1], list) else change[1]
    if len(change) == 2:
        state.get(group, {}).pop(key, None)
    else:
        state.setdefault(group, {})[key] = change[2]


def _complete_size(handle: int) -> int:
    """Return the size of the file up to the end of its last complete line."""
    end, block = os.fstat(handle).st_size, 64 * 1024
    while end > 0:
        start = max(0, end - block)
        found = os.pread(handle, end - start, start).rfind(b"\n")
        if found >= 0:
            return start + found + 1
        end = start
    return 0


def _write_all(handle: int, data: bytes) -> None:
    remaining = memoryview(data)
    while remaining:
        remaining = remaining[os.write(handle, remaining) :]


def _private_opener(path: str, flags: int) -> int:
    return os.open(path, flags, FILE_MODE)
