"""Days of the stream at high speed: the objects and bytes there are with compaction and vacuum.

``python -m ddb_pipeline_tests.soak.stream_growth [--hours 24] [--speed 60] [--raw-hours 3]``

An object lands each minute, and now and then a late one in an earlier hour. Hours are compacted
when they are over, the vacuum runs once an hour; an hour takes 3600 seconds divided by the speed,
and so do the times of the retention. Each line of the table is the end of an hour: what has landed,
and what is there. The number of objects must stay below those of the hours whose raw objects stay,
and a few for each hour.
"""

import argparse
import tempfile
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from ddb_pipeline.embedded.process import connect, stop
from ddb_pipeline.lake.layout import DeliveryHour
from ddb_pipeline.lake.objects import list_objects
from ddb_pipeline.lake.removals import VacuumTarget
from ddb_pipeline.lake.retention import RetentionPolicy
from ddb_pipeline.lake.vacuum import vacuum
from ddb_pipeline_tests.support.stream_lake import HOUR, StreamLake, stream_rows

OBJECT_ROWS = 20
LATE_EVERY = 5
"""Each so many hours an object lands in an hour that is compacted already."""
LATE_HOURS = 2
OBJECTS_OF_AN_HOUR = 4
"""A compacted hour's file, its folder, the object that names it, and a note."""


@dataclass(frozen=True, slots=True)
class Sample:
    """The end of an hour: what has landed since the start, and what is in the bucket."""

    hour: int
    landed_objects: int
    landed_bytes: int
    raw_objects: int
    objects: int
    bytes: int
    rows: int
    landed_rows: int


class Growth:
    """One run, in a home directory of its own."""

    def __init__(self, lake: StreamLake, hour_seconds: float, minutes: int, raw_hours: int) -> None:
        self._lake = lake
        self._hour_seconds = hour_seconds
        self._minutes = minutes
        self._policy = RetentionPolicy(raw_hours * hour_seconds, hour_seconds, 0, 0, 0)
        self._objects = self._bytes = self._number = 0

    def samples(self, hours: int) -> Iterator[Sample]:
        """Let hours pass; a sample at the end of each."""
        for number in range(hours):
            hour = HOUR.plus(number)
            # Of this hour: one that took longer does not make the next one shorter.
            started = time.monotonic()
            for minute in range(self._minutes):
                self.land(hour)
                if not minute:
                    self._lake.register(hour)
                due = started + (minute + 1) / self._minutes * self._hour_seconds
                time.sleep(max(0.0, due - time.monotonic()))
            self._lake.compact(hour)
            if number % LATE_EVERY == LATE_EVERY - 1:
                late = hour.plus(-LATE_HOURS)
                self.land(late)
                self._lake.compact(late)
            self.vacuum()
            yield self.sample(number + 1)

    def land(self, hour: DeliveryHour) -> None:
        """Let an object land in an hour."""
        rows = stream_rows(self._number, self._number + OBJECT_ROWS)
        self._number += OBJECT_ROWS
        self._objects += 1
        self._bytes += self._lake.size_of(self._lake.land(rows, hour))

    def vacuum(self) -> None:
        """Remove what may be removed now."""
        lake, now = self._lake, time.time()
        target = VacuumTarget(
            lake.s3, lake.glue, lake.root, lake.table, lake.table, lake.table, "e", now
        )
        vacuum(target, self._policy, now, dry_run=False)

    def sample(self, hours: int) -> Sample:
        """What is in the bucket after so many hours."""
        lake = self._lake
        found = list(list_objects(lake.s3, lake.root, "", with_empty=True))
        rows = sum(len(lake.events(HOUR.plus(number))) for number in range(hours))
        return Sample(
            hours,
            self._objects,
            self._bytes,
            sum(stored.key.startswith("stream/") for stored in found),
            len(found),
            sum(stored.size for stored in found),
            rows,
            self._number,
        )


def samples(
    home: Path, hours: int, hour_seconds: float, raw_hours: int, minutes: int = 60
) -> Iterator[Sample]:
    """Run in a home directory of its own."""
    try:
        lake = StreamLake(connect(home), home).create()
        yield from Growth(lake, hour_seconds, minutes, raw_hours).samples(hours)
    finally:
        stop(home)


def limit(hours: int, raw_hours: int, minutes: int = 60) -> int:
    """The most objects that may be there after so many hours."""
    # The vacuum runs once an hour, and finds what is old enough an hour later at the latest.
    return (raw_hours + 2) * (minutes + 1) + (hours + raw_hours + 2) * OBJECTS_OF_AN_HOUR


def main(arguments: Sequence[str] | None = None) -> None:
    """Print a line for each hour; the exit status is 1 where there are too many objects."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--hours", type=int, default=24)
    parser.add_argument("--speed", type=float, default=60.0)
    parser.add_argument("--raw-hours", type=int, default=3)
    chosen = parser.parse_args(arguments)
    holds = True
    header = ("hour", "landed", "there", "raw", "limit", "landed bytes", "bytes there", "rows")
    print("".join(f"{name:>14}" for name in header))  # noqa: T201
    with tempfile.TemporaryDirectory() as folder:
        for s in samples(Path(folder), chosen.hours, 3600 / chosen.speed, chosen.raw_hours):
            most = limit(s.hour, chosen.raw_hours)
            holds = holds and s.objects <= most and s.rows == s.landed_rows
            found = (s.landed_objects, s.objects, s.raw_objects, most)
            line = (s.hour, *found, s.landed_bytes, s.bytes, s.rows)
            print("".join(f"{number:>14,}" for number in line), flush=True)  # noqa: T201
    raise SystemExit(0 if holds else 1)


if __name__ == "__main__":
    main()
