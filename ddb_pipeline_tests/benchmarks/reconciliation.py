"""Time and memory of the reconciliation.

``python -m ddb_pipeline_tests.benchmarks.reconciliation [--changes N]``

Reconciles the changes of a stream in memory with Parquet in a temporary folder, then the same with
none new, and prints seconds and the peak of the process' memory. Some changes have no row.
"""

import argparse
import resource
import tempfile
import time
from collections.abc import Iterator
from datetime import datetime, timezone
from pathlib import Path
from typing import Any

import click
import pyarrow as pa
import pyarrow.fs
import pyarrow.parquet as pq

from ddb_pipeline.lake.layout import DeliveryHour
from ddb_pipeline.lake.reconcile import Source, reconcile
from ddb_pipeline.lake.root import LakeRoot
from ddb_pipeline_tests.support.interleaved_s3 import InterleavedS3, MemoryBucket
from ddb_pipeline_tests.support.memory_stream import ARN, change

HOURS = 20
OBJECT_ROWS = 10_000
SETTLE = 120.0


class GeneratedStream:
    """A stream of one shard whose records are made when they are read."""

    def __init__(self, changes: int, start: float) -> None:
        self._changes = changes
        self._start = start

    def moment(self, number: int) -> float:
        """When a change happened, epoch seconds."""
        return self._start + number * HOURS * 3600 / self._changes

    def describe_stream(self, **_: Any) -> Any:
        """One shard."""
        return {"StreamDescription": {"Shards": [{"ShardId": "shard-0"}]}}

    def get_shard_iterator(self, *, SequenceNumber: str = "", **_: Any) -> Any:
        """The number of the next change."""
        return {"ShardIterator": str(int(SequenceNumber or 10**22 - 1) - 10**22 + 1)}

    def get_records(self, *, ShardIterator: str, Limit: int) -> Any:
        """The next changes."""
        first = int(ShardIterator)
        last = min(first + Limit, self._changes)
        records = [change(number, self.moment(number)) for number in range(first, last)]
        return {"Records": records, "NextShardIterator": str(last)}


def write_objects(bucket: MemoryBucket, stream: GeneratedStream, changes: int, lost: int) -> None:
    """Write the rows of all changes but the last ``lost`` of each object."""
    for first in range(0, changes, OBJECT_ROWS):
        last = min(first + OBJECT_ROWS, changes)
        moment = stream.moment(last) + 30
        sink = pa.BufferOutputStream()
        events = [f"event-{number}" for number in range(first, max(first, last - lost))]
        pq.write_table(pa.table({"ddb_event_id": events}), sink)
        key = f"{DeliveryHour.of(moment).prefix}{first:09}.parquet"
        modified = datetime.fromtimestamp(moment, tz=timezone.utc)
        bucket.put(key, sink.getvalue().to_pybytes(), modified)
        # Only its size matters from now on: the rows are read from the file.
        bucket.bodies[key] = b"-"


def runs(changes: int, lost: int) -> Iterator[str]:
    """Reconcile twice and describe each run."""
    with tempfile.TemporaryDirectory() as folder:
        now = time.time()
        stream = GeneratedStream(changes, now - HOURS * 3600 - 3600)
        bucket = MemoryBucket(Path(folder) / "lake")
        write_objects(bucket, stream, changes, lost)
        s3: Any = InterleavedS3(bucket)
        filesystem = pyarrow.fs.SubTreeFileSystem(folder, pyarrow.fs.LocalFileSystem())
        streams: Any = stream
        source = Source(streams, ARN, s3, filesystem, LakeRoot("lake"), ["ddb_event_id"], SETTLE)
        for run in ("all changes", "nothing new"):
            started = time.perf_counter()
            result = reconcile(source, lambda: now)
            seconds = time.perf_counter() - started
            peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
            yield (
                f"{run}: {result.expected:,} changes, {result.rows:,} rows, {result.lost:,} lost, "
                f"{seconds:.1f} s, peak memory of the process {peak:.0f} MB"
            )


def main() -> None:
    """Print a line for each run."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--changes", type=int, default=1_000_000)
    parser.add_argument("--lost", type=int, default=1, help="changes lost for every 10,000")
    options = parser.parse_args()
    for line in runs(options.changes, options.lost):
        click.echo(line)


if __name__ == "__main__":
    main()
