"""Hours are compacted, and compactions killed, while readers read them: no row is missing or twice.

``python -m ddb_pipeline_tests.soak.compaction [COMPACTIONS] [--readers N] [--seed N]``

Objects land in a few hours of a lake in the embedded AWS, late ones and repeats too. For each of
the compactions a process compacts one of the hours; most of these are killed (SIGKILL) at a random
moment and run again until one ends. Meanwhile readers read each hour where the catalog says, by
DuckDB, and the vacuum runs again and again. A reader must find each row once, and every row that
readers could find before it began. At the end each hour must hold exactly the rows that landed.
"""

import argparse
import multiprocessing
import random
import tempfile
import threading
import time
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import duckdb

from ddb_pipeline.embedded.process import Endpoint, connect, stop
from ddb_pipeline.lake.layout import DeliveryHour
from ddb_pipeline.lake.removals import VacuumTarget
from ddb_pipeline.lake.retention import RetentionPolicy
from ddb_pipeline.lake.vacuum import vacuum
from ddb_pipeline_tests.support.stream_lake import HOUR, StreamLake, stream_rows

HOURS = 3
OBJECTS = 12
OBJECT_ROWS = 20
KILLED_SHARE = 0.6
LONGEST_SECONDS = 60.0
READ_SECONDS = 20.0
"""How long a replaced generation stays here; readers of a slow machine need some seconds."""


@dataclass
class Result:
    """What happened.

    Attributes:
        compactions: those that ended.
        killed: processes that were killed while they compacted.
        reads: of an hour.
        missing: rows that a reader did not find.
        twice: rows that a reader found again.
        problems: what else went wrong.
    """

    compactions: int = 0
    killed: int = 0
    reads: int = 0
    removed: int = 0
    missing: int = 0
    twice: int = 0
    problems: list[str] = field(default_factory=list)

    @property
    def holds(self) -> bool:
        """Whether every reader found each row once."""
        return not (self.missing or self.twice or self.problems)


@dataclass
class Hours:
    """Which rows have landed in each hour, and which of them readers must find."""

    landed: dict[DeliveryHour, set[str]] = field(default_factory=dict)
    visible: dict[DeliveryHour, frozenset[str]] = field(default_factory=dict)


def compact_in_process(
    endpoint: Endpoint, home: Path, bucket: str, hour: DeliveryHour, begun: Any
) -> None:
    """Compact an hour; the target of a process."""
    lake = StreamLake(endpoint, home, bucket)
    begun.set()
    lake.compact(hour)


