"""One hour of many landed files, compacted: files, bytes, time, memory, and queries.

    python -m ddb_pipeline_tests.benchmarks.compaction [--files 10000] [--rows 50]

The files are Firehose's Parquet (Snappy) of changes of orders, in random order, written by the
project's conversion to the embedded AWS; one in fifty lands twice, and in the first half a column
is narrower. A process of its own compacts them. DuckDB reads the files that the catalog's partition
names, and its results before and after are compared.
"""

import argparse
import json
import multiprocessing
import random
import resource
import tempfile
import time
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from itertools import islice
from pathlib import Path
from typing import Any

from ddb_pipeline.conversion.convert import convert
from ddb_pipeline.embedded.process import Endpoint, connect, stop
from ddb_pipeline.hive.types import Column
from ddb_pipeline_tests.benchmarks.conversion import ORDERS, order
from ddb_pipeline_tests.support.stream_lake import HOUR, StreamLake

REPEATED_EVERY = 50
KEYS_PER_ROW = 0.3
WRITERS = 4
PAGE = 500
COLUMNS = [Column(*entry) for entry in ORDERS]
NARROW = [Column(c.name, "int") if c.name == "quantity" else c for c in COLUMNS]
QUERIES = {
    "all rows": (
        "SELECT sum(quantity), sum(total)::DECIMAL(38, 2), count(DISTINCT order_id), "
        "sum(len(items)) FROM (SELECT DISTINCT ON (ddb_event_id) * FROM hour)"
    ),
    "one column": "SELECT active, count(DISTINCT ddb_event_id) FROM hour GROUP BY 1 ORDER BY 1",
    "one key": "SELECT max(ddb_sequence_number) FROM hour WHERE order_id = 'o-00000042'",
}


def documents(files: int, rows: int) -> Iterator[list[bytes]]:
    """The documents of each file: changes of fewer orders than there are changes."""
    draw = random.Random(1)
    keys = max(43, int(files * rows * KEYS_PER_ROW))
    sequence = 0
    for _ in range(files):
        found = []
        for _ in range(rows):
            sequence += 1
            document = order(draw.randrange(keys), draw)
            document["ddb_sequence_number"] = f"{10**20 + sequence}"
            found.append(json.dumps(document, separators=(",", ":")).encode() + b"\n")
        yield found


def land(lake: StreamLake, files: int, rows: int) -> None:
    """Write the files of the hour."""

    def put(entry: tuple[int, list[bytes]]) -> None:
        number, found = entry
        body: Any = convert(found, NARROW if number < files // 2 else COLUMNS).parquet
        for copy in range(1 + (number % REPEATED_EVERY == 0)):
            key = f"{HOUR.prefix}{number:06}-{copy}.parquet"
            lake.s3.put_object(Bucket=lake.bucket, Key=lake.root.object_key(key), Body=body)

    numbered = enumerate(documents(files, rows))
    with ThreadPoolExecutor(WRITERS) as pool:
        while page := list(islice(numbered, PAGE)):
            list(pool.map(put, page))


def compact(endpoint: Endpoint, home: Path, bucket: str, landed: Any, results: Any) -> None:
    """Compact the hour in a process of its own; its time and the peak of its memory."""
    lake = StreamLake(endpoint, home, bucket, COLUMNS)
    landed.wait()
    before = resource.getrusage(resource.RUSAGE_SELF)
    started = time.perf_counter()
    done = lake.compact()
    after = resource.getrusage(resource.RUSAGE_SELF)
    assert done is not None
    results.put(
        {
            "seconds": time.perf_counter() - started,
            "cpu": after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime,
            "memory": after.ru_maxrss / 1024,
            "memory before": before.ru_maxrss / 1024,
            "rows": done.generation.rows,
            "repeats": done.generation.repeats,
        }
    )


def queried(lake: StreamLake) -> dict[str, tuple[float, Any]]:
    """The time of each query, the second of two, and its result."""
    found = {}
    for name, query in QUERIES.items():
        lake.query(query)
        started = time.perf_counter()
        result = lake.query(query)
        found[name] = (time.perf_counter() - started, result)
    return found


def measured(home: Path, files: int, rows: int) -> Iterator[str]:
    """Run the benchmark; the lines of its report."""
    endpoint = connect(home)
    lake = StreamLake(endpoint, home, columns=COLUMNS).create()
    context = multiprocessing.get_context("spawn")
    landed, results = context.Event(), context.Queue()
    # Begun now: a process begins with the peak memory of the one that starts it.
    child = context.Process(target=compact, args=(endpoint, home, lake.bucket, landed, results))
    child.start()
    land(lake, files, rows)
    lake.register()
    raw = lake.objects(HOUR.prefix)
    before = queried(lake)
    landed.set()
    done = results.get()
    child.join()
    compacted = [Path(path).stat().st_size for path in lake.files()]
    after = queried(lake)
    size, smaller = sum(stored.size for stored in raw), sum(compacted)
    yield f"{'':24}{'landed':>14}{'compacted':>14}{'ratio':>10}"
    yield f"{'files':24}{len(raw):>14,}{len(compacted):>14,}{len(raw) / len(compacted):>10,.0f}"
    yield f"{'bytes':24}{size:>14,}{smaller:>14,}{size / smaller:>10.1f}"
    for name, (seconds, result) in before.items():
        later, same = after[name]
        if same != result:
            raise SystemExit(f"{name}: {result} before, {same} after")
        yield f"{f'query of {name}, s':24}{seconds:>14.3f}{later:>14.3f}{seconds / later:>10.1f}"
    yield (
        f"{done['rows']:,} rows, {done['repeats']:,} repeats left out; {done['seconds']:.0f} s, "
        f"{done['cpu']:.0f} s of CPU time, peak memory {done['memory']:.0f} MB "
        f"({done['memory before']:.0f} MB before the first row)"
    )


def main(arguments: Sequence[str] | None = None) -> None:
    """Print the report."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--files", type=int, default=10_000)
    parser.add_argument("--rows", type=int, default=50)
    chosen = parser.parse_args(arguments)
    with tempfile.TemporaryDirectory() as folder:
        home = Path(folder)
        try:
            for line in measured(home, chosen.files, chosen.rows):
                print(line)  # noqa: T201
        finally:
            stop(home)


if __name__ == "__main__":
    main()
