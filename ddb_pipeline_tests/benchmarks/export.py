"""Export to Parquet: this project's converter compared with others, on several shapes of items.

    python -m ddb_pipeline_tests.benchmarks.export [--items 1000000] [--shapes orders,wide]
        [--peer-files 1] [--rounds 3] [--folder F]

Writes items to 8 gzipped data files: orders of about 600 bytes of DynamoDB JSON, search logs (half
of them with attributes in another order, attributes of several types, decimals of 19 digits, maps
in lists), wide items (15 of 200 optional attributes), texts of 4 KB. Each converter runs in a
process of its own, on one core and then on all. Measured are CPU seconds from the gzipped file to
zstd Parquet, without imports; ``inferred`` is the run that takes the types from all items first.
The converters run in turns, and the best of ``--rounds`` of each counts, because other processes
of the machine slow down some runs. Two limits are measured beside them: processes of one worker
each, which share nothing, show what this machine's cores reach together; the floor is gunzip, the
checksum and the Parquet writer alone, without any reading of JSON, for the same files.
The rate of the other converters does not depend on the size, so they get the first files only
(``--peer-files`` for each core). All values that this project wrote are compared with boto3's
TypeDeserializer (not with ``--no-check``). dynamodb-json is measured if it is installed.
"""

import argparse
import gzip
import hashlib
import importlib.util
import json
import os
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterator, Mapping
from decimal import Decimal
from functools import partial
from multiprocessing import Pool
from pathlib import Path
from typing import Any

from ddb_pipeline_tests.benchmarks.export_converters import read_item
from ddb_pipeline_tests.support.export_items import SHAPES, Shape, write_benchmark_export

OURS = "ddb_pipeline"
PEERS = ("boto3 + pandas", "awswrangler's way", "dynamodb-json")
FILES = 8
Measured = dict[str, float]
Run = tuple[str, int]
"""A converter and its number of workers."""
MASK = 2**64 - 1


def measured(converter: str, folder: Path, output: Path, workers: int, files: int) -> Measured:
    """Run a converter in a process of its own."""
    shutil.rmtree(output, ignore_errors=True)
    module = "ddb_pipeline_tests.benchmarks.export_converters"
    arguments = [sys.executable, "-m", module, converter, folder, output, workers, files]
    done = subprocess.run(list(map(str, arguments)), check=True, capture_output=True, text=True)
    m: Measured = json.loads(done.stdout.splitlines()[-1])
    return m


def line(name: str, m: Measured) -> str:
    return (
        f"{name:20}{m['rows']:>10,.0f} rows{m['rows'] / m['cpu']:>10,.0f} rows/CPU s"
        f"{m['rows'] / m['wall']:>10,.0f} rows/s{m['peak_mb']:>8,.0f} MB peak"
        f"{m['size_mb']:>8,.1f} MB Parquet"
    )


def summed(rows: Iterator[dict[str, Any]]) -> tuple[int, int]:
    """A sum over the rows that does not depend on their order, and the number of rows."""
    total = count = 0
    for row in rows:
        text = json.dumps(plain(row), sort_keys=True, ensure_ascii=False)
        digest = hashlib.blake2b(text.encode(), digest_size=8).digest()
        total += int.from_bytes(digest, "big")
        count += 1
    return total & MASK, count


def plain(value: Any) -> Any:
    """One form for both sides: numbers by value, sets sorted, nulls left out."""
    if isinstance(value, dict):
        return {name: plain(inner) for name, inner in value.items() if inner is not None}
    if isinstance(value, set):
        return sorted(map(plain, value))
    if isinstance(value, list):
        return [plain(inner) for inner in value]
    if isinstance(value, bool | str):
        return value
    number = Decimal(repr(value)) if isinstance(value, float) else Decimal(value)
    return str(number.normalize()) if number else "0"


def sets_sorted(shape: Shape, row: dict[str, Any]) -> dict[str, Any]:
    """A row of Parquet with its sets, which are lists there, sorted."""
    for name in shape.sets:
        if row.get(name) is not None:
            row[name] = sorted(map(plain, row[name]))
    return row


def reference_sum(shape: Shape, path: Path) -> tuple[int, int]:
    from boto3.dynamodb.types import TypeDeserializer

    deserialize = TypeDeserializer().deserialize
    with gzip.open(path, "rb") as lines:
        return summed(read_item(deserialize, json.loads(text)["Item"]) for text in lines)


def parquet_sum(shape: Shape, path: Path) -> tuple[int, int]:
    import pyarrow.parquet as pq

    with pq.ParquetFile(path) as file:
        batches = file.iter_batches(10_000)
        return summed(sets_sorted(shape, row) for batch in batches for row in batch.to_pylist())