class Soak:
    """One run."""

    def __init__(self, endpoint: Endpoint, home: Path, seed: int) -> None:
        self.lake = StreamLake(endpoint, home).create()
        self.random = random.Random(seed)
        self.hours = Hours()
        self.result = Result()
        self._number = 0
        self._done = threading.Event()
        # Its server imports everything once; no process begins with threads or connections.
        self._context = multiprocessing.get_context("forkserver")
        self._context.set_forkserver_preload([compact_in_process.__module__])
        self._seconds = 1.0

    def run(self, compactions: int, readers: int) -> Result:
        """Compact so many times while so many readers read."""
        for number in range(HOURS):
            hour = HOUR.plus(number)
            self.land(hour, OBJECTS, repeats=False)
            self.lake.register(hour)
            self.hours.visible[hour] = frozenset(self.hours.landed[hour])
        threads = [threading.Thread(target=self.guarded, args=(self.read,)) for _ in range(readers)]
        threads.append(threading.Thread(target=self.guarded, args=(self.vacuum,)))
        for thread in threads:
            thread.start()
        try:
            while self.result.compactions < compactions and not self.result.problems:
                hour = HOUR.plus(self.random.randrange(HOURS))
                self.compact(hour)
                self.land(hour, self.random.randint(0, 3), repeats=True)
            for number in range(HOURS):
                self.compact(HOUR.plus(number))
        finally:
            self._done.set()
            for thread in threads:
                thread.join()
        self.compare()
        return self.result

    def land(self, hour: DeliveryHour, objects: int, *, repeats: bool) -> None:
        """Let objects land in an hour; with repeats some of their rows are in others too."""
        for _ in range(objects):
            rows = stream_rows(self._number, self._number + OBJECT_ROWS)
            self._number += OBJECT_ROWS // 2 if repeats else OBJECT_ROWS
            self.lake.land(rows, hour)
            self.hours.landed.setdefault(hour, set()).update(r["ddb_event_id"] for r in rows)
        # Rows of one hour are no repeats of rows of another.
        self._number += OBJECT_ROWS

    def compact(self, hour: DeliveryHour) -> None:
        """Compact an hour in a process, again while it is killed."""
        expected = frozenset(self.hours.landed[hour])
        while True:
            begun = self._context.Event()
            lake = self.lake
            arguments = (lake.endpoint, lake.home, lake.bucket, hour, begun)
            process = self._context.Process(target=compact_in_process, args=arguments)
            process.start()
            begun.wait(LONGEST_SECONDS)
            started = time.monotonic()
            if self.random.random() < KILLED_SHARE:
                time.sleep(self.random.uniform(0, 1.2 * self._seconds))
                process.kill()
            process.join()
            if process.exitcode == 0:
                self._seconds = 0.7 * self._seconds + 0.3 * (time.monotonic() - started)
                break
            if process.exitcode != -9:
                self.result.problems.append(f"a compaction ended with {process.exitcode}")
                return
            self.result.killed += 1
        self.hours.visible[hour] = expected
        self.result.compactions += 1

    def guarded(self, step: Callable[[], None]) -> None:
        """Repeat a step until the run is done; an error ends the run."""
        while not self._done.is_set():
            try:
                step()
            except Exception as error:  # noqa: BLE001  (any error of a reader is a finding)
                self.result.problems.append(f"{type(error).__name__}: {error}"[:500])
                return

    def read(self) -> None:
        """Read each hour as a reader of the catalog does."""
        for number in range(HOURS):
            hour = HOUR.plus(number)
            expected = self.hours.visible[hour]
            found = Counter(self.events(hour))
            self.result.reads += 1
            self.result.missing += len(expected - found.keys())
            self.result.twice += sum(found.values()) - len(found)

    def events(self, hour: DeliveryHour) -> list[str]:
        """The event ids of an hour's rows."""
        files = self.lake.files(hour)
        with duckdb.connect(config={"threads": 1}) as connection:
            query = f"SELECT ddb_event_id FROM read_parquet({files!r})"
            return [row[0] for row in connection.execute(query).fetchall()]

    def vacuum(self) -> None:
        """Remove what may be removed."""
        lake = self.lake
        target = VacuumTarget(
            lake.s3, lake.glue, lake.root, lake.table, lake.table, lake.table, "e", time.time()
        )
        policy = RetentionPolicy(READ_SECONDS, READ_SECONDS, 0, 0, 0)
        self.result.removed += vacuum(target, policy, time.time(), dry_run=False).objects
        self._done.wait(1.0)

    def compare(self) -> None:
        """Compare what the hours hold at the end with what has landed."""
        for hour, landed in self.hours.landed.items():
            found = self.events(hour)
            if sorted(found) != sorted(landed):
                self.result.problems.append(
                    f"{hour.partition_key} holds {len(found)} rows, {len(landed)} have landed"
                )


def soak(home: Path, compactions: int, readers: int = 2, seed: int = 1) -> Result:
    """Run the soak in a home directory of its own."""
    try:
        return Soak(connect(home), home, seed).run(compactions, readers)
    finally:
        stop(home)


def main(arguments: Sequence[str] | None = None) -> None:
    """Print the result; the exit status is 1 where a row was missing or twice."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("compactions", nargs="?", type=int, default=50)
    parser.add_argument("--readers", type=int, default=2)
    parser.add_argument("--seed", type=int, default=1)
    chosen = parser.parse_args(arguments)
    with tempfile.TemporaryDirectory() as folder:
        started = time.monotonic()
        result = soak(Path(folder), chosen.compactions, chosen.readers, chosen.seed)
    print(  # noqa: T201
        f"{result.compactions} compactions, {result.killed} killed before they ended, "
        f"{result.reads} reads of an hour, {result.removed} objects removed, "
        f"{time.monotonic() - started:.0f} s: {result.missing} rows missing, {result.twice} twice"
    )
    for problem in result.problems:
        print(problem)  # noqa: T201
    raise SystemExit(0 if result.holds else 1)


if __name__ == "__main__":
    main()
