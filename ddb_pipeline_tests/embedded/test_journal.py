"""The journal: what was appended is there after any end of the process, and its size is bounded."""

import errno
import os
import random
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from ddb_pipeline.embedded import journal as journal_module
from ddb_pipeline.embedded.home import EmbeddedError
from ddb_pipeline.embedded.journal import Journal, State, encode

GROUP = ("service", "member")


def state_lines(state: State) -> Iterator[str]:
    for group, entries in state.items():
        for key, value in entries.items():
            yield encode(group, key, value)


def test_changes_are_read_in_their_order(tmp_path: Path) -> None:
    journal = Journal(tmp_path)
    assert journal.is_empty
    journal.append([encode(GROUP, "a", 1), encode(GROUP, ["a", "b"], {"x": None})])
    journal.append([encode(GROUP, "a", 2), encode(("other",), "a", 1), encode(("other",))])
    journal.append([encode(GROUP, "c", 1), encode(GROUP, "c"), encode(GROUP, "unknown")])
    again = Journal(tmp_path)
    assert not again.is_empty
    assert again.read() == {GROUP: {"a": 2, ("a", "b"): {"x": None}}}


@pytest.mark.parametrize("half", ["[", '[["service","member"],"b",2]', "\x00" * 70_000])
def test_half_a_line_is_not_read(tmp_path: Path, half: str) -> None:
    Journal(tmp_path).append([encode(GROUP, "a", 1)])
    (path,) = tmp_path.iterdir()
    with path.open("a", encoding="utf-8") as file:
        file.write(half)
    journal = Journal(tmp_path)
    journal.append([encode(GROUP, "c", 3)])
    assert Journal(tmp_path).read() == {GROUP: {"a": 1, "c": 3}}


@pytest.mark.parametrize("damage", ["{}", "[]", "nothing", "[1]", '[["a"],{},1]'])
def test_a_damaged_line_is_one_clear_error(tmp_path: Path, damage: str) -> None:
    Journal(tmp_path).append([encode(GROUP, "a", 1), damage, encode(GROUP, "b", 1)])
    with pytest.raises(EmbeddedError, match="is damaged in line 2"):
        Journal(tmp_path).read()


def test_a_full_disk_fails_the_append_and_damages_nothing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    journal = Journal(tmp_path)
    journal.append([encode(GROUP, "a", 1)])
    real_write = os.write

    def write_half(handle: int, data: Any) -> int:
        if len(data) > 8:
            return real_write(handle, data[:8])
        raise OSError(errno.ENOSPC, "No space left on device")

    with monkeypatch.context() as patched:
        patched.setattr(os, "write", write_half)
        with pytest.raises(OSError, match="No space"):
            journal.append([encode(GROUP, "b", 2)])
        assert Journal(tmp_path).read() == {GROUP: {"a": 1}}
    journal.append([encode(GROUP, "c", 3)])
    assert Journal(tmp_path).read() == {GROUP: {"a": 1, "b": 2, "c": 3}}


def test_a_snapshot_replaces_the_changes_before_it(tmp_path: Path) -> None:
    journal = Journal(tmp_path)
    state: State = {GROUP: {"a": 9}}
    journal.append([encode(GROUP, "a", number) for number in range(10)])
    journal.compact(lambda: state_lines(state))
    journal.append([encode(GROUP, "b", 1)])
    assert sorted(path.name for path in tmp_path.iterdir()) == [
        "journal-00000001.jsonl",
        "snapshot-00000001.jsonl",
    ]
    assert Journal(tmp_path).read() == {GROUP: {"a": 9, "b": 1}}


def test_a_snapshot_that_fails_leaves_the_journal_complete(tmp_path: Path) -> None:
    journal = Journal(tmp_path)
    journal.append([encode(GROUP, "a", 1)])

    def lines() -> Iterator[str]:
        yield encode(GROUP, "a", 1)
        journal.append([encode(GROUP, "b", 2)])
        raise OSError(errno.ENOSPC, "No space left on device")

    with pytest.raises(OSError, match="No space"):
        journal.compact(lines)
    assert Journal(tmp_path).read() == {GROUP: {"a": 1, "b": 2}}


@pytest.mark.parametrize("seed", range(20))
def test_a_kill_at_any_time_of_a_snapshot(
    tmp_path: Path, seed: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Changes go on while a snapshot of the changing state is written and the process is killed."""
    randomness = random.Random(seed)
    state: State = {}
    journal = Journal(tmp_path)

    def change() -> None:
        key = randomness.randrange(5)
        line: list[Any] = [GROUP, key, randomness.random()]
        length = randomness.choice((1, 2, 3, 3, 3, 3))
        if length == 1:
            state.pop(GROUP, None)
        elif length == 2:
            state.get(GROUP, {}).pop(key, None)
        else:
            state.setdefault(GROUP, {})[key] = line[2]
        journal.append([encode(*line[:length])])

    def lines() -> Iterator[str]:
        for line in list(state_lines(state)):
            change()
            if randomness.random() < 0.1:
                raise KeyboardInterrupt
            yield line

    for _ in range(20):
        for _ in range(randomness.randrange(10)):
            change()
        try:
            journal.compact(lines)
        except KeyboardInterrupt:
            journal = Journal(tmp_path)
        assert {k: v for k, v in Journal(tmp_path).read().items() if v} == {
            k: v for k, v in state.items() if v
        }


def test_the_size_is_bounded(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(journal_module, "FIRST_COMPACTION_BYTES", 1000)
    journal, compactions = Journal(tmp_path), 0
    state: State = {GROUP: {"a": "x" * 500}}
    for _ in range(500):
        journal.append([encode(GROUP, "a", "x" * 500)])
        if journal.needs_compaction:
            compactions += 1
            journal.compact(lambda: state_lines(state))
        assert sum(path.stat().st_size for path in tmp_path.iterdir()) < 3000
    assert compactions > 10