def same_values(shape: Shape, folder: Path, output: Path) -> tuple[bool, int]:
    """Whether the rows equal what TypeDeserializer reads, and the number of rows."""
    with Pool() as pool:
        expected = pool.map(partial(reference_sum, shape), sorted((folder / "data").iterdir()))
        found = pool.map(partial(parquet_sum, shape), sorted(output.glob("*.parquet")))
    totals = [tuple(map(sum, zip(*sums, strict=True))) for sums in (expected, found)]
    (expected_sum, count), (found_sum, rows) = totals
    return expected_sum & MASK == found_sum & MASK and count == rows, rows


def inferred(inference: Measured, conversion: Measured) -> Measured:
    """The run that infers the types and then converts."""
    both = {name: inference[name] + conversion[name] for name in ("cpu", "wall")}
    return conversion | both | {"peak_mb": max(inference["peak_mb"], conversion["peak_mb"])}


def rate(m: Measured) -> float:
    return m["rows"] / m["cpu"]


def in_turns(runs: Mapping[Run, Callable[[], Measured]], rounds: int) -> dict[Run, Measured]:
    """The best of each run; they take turns, so that what slows the machine slows all of them."""
    best: dict[Run, Measured] = {}
    for _ in range(rounds):
        for run, measure in runs.items():
            found = measure()
            unit = "cpu" if run[1] == 1 else "wall"
            if run not in best or found[unit] < best[run][unit]:
                best[run] = found
    return best


def run(shape: str, folder: Path, items: int, peer_files: int, rounds: int, check: bool) -> None:
    say = partial(print, flush=True)
    say(f"\n{shape}")
    cores = len(os.sched_getaffinity(0))
    write_benchmark_export(folder, shape, items)
    output = folder / "output"
    peers = [peer for peer in (PEERS if shape == "orders" else PEERS[:1]) if is_installed(peer)]
    own = [("inference", 1), (OURS, 1), (OURS, cores), ("in processes", cores), ("floor", 1)]
    own += [("inference without C", 1), ("without C", 1)]
    runs = {one: partial(measured, one[0], folder, output, one[1], FILES) for one in own}
    for peer in peers:
        for workers in (1, cores):
            files = peer_files * workers
            runs[peer, workers] = partial(measured, peer, folder, output, workers, files)
    best = in_turns(runs, rounds)
    given, several = best[OURS, 1], best[OURS, cores]
    whole = inferred(best["inference", 1], given)
    old = best["without C", 1]
    old_inferred = inferred(best["inference without C", 1], old)
    say(line(f"{OURS}, 1 core", given))
    say(line(f"{OURS}, {cores} cores", several))
    say(line("inferred, 1 core", whole))
    say(line("without C, 1 core", old))
    say(line("inferred without C", old_inferred))
    times = rate(given) / rate(old), rate(whole) / rate(old_inferred)
    say(f"  ratio to the reader without C: {times[0]:.1f}, inferred {times[1]:.1f}")
    say(f"  inferred costs {whole['cpu'] / given['cpu']:.2f} times as much as types given")
    processes = given["wall"] / best["in processes", cores]["wall"]
    say(
        f"  {cores} cores are {given['wall'] / several['wall']:.2f} times as fast as one, "
        f"{cores} processes of one worker {processes:.2f} times"
    )
    floor = best["floor", 1]
    say(line("floor, 1 core", floor))
    say(f"  of the time with types given {floor['cpu'] / given['cpu']:.0%} is the floor")
    for peer in peers:
        one, both = best[peer, 1], best[peer, cores]
        say(line(f"{peer}, 1 core", one))
        say(line(f"{peer}, {cores} cores", both))
        wall = (several["rows"] / several["wall"]) / (both["rows"] / both["wall"])
        say(
            f"  ratio to {peer}: {rate(given) / rate(one):.1f} per CPU second, inferred "
            f"{rate(whole) / rate(one):.1f}; {wall:.1f} by the clock on all cores; "
            f"of the floor {rate(floor) / rate(one):.1f}"
        )
    if check:
        measured(OURS, folder, output, cores, FILES)
        same, rows = same_values(SHAPES[shape], folder, output)
        say(f"Values equal TypeDeserializer's in {rows:,} rows: {same}")


def is_installed(peer: str) -> bool:
    return peer != "dynamodb-json" or importlib.util.find_spec("dynamodb_json") is not None


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--items", type=int, default=1_000_000)
    parser.add_argument("--shapes", default=",".join(SHAPES), help="a comma between two")
    parser.add_argument("--peer-files", type=int, default=1)
    parser.add_argument("--folder", type=Path, help="The export's folder; it is kept and reused.")
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--no-check", action="store_true")
    arguments = parser.parse_args()
    with tempfile.TemporaryDirectory() as temporary:
        folder = arguments.folder or Path(temporary)
        for shape in arguments.shapes.split(","):
            one = partial(run, shape, folder / shape, arguments.items, arguments.peer_files)
            one(arguments.rounds, not arguments.no_check)


if __name__ == "__main__":
    main()
