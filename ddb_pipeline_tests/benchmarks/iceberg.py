"""The current view as an Iceberg table: many runs of small changes, each one commit.

    python -m ddb_pipeline_tests.benchmarks.iceberg [--keys 1000000] [--runs 100] [--share 100]
                                                    [--buckets 16] [--folder F]

Builds a view of orders of about 150 bytes and commits it. Each run then merges changes to one key
of ``--share``, one in ten a delete, and commits the buckets that changed. Printed are the
seconds of a merge and of a commit, at the beginning and at the end; the number of manifests, data
files and metadata files; what the expiry of replaced snapshots leaves after each tenth run and at
the end; and whether the table, as pyiceberg and as the lake's reader read it, equals the view.
The catalog is SQLite in the folder, the files are local.
"""

import argparse
import shutil
import statistics
import tempfile
import time
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.dataset as ds
import pyarrow.fs
import pyarrow.parquet as pq
from pyiceberg.table import Table

from ddb_pipeline.hive.types import Column
from ddb_pipeline.lake.current.keys import KeyAttribute
from ddb_pipeline.lake.current.manifest import Manifest, Snapshot
from ddb_pipeline.lake.current.sources import Kind, ParquetPart
from ddb_pipeline.lake.current.steps import here
from ddb_pipeline.lake.current.store import LocalStore
from ddb_pipeline.lake.current.update import Request, Updated, update
from ddb_pipeline.lake.iceberg.maintenance import expire, referenced_uris, replaced_snapshots
from ddb_pipeline.lake.iceberg.publish import Published, publish
from ddb_pipeline.lake.iceberg.read import iceberg_dataset
from ddb_pipeline.lake.iceberg.tables import CURRENT_PARTITIONS, wanted_view
from ddb_pipeline_tests.benchmarks.current import BASE_MICROS, COLUMNS, orders, write_changes
from ddb_pipeline_tests.support.iceberg import local_target, table_of

EXPIRE_EVERY = 10


class Bench:
    """A view and its Iceberg table in a folder."""

    def __init__(self, folder: Path, buckets: int) -> None:
        self.folder = folder
        self.buckets = buckets
        self.store = LocalStore(f"{folder}/view")
        self.target = local_target(folder, CURRENT_PARTITIONS)
        self.filesystem = pyarrow.fs.LocalFileSystem()

    def merge(self, path: Path, kind: Kind, moment: int) -> Updated:
        """Merge a file into the view."""
        rows = pq.read_metadata(path).num_rows
        key = (KeyAttribute("id", "S"),)
        part = ParquetPart(self.filesystem, str(path), kind, rows, key, BASE_MICROS)

        def plan(state: Manifest) -> Request:
            manifest = replace(
                state,
                key=key,
                columns=tuple(Column(*column) for column in COLUMNS),
                snapshot=Snapshot("base", BASE_MICROS),
                as_of=moment,
            )
            full = kind == "items"
            buckets = self.buckets if full else None
            return Request(manifest, (part,), replaces=full, buckets=buckets, int96=False)

        return update(self.store, plan, here)

    def commit(self) -> Published:
        """Commit the view's version."""
        return publish(
            self.target, lambda: wanted_view(self.store.read().manifest, self.store.path)
        )

    def table(self) -> Table:
        """The table as it is now."""
        return table_of(self.target)

    def files(self) -> set[str]:
        """The files in the table's folder."""
        root = Path(self.target.folder)
        return {str(path) for path in root.rglob("*") if path.is_file()}

    def expire(self) -> tuple[int, int]:
        """Expire what is replaced and remove the files of none; their numbers."""
        table = self.table()
        chosen = replaced_snapshots(table.metadata, time.time())
        table = expire(self.target, table, chosen)
        used = {self.target.path(uri) for uri in referenced_uris(table)}
        unused = self.files() - used
        for path in unused:
            Path(path).unlink()
        return len(chosen), len(unused)

    def describe(self) -> str:
        """What the table consists of."""
        table = self.table()
        snapshot = table.current_snapshot()
        manifests = snapshot.manifests(table.io) if snapshot else []
        files = self.files()
        data = sum(path.endswith(".parquet") for path in files)
        size = sum(Path(path).stat().st_size for path in files) / 2**20
        return (
            f"{len(table.metadata.snapshots)} snapshots, {len(manifests)} manifests, "
            f"{len(table.inspect.files())} files in the newest; {data} data files and "
            f"{len(files) - data} of metadata in the folder, {size:,.0f} MiB"
        )


