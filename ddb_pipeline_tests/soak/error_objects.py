"""Simulates a pipeline whose error objects accumulate, and prints what redelivery costs by age.

    python -m ddb_pipeline_tests.soak.error_objects [--days 400] [--objects 5000] [--hopeless 1500]

On each day error objects are written, each with one record; some never convert, the others under a
schema that comes up to 30 days later, and some are written into the folder of an older day. Each
day has some ticks of the sensor's search and the runs that follow from them. Printed are, for the
days up to each age, the most requests of a tick and of a run without new objects, and the error
objects left. The command fails if a record that converts is left, or an object is read twice for a
schema.
"""

import argparse
import json
import random
import sys
import tempfile
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import datetime, timezone
from pathlib import Path
from typing import Any

import click
import pyarrow.fs

from ddb_pipeline.firehose.error_objects import FailedRecord, write_error_object
from ddb_pipeline.hive.types import Column
from ddb_pipeline.lake.redelivery_run import Redelivery, untried
from ddb_pipeline.lake.root import LakeRoot
from ddb_pipeline_tests.support.interleaved_s3 import InterleavedS3, MemoryBucket

DAY = 86_400.0
START = datetime(2026, 1, 1, 12, tzinfo=timezone.utc).timestamp()
SCHEMA_DAYS = 30
"""A new schema comes so often."""
REPLAYED = 0.02
"""Share of the objects that lie in an older day's folder."""
MINUTES = 10
"""Ticks on a day that is not shown."""
SHOWN = 8


@dataclass(frozen=True, slots=True)
class Age:
    """The cost of redelivery up to an age.

    Attributes:
        days: the age.
        tick_requests: the most requests of a tick.
        idle_run_requests: the most requests of a run that finds nothing to do.
        left: error objects at the end.
        repairable_left: those of them that the present schema converts.
        read_again: objects read more than once for one schema.
    """

    days: int
    tick_requests: int
    idle_run_requests: int
    left: int
    repairable_left: int
    read_again: int


class Simulation:
    """A bucket in memory to which error objects are written day by day."""

    def __init__(self, folder: Path, days: int, objects: int, hopeless: int) -> None:
        self._random = random.Random(1)
        self._days = days
        self._objects = objects
        self._share = hopeless / objects
        self._bucket = MemoryBucket(folder)
        self._requests: list[str] = []
        self._s3: Any = InterleavedS3(self._bucket, self._requests.append)
        self._schemas: dict[str, int] = {}
        """By key of an error object the first schema that converts it."""
        self._reads: Counter[tuple[str, int]] = Counter()

    def ages(self) -> Iterator[Age]:
        """Simulate all days, and describe each part of them."""
        tick = idle = written = 0
        for day in range(self._days):
            now = START + day * DAY
            schema = day // SCHEMA_DAYS
            due = self._objects * (day + 1) // self._days
            for number in range(written, due):
                self._write(number, day)
            written = due
            is_shown = (day + 1) % max(1, self._days // SHOWN) == 0 or day + 1 == self._days
            # A folder's turn to be looked at again comes once in as many minutes as there are days.
            tick = max(tick, self._redeliver(schema, now, day + 2 if is_shown else MINUTES))
            self._run(schema, now, ())
            idle = max(idle, len(self._requests))
            if is_shown:
                yield self._age(day, schema, tick, idle)
                tick = idle = 0

    def _write(self, number: int, day: int) -> None:
        is_hopeless = self._random.random() < self._share
        replayed = day and self._random.random() < REPLAYED
        moment = START + DAY * (self._random.randrange(day) if replayed else day)
        folder = datetime.fromtimestamp(moment, tz=timezone.utc).strftime("%Y-%m-%d")
        key = f"errors/format-conversion-failed/{folder}/{number:06}"
        first = day // SCHEMA_DAYS + self._random.randrange(2)
        self._schemas[key] = self._days if is_hopeless else first
        document = json.dumps({"ddb_event_id": f"{number}", f"n{self._schemas[key]}": 1})
        record = FailedRecord(raw_data=document.encode(), error_code="c", error_message="m")
        self._bucket.put(key, write_error_object([record]))

    def _redeliver(self, schema: int, now: float, minutes: int) -> int:
        """Tick each minute, and run what follows; returns the most requests of a tick."""
        most = 0
        for minute in range(minutes):
            self._requests.clear()
            found = untried(self._s3, LakeRoot("lake"), str(schema), now + minute * 60)
            most = max(most, len(self._requests))
            if found:
                self._run(schema, now + minute * 60, found.rechecked)
        return most

    def _run(self, schema: int, now: float, folders: tuple[str, ...]) -> None:
        columns = [Column("ddb_event_id", "string")]
        columns += [Column(f"n{number}", "bigint") for number in range(schema + 1)]
        self._requests.clear()
        filesystem = pyarrow.fs.LocalFileSystem()
        Redelivery(self._s3, filesystem, LakeRoot("lake"), columns, str(schema)).run(now, folders)
        for request in self._requests:
            if request.startswith("get errors/"):
                self._reads[request, schema] += 1

    def _age(self, day: int, schema: int, tick: int, idle: int) -> Age:
        left = [key for key in self._bucket.bodies if key.startswith("errors/")]
        return Age(
            day + 1,
            tick,
            idle,
            len(left),
            sum(self._schemas[key] <= schema for key in left),
            sum(count > 1 for count in self._reads.values()),
        )


def main() -> None:
    """Print a line for each age."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--days", type=int, default=400)
    parser.add_argument("--objects", type=int, default=5000)
    parser.add_argument("--hopeless", type=int, default=1500)
    options = parser.parse_args()
    failed = False
    click.echo("days  requests of a tick  of an idle run  error objects  repairable  read again")
    with tempfile.TemporaryDirectory() as folder:
        simulation = Simulation(Path(folder), options.days, options.objects, options.hopeless)
        for age in simulation.ages():
            click.echo(
                f"{age.days:4}{age.tick_requests:20}{age.idle_run_requests:16}{age.left:15}"
                f"{age.repairable_left:12}{age.read_again:12}"
            )
            failed |= bool(age.repairable_left or age.read_again)
    sys.exit(1 if failed else 0)


if __name__ == "__main__":
    main()
