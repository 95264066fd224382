"""The view equals the table, for random histories, however and in whatever order they arrive."""

import random
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from itertools import pairwise
from pathlib import Path
from typing import Any

import pyarrow.dataset as ds
import pyarrow.fs
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from ddb_pipeline.export.source import open_export
from ddb_pipeline.hive.infer import InferenceOptions
from ddb_pipeline.hive.types import Column
from ddb_pipeline.lake.current.bucket import MergeBucket
from ddb_pipeline.lake.current.exports import Exports, Opened, inferred_columns, plan_exports
from ddb_pipeline.lake.current.keys import KeyAttribute
from ddb_pipeline.lake.current.manifest import Manifest, Snapshot
from ddb_pipeline.lake.current.sources import ExportPart, ParquetPart, Source
from ddb_pipeline.lake.current.steps import here
from ddb_pipeline.lake.current.store import LocalStore, Version, Work
from ddb_pipeline.lake.current.types import joined_columns
from ddb_pipeline.lake.current.update import Request, Updated, update
from ddb_pipeline_tests.support.random_histories import (
    History,
    differences,
    epoch_micros,
    write_stream_file,
)
from ddb_pipeline_tests.support.scale import scaled

LOCAL = pyarrow.fs.LocalFileSystem()
MINUTE = 60_000_000
SLACK = 5 * MINUTE
SEEDS = st.integers(0, 10**9)
HISTORIES = scaled(10)
"""For each of the four ways in which changes arrive."""
histories = settings(
    max_examples=HISTORIES,
    deadline=None,
    suppress_health_check=[HealthCheck.function_scoped_fixture],
)


class Crash(BaseException):
    """Ends a run where it is, as a signal would."""


@dataclass(frozen=True)
class CrashingStore(LocalStore):
    """Ends the run before or after the switch."""

    where: str = ""

    def publish(self, before: Version, after: Manifest, work: Work) -> None:
        if self.where == "before":
            raise Crash
        LocalStore.publish(self, before, after, work)
        if self.where == "after":
            raise Crash


def crashing(step: int) -> Any:
    """Runs steps in this process and ends the run at one of them."""
    count = 0

    def run(steps: Sequence[Any]) -> Iterator[Any]:
        nonlocal count
        for one in steps:
            if count == step:
                raise Crash
            count += 1
            result = one.run()
            if count == step and isinstance(one, MergeBucket):
                raise Crash
            yield result

    return run


def updated(
    rng: random.Random, folder: Path, plan: Callable[[Manifest], Request | None]
) -> Updated:
    """Run an update, perhaps after one that crashes."""
    if rng.random() < 0.3:
        where = rng.choice(["before", "after", ""])
        run_steps: Any = here if where else crashing(rng.randrange(4))
        try:
            return update(CrashingStore(str(folder), where), plan, run_steps)
        except Crash:
            pass
    return update(LocalStore(str(folder)), plan, here)


def rows_of(folder: Path) -> list[dict[str, Any]]:
    rows: list[dict[str, Any]] = ds.dataset(folder, partitioning="hive").to_table().to_pylist()
    return rows


def opened(folder: Path) -> Opened:
    return open_export(LOCAL, str(folder))