def sorted_rows(table: pa.Table) -> pa.Table:
    """The item's columns in the order of keys."""
    return table.select([name for name, _ in COLUMNS]).sort_by("id").combine_chunks()


def differences(bench: Bench) -> list[str]:
    """The readers that do not read what the view has."""
    paths = [f"{bench.store.path}/{path}" for path in bench.store.read().manifest.paths]
    expected = sorted_rows(ds.dataset(paths).to_table())
    table = bench.table()
    read: dict[str, Any] = {
        "pyiceberg": table.scan().to_arrow(),
        "the lake's reader": iceberg_dataset(bench.filesystem, table).to_table(),
    }
    return [
        name
        for name, rows in read.items()
        if not sorted_rows(rows).cast(expected.schema).equals(expected)
    ]


def shown(name: str, seconds: Sequence[float]) -> str:
    """Times of the first and the last tenth of the runs."""
    tenth = max(1, len(seconds) // 10)
    return (
        f"{name:8} median {statistics.median(seconds):.2f} s, first tenth "
        f"{statistics.median(seconds[:tenth]):.2f} s, last tenth "
        f"{statistics.median(seconds[-tenth:]):.2f} s, longest {max(seconds):.2f} s"
    )


def run(folder: Path, keys: int, runs: int, share: int, buckets: int) -> None:
    """Measure in a folder."""
    bench = Bench(folder, buckets)
    pq.write_table(orders(np.arange(keys), "first"), folder / "items.parquet")
    bench.merge(folder / "items.parquet", "items", BASE_MICROS)
    first = bench.commit()
    print(f"{keys:,} rows in {first.added} files: first commit {first.seconds:.2f} s")  # noqa: T201
    generator = np.random.default_rng(1)
    merges, commits, expiries = [], [], []
    for number in range(1, runs + 1):
        chosen = np.sort(generator.choice(keys, keys // share, replace=False))
        changes = folder / "changes.parquet"
        write_changes(changes, chosen, number * 10**9)
        began = time.perf_counter()
        bench.merge(changes, "changes", BASE_MICROS + (number + 1) * 10**9)
        merges.append(time.perf_counter() - began)
        commits.append(bench.commit().seconds)
        if number % EXPIRE_EVERY == 0 and number < runs:
            began = time.perf_counter()
            bench.expire()
            expiries.append(time.perf_counter() - began)
    print(f"{runs} runs of {keys // share:,} changes")  # noqa: T201
    print(shown("merge", merges))  # noqa: T201
    print(shown("commit", commits))  # noqa: T201
    if expiries:
        print(shown("expiry", expiries))  # noqa: T201
    print(f"before the last expiry: {bench.describe()}")  # noqa: T201
    snapshots, files = bench.expire()
    print(f"expired {snapshots} snapshots, removed {files} files: {bench.describe()}")  # noqa: T201
    wrong = differences(bench)
    print("equal to the view" if not wrong else f"NOT EQUAL: {', '.join(wrong)}")  # noqa: T201


def main() -> None:
    """Parse the arguments and measure."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--keys", type=int, default=1_000_000)
    parser.add_argument("--runs", type=int, default=100)
    parser.add_argument("--share", type=int, default=100)
    parser.add_argument("--buckets", type=int, default=16)
    parser.add_argument("--folder", type=Path)
    options = parser.parse_args()
    if options.folder:
        options.folder.mkdir(parents=True)
        run(options.folder, options.keys, options.runs, options.share, options.buckets)
        return
    folder = Path(tempfile.mkdtemp(prefix="ddb-iceberg-"))
    try:
        run(folder, options.keys, options.runs, options.share, options.buckets)
    finally:
        shutil.rmtree(folder)


if __name__ == "__main__":
    main()