def cuts(rng: random.Random, start: int, end: int, number: int) -> list[int]:
    """Boundaries of windows, in whole minutes as users give them."""
    inside = {rng.randrange(start // MINUTE, end // MINUTE + 1) * MINUTE for _ in range(number)}
    return [start, *sorted(inside - {start, end}), end]


def requested(exports: Exports) -> Callable[[Manifest], Request | None]:
    return lambda state: plan_exports(state, exports).request


@pytest.mark.timeout(300 + 20 * HISTORIES)
@histories
@given(seed=SEEDS)
def test_through_exports(seed: int, tmp_path_factory: pytest.TempPathFactory) -> None:
    tmp = tmp_path_factory.mktemp("exports")
    history, rng = History(seed), random.Random(seed)
    view = tmp / "view"
    begin = rng.randrange(0, 60) * MINUTE
    at = cuts(rng, begin, history.end, 8)
    windows = list(pairwise(at))
    folders = [history.write_window(tmp / f"w{n}", *w) for n, w in enumerate(windows)]
    full = opened(history.write_full(tmp / "full", begin))
    position = 0
    buckets = rng.choice([None, 1, 3])
    while position < len(windows):
        number = rng.randrange(0, 4)
        # Windows again that are applied already, and the full export again.
        again = rng.randrange(0, position + 1)
        given = [opened(folder) for folder in folders[again : position + number]]
        rng.shuffle(given)
        if rng.random() < 0.2:
            buckets = rng.choice([1, 2, 4, 5])
        exports = Exports(
            full if not position or rng.random() < 0.5 else None,
            tuple(given),
            key=("Id", "at")[: len(history.kind)] if rng.random() < 0.5 else (),
            buckets=buckets,
        )
        position = min(position + number, len(windows))
        result = updated(rng, view, requested(exports))
        moment = at[position]
        assert result.manifest.as_of == epoch_micros(moment)
        assert not differences(history.at(moment), rows_of(view))
        assert result.manifest.rows == len(history.at(moment))
        if position and rng.random() < 0.2:
            # A newer full export in between, also of a moment within what is applied.
            micros = rng.choice([at[position], at[position] - MINUTE])
            if micros > begin:
                begin = micros
                full = opened(history.write_full(tmp / f"full-{position}-{micros}", micros))
    last = updated(rng, view, requested(exports))
    assert not last.published


@pytest.mark.timeout(300 + 20 * HISTORIES)
@histories
@given(seed=SEEDS)
def test_through_exports_that_overlap(seed: int, tmp_path_factory: pytest.TempPathFactory) -> None:
    """Windows that begin before the end of the one before, but not before the full export."""
    tmp = tmp_path_factory.mktemp("overlaps")
    history, rng = History(seed), random.Random(seed)
    begin = rng.randrange(0, 60) * MINUTE
    ends = cuts(rng, begin, history.end, 6)[1:]
    starts = [begin]
    for end in ends[:-1]:
        starts.append(
            rng.choice([end, rng.randrange(starts[-1] // MINUTE, end // MINUTE) * MINUTE])
        )
    folders = [
        history.write_window(tmp / f"w{number}", *window)
        for number, window in enumerate(zip(starts, ends, strict=True))
    ]
    given = [opened(folder) for folder in folders]
    full = opened(history.write_full(tmp / "full", begin))
    position = 0
    while position < len(given):
        position = min(position + rng.randrange(1, 4), len(given))
        exports = Exports(full, tuple(given[:position]), buckets=rng.choice([None, 1, 3]))
        while updated(rng, tmp / "view", requested(exports)).manifest.as_of < epoch_micros(
            ends[position - 1]
        ):
            pass
        assert not differences(history.at(ends[position - 1]), rows_of(tmp / "view"))


class Pipeline:
    """A view of one history in a folder, and requests as a pipeline makes them."""

    def __init__(self, history: History, tmp: Path) -> None:
        self.history = history
        self.rng = history.rng
        self.tmp = tmp
        self.view = tmp / "view"
        names = ("Id", "at")[: len(history.kind)]
        self.key = tuple(map(KeyAttribute, names, history.kind))
        self.files = 0
        self.snapshot: Snapshot | None = None

    def stream_file(self, writes: Sequence[Any]) -> tuple[Source, Sequence[Column]]:
        self.files += 1
        path = self.tmp / f"stream-{self.files}.parquet"
        columns = write_stream_file(path, writes)
        return ParquetPart(LOCAL, str(path), "stream", len(writes)), columns

    def export(self, start: int, end: int) -> tuple[Source, Sequence[Column]]:
        self.files += 1
        folder = self.history.write_window(self.tmp / f"export-{self.files}", start, end)
        return self._part(folder)

    def full(self, micros: int) -> tuple[Source, Sequence[Column]]:
        self.files += 1
        return self._part(self.history.write_full(self.tmp / f"full-{self.files}", micros))

    def _part(self, folder: Path) -> tuple[Source, Sequence[Column]]:
        folder_, export = opened(folder)
        options = InferenceOptions(tuple(attribute.name for attribute in self.key))
        columns = inferred_columns([(folder_, export)], options)
        return ExportPart(folder_, export, self.key), columns

    def apply(
        self, parts: Sequence[tuple[Source, Sequence[Column]]], snapshot: Snapshot | None = None
    ) -> Updated:
        def plan(state: Manifest) -> Request:
            columns: Sequence[Column] = state.columns
            for _, found in parts:
                columns = joined_columns(columns, found).columns
            manifest = replace(
                state,
                key=self.key,
                columns=tuple(columns),
                snapshot=snapshot or state.snapshot,
                as_of=epoch_micros(self.history.end),
            )
            sources = tuple(source for source, _ in parts)
            return Request(
                manifest,
                sources,
                replaces=snapshot is not None,
                buckets=self.rng.choice([None, 2, 3]),
                delivered_until=epoch_micros(self.history.end),
            )

        return updated(self.rng, self.view, plan)


def divided(rng: random.Random, writes: list[Any]) -> list[list[Any]]:
    """Writes in files of any order, some of them twice."""
    writes = [*writes, *rng.sample(writes, len(writes) // 4)]
    rng.shuffle(writes)
    at = sorted(rng.sample(range(1, len(writes)), min(5, len(writes) - 1)))
    return [writes[a:b] for a, b in zip([0, *at], [*at, len(writes)], strict=True)]


@pytest.mark.timeout(300 + 20 * HISTORIES)
@histories
@given(seed=SEEDS)
def test_through_the_stream(seed: int, tmp_path_factory: pytest.TempPathFactory) -> None:
    history = History(seed)
    rng = history.rng
    pipeline = Pipeline(history, tmp_path_factory.mktemp("stream"))
    time = rng.randrange(30, 180) * MINUTE + rng.randrange(MINUTE)
    later = time + rng.randrange(1, 50) * MINUTE
    steps: list[Any] = [
        ([pipeline.stream_file(part)], None)
        for part in divided(rng, history.stream(max(0, time - 2 * SLACK), history.end))
    ]
    place = 0
    for number, micros in enumerate([time, later][: rng.randrange(1, 3)]):
        snapshot = Snapshot(f"full {number}", epoch_micros(micros), SLACK)
        # The newer full export comes after the older one.
        place = rng.randrange(place + number, len(steps) + 1)
        steps.insert(place, ([pipeline.full(micros)], snapshot))
    for parts, replaced_by in steps:
        pipeline.apply(parts, replaced_by)
        if rng.random() < 0.2:
            pipeline.apply(rng.choice([s for s in steps if s[1] is None])[0])
    assert not differences(history.at(history.end), rows_of(pipeline.view))


@pytest.mark.timeout(300 + 20 * HISTORIES)
@histories
@given(seed=SEEDS)
def test_through_both(seed: int, tmp_path_factory: pytest.TempPathFactory) -> None:
    """The stream with a gap, that incremental exports close."""
    history = History(seed)
    rng = history.rng
    pipeline = Pipeline(history, tmp_path_factory.mktemp("both"))
    time = rng.randrange(20, 60) * MINUTE
    lost, found = sorted(rng.sample(range(70 * MINUTE, 200 * MINUTE), 2))
    # Not earlier: an export has nothing of an item that was created and deleted in its window.
    start, end = lost, (found // MINUTE + 1) * MINUTE
    kept = [
        write
        for write in history.stream(time - 2 * SLACK, history.end)
        if not lost <= write.micros < found
    ]
    steps: list[Any] = [([pipeline.stream_file(part)], None) for part in divided(rng, kept)]
    at = cuts(rng, start, end, 3)
    steps += [([pipeline.export(*window)], None) for window in pairwise(at)]
    rng.shuffle(steps)
    snapshot = Snapshot("full", epoch_micros(time), SLACK)
    steps.insert(rng.randrange(len(steps)), ([pipeline.full(time)], snapshot))
    for parts, replaced_by in steps:
        pipeline.apply(parts, replaced_by)
        if rng.random() < 0.2:
            pipeline.apply(rng.choice([s for s in steps if s[1] is None])[0])
    assert not differences(history.at(history.end), rows_of(pipeline.view))
