"""The current view compared with DuckDB and pyiceberg: changes merged into many rows.

    python -m ddb_pipeline_tests.benchmarks.current [--keys 5000000] [--upsert-keys 100000]
                                                    [--folder F] [--iceberg-python PYTHON]

Writes a view of orders of about 150 bytes, and Parquet of changes to 1 % of the keys: spread over
all buckets, and confined to a few. Measured in a process of its own (and its workers) are CPU
seconds without imports, and the peak of memory. Rows merged are those of the base and of the
changes.

DuckDB reads the same files and writes one zstd file: QUALIFY row_number() over base and changes.
pyiceberg's upsert, whose time depends on the number of changes, gets a smaller table: once with 1 %
changed and once with all of it, beside the view on the same rows. Its deletes are not done. It
needs pyiceberg with the SQL catalog (extra ``benchmark``): if this interpreter does not have it,
give one that has with ``--iceberg-python``.
"""

import argparse
import importlib.util
import json
import os
import resource
import shutil
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

SHARE = 100
"""One key of so many is changed."""
LEAST_BUCKETS = 8
DELETES = 10
"""One change of so many is a delete."""
FILES = 10
BASE_MICROS = 1_780_000_000_000_000
Measured = dict[str, float]


def orders(numbers: Any, version: str) -> Any:
    """Items of these numbers."""
    import numpy as np
    import pyarrow as pa
    import pyarrow.compute as pc

    def texts(values: Any) -> Any:
        return pa.array(values).cast(pa.string())

    mixed = (numbers * 2_654_435_761) % 4_294_967_296
    return pa.table(
        {
            "id": pc.binary_join_element_wise("order#", pc.utf8_lpad(texts(numbers), 9, "0"), ""),
            "customer": pc.binary_join_element_wise(
                "c", pa.array(mixed % 90_001).cast("string"), ""
            ),
            "total": pa.array(mixed % 1_000_000)
            .cast(pa.decimal128(19, 0))
            .cast(pa.decimal128(21, 2)),
            "amount": pa.array(mixed % 97),
            "paid": pa.array(mixed % 3 == 0),
            "note": pc.binary_join_element_wise(version, texts(mixed), " "),
            "tags": pa.ListArray.from_arrays(
                np.arange(0, 2 * len(numbers) + 1, 2, dtype=np.int32),
                texts(np.repeat(mixed % 11, 2)),
            ),
        }
    )


COLUMNS = (
    ("id", "string"),
    ("customer", "string"),
    ("total", "decimal(21,2)"),
    ("amount", "bigint"),
    ("paid", "boolean"),
    ("note", "string"),
    ("tags", "array<string>"),
)


def write_inputs(folder: Path, keys: int, share: int) -> Measured:
    """The view, and the files of changes; returns what building the view took."""
    import numpy as np
    import pyarrow.parquet as pq

    from ddb_pipeline.lake.current.keys import bucket_numbers

    folder.mkdir(parents=True, exist_ok=True)
    for number in range(FILES):
        numbers = np.arange(keys * number // FILES, keys * (number + 1) // FILES)
        pq.write_table(orders(numbers, "first"), folder / f"items-{number}.parquet")
    built = measured("build", folder)
    rng = np.random.default_rng(1)
    changed = np.sort(rng.choice(keys, keys // share, replace=False))
    write_changes(folder / "spread.parquet", changed)
    buckets = int(built["buckets"])
    everything = np.arange(keys)
    texts = key_texts(orders(everything, "").column("id").combine_chunks())
    chosen = everything[bucket_numbers(texts, buckets) < max(1, buckets // LEAST_BUCKETS)]
    write_changes(folder / "local.parquet", chosen[: keys // share])
    return built


def write_changes(path: Path, numbers: Any, later: int = 0) -> None:
    """Changes as converted from an incremental export, ``later`` microseconds after the first."""
    import numpy as np
    import pyarrow as pa
    import pyarrow.parquet as pq

    table = orders(numbers, "second")
    removed = np.arange(len(numbers)) % DELETES == 0
    names = np.where(removed, "REMOVE", "UPSERT")
    times = BASE_MICROS + 1 + later + np.arange(len(numbers))
    table = table.append_column("ddb_keys", key_texts(table.column("id").combine_chunks()))
    table = table.append_column("ddb_event_name", pa.array(names))
    table = table.append_column("ddb_write_time", pa.array(times).cast(pa.timestamp("us")))
    pq.write_table(table, path)


def key_texts(ids: Any) -> Any:
    import pyarrow.compute as pc

    return pc.binary_join_element_wise('{"id":"', ids, '"}', "")


def ours(folder: Path, changes: str) -> dict[str, Any]:
    """Build the view, or merge changes into a copy of it."""
    import pyarrow.fs
    import pyarrow.parquet as pq

    from ddb_pipeline.hive.types import Column
    from ddb_pipeline.lake.current.keys import KeyAttribute
    from ddb_pipeline.lake.current.manifest import Manifest, Snapshot
    from ddb_pipeline.lake.current.sources import ParquetPart
    from ddb_pipeline.lake.current.steps import Processes
    from ddb_pipeline.lake.current.store import LocalStore
    from ddb_pipeline.lake.current.update import Request, update

    local = pyarrow.fs.LocalFileSystem()
    key = (KeyAttribute("id", "S"),)
    paths = [folder / f"{changes}.parquet"] if changes else sorted(folder.glob("items-*.parquet"))
    parts = tuple(
        ParquetPart(
            local,
            str(path),
            "changes" if changes else "items",
            pq.read_metadata(path).num_rows,
            key,
            BASE_MICROS,
        )
        for path in paths
    )

    def plan(state: Manifest) -> Request:
        from dataclasses import replace

        snapshot = Snapshot("base", BASE_MICROS)
        columns = tuple(Column(*column) for column in COLUMNS)
        manifest = replace(
            state, key=key, columns=columns, snapshot=snapshot, as_of=BASE_MICROS + 10**9
        )
        return Request(manifest, parts, replaces=not changes)

    view = folder / "view"
    target = view
    if changes:
        target = folder / "merged"
        shutil.rmtree(target, ignore_errors=True)
        shutil.copytree(view, target)
    began, cpu = time.perf_counter(), cpu_seconds()
    with Processes() as run_steps:
        updated = update(LocalStore(str(target)), plan, run_steps)
    return {
        "rows": sum(part.rows for part in parts) + (view_rows(view) if changes else 0),
        "left": updated.manifest.rows,
        "buckets": updated.manifest.buckets,
        "rewritten": updated.rewritten,
        "wall": time.perf_counter() - began,
        "cpu": cpu_seconds() - cpu,
    }


def view_rows(view: Path) -> int:
    document = json.loads((view / "_current" / "manifest.json").read_text())
    return sum(file["rows"] for file in document["files"])


def by_duckdb(folder: Path, changes: str) -> dict[str, Any]:
    """The same by a window over base and changes."""
    import duckdb

    # The files of the version before the merge; DuckDB does not need the columns of origin.
    names = ", ".join(name for name, _ in COLUMNS)
    connection = duckdb.connect()
    connection.execute(f"SET threads = {len(os.sched_getaffinity(0))}")
    connection.execute("SET preserve_insertion_order = false")
    began, cpu = time.perf_counter(), cpu_seconds()
    connection.execute(
        f"""
        COPY (
            SELECT * EXCLUDE (removed) FROM (
                SELECT {names}, ddb_keys, ddb_updated_at AS updated_at, false AS removed
                FROM read_parquet('{folder}/view/key_bucket=*/*.parquet')
                UNION ALL
                SELECT {names}, ddb_keys, ddb_write_time, ddb_event_name = 'REMOVE'
                FROM read_parquet('{folder}/{changes}.parquet')
            )
            QUALIFY row_number() OVER (PARTITION BY ddb_keys ORDER BY updated_at DESC) = 1
                AND NOT removed
        ) TO '{folder}/duckdb.parquet' (FORMAT parquet, COMPRESSION zstd)
        """
    )
    wall, cpu = time.perf_counter() - began, cpu_seconds() - cpu
    counted = connection.execute(f"SELECT count(*) FROM '{folder}/duckdb.parquet'").fetchone()
    base = connection.execute(
        f"SELECT count(*) FROM '{folder}/view/key_bucket=*/*.parquet'"
    ).fetchone()
    new = connection.execute(f"SELECT count(*) FROM '{folder}/{changes}.parquet'").fetchone()
    assert counted is not None
    assert base is not None
    assert new is not None
    return {"rows": base[0] + new[0], "left": counted[0], "wall": wall, "cpu": cpu}


def by_upsert(folder: Path, changes: str) -> dict[str, Any]:
    """The same by pyiceberg's upsert, without deletes."""
    import pyarrow as pa
    import pyarrow.parquet as pq
    from pyiceberg.catalog.sql import SqlCatalog

    names = [name for name, _ in COLUMNS]
    base = pa.concat_tables(
        [pq.read_table(path, columns=names) for path in sorted(folder.glob("items-*.parquet"))]
    )
    upserts = pq.read_table(
        folder / f"{changes}.parquet", filters=[("ddb_event_name", "=", "UPSERT")]
    )
    new = upserts.select(names)
    warehouse = folder / "warehouse"
    shutil.rmtree(warehouse, ignore_errors=True)
    warehouse.mkdir()
    catalog = SqlCatalog(
        "benchmark", uri=f"sqlite:///{warehouse}/catalog.db", warehouse=f"file://{warehouse}"
    )
    catalog.create_namespace("lake")
    table: Any = catalog.create_table("lake.orders", pa.schema(list(base.schema)))
    table.append(base)
    began, cpu = time.perf_counter(), cpu_seconds()
    table.upsert(new, join_cols=["id"])
    wall, cpu = time.perf_counter() - began, cpu_seconds() - cpu
    left = table.scan().to_arrow().num_rows
    return {"rows": len(base) + len(new), "left": left, "wall": wall, "cpu": cpu}


WAYS: dict[str, Callable[[Path, str], dict[str, Any]]] = {
    "build": lambda folder, _: ours(folder, ""),
    "ours": ours,
    "duckdb": by_duckdb,
    "upsert": by_upsert,
}


def cpu_seconds() -> float:
    """CPU seconds of this process and of its children that have ended."""
    used = [resource.getrusage(who) for who in (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN)]
    return sum(one.ru_utime + one.ru_stime for one in used)


class PeakMemory:
    """The most memory that this process and its children use at one moment, in MB.

    Pages that processes share are counted once.
    """

    def __enter__(self) -> "PeakMemory":
        self.megabytes = 0.0
        self._stopped = threading.Event()
        self._watcher = threading.Thread(target=self._watch, daemon=True)
        self._watcher.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._stopped.set()
        self._watcher.join()

    def _watch(self) -> None:
        while not self._stopped.wait(0.1):
            self.megabytes = max(self.megabytes, sum(map(proportional, family(os.getpid()))))


def family(pid: int) -> list[int]:
    found = [pid]
    for task in Path(f"/proc/{pid}/task").glob("*/children"):
        for child in task.read_text().split():
            found += family(int(child))
    return found


def proportional(pid: int) -> float:
    try:
        text = Path(f"/proc/{pid}/smaps_rollup").read_text()
    except OSError:
        return 0.0
    return next(int(t.split()[1]) / 1024 for t in text.splitlines() if t.startswith("Pss:"))


def measured(way: str, folder: Path, changes: str = "", python: str = "") -> Measured:
    """Run one way in a process of its own."""
    arguments = [python or sys.executable, str(Path(__file__).resolve()), "--run", way]
    arguments += ["--folder", str(folder), "--changes", changes]
    done = subprocess.run(arguments, check=True, capture_output=True, text=True)
    found: Measured = json.loads(done.stdout.splitlines()[-1])
    return found


def line(name: str, m: Measured) -> str:
    return (
        f"{name:32}{m['rows']:>10,.0f} rows{m['rows'] / m['cpu']:>12,.0f} rows/CPU s"
        f"{m['wall']:>8.1f} s{m['peak_mb']:>8,.0f} MB peak{m['left']:>11,.0f} rows left"
    )


def ratio(own: Measured, other: Measured) -> float:
    """How many times as many rows are merged in a CPU second."""
    return (own["rows"] / own["cpu"]) / (other["rows"] / other["cpu"])


def run(folder: Path, keys: int, upsert_keys: int, iceberg_python: str) -> None:
    say = partial(print, flush=True)
    say(line("the view, built from Parquet", write_inputs(folder, keys, SHARE)))
    for changes in ("spread", "local"):
        own = measured("ours", folder, changes)
        say(line(f"current view, {changes}", own))
        say(f"  {own['rewritten']:.0f} of {own['buckets']:.0f} buckets written")
        other = measured("duckdb", folder, changes)
        say(line(f"DuckDB, {changes}", other))
        same = own["left"] == other["left"]
        say(f"  {ratio(own, other):.2f} times DuckDB's rate; as many rows left: {same}")
    if not iceberg_python and importlib.util.find_spec("pyiceberg") is None:
        say("pyiceberg is not installed: give --iceberg-python")
        return
    for share in (SHARE, 1):
        small = folder / f"upsert-{share}"
        write_inputs(small, upsert_keys, share)
        own = measured("ours", small, "spread")
        say(line(f"current view, 1 of {share} changed", own))
        upsert = measured("upsert", small, "spread", iceberg_python)
        say(line(f"pyiceberg's upsert, 1 of {share}", upsert))
        say(f"  {ratio(own, upsert):.1f} times the upsert's rate")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--keys", type=int, default=5_000_000)
    parser.add_argument("--upsert-keys", type=int, default=100_000)
    parser.add_argument("--folder", type=Path, help="Folder for the data; it is kept.")
    parser.add_argument("--iceberg-python", default="", help="An interpreter with pyiceberg.")
    parser.add_argument("--run", default="", help=argparse.SUPPRESS)
    parser.add_argument("--changes", default="", help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    if arguments.run:
        with PeakMemory() as peak:
            found = WAYS[arguments.run](arguments.folder, arguments.changes)
        print(json.dumps({**found, "peak_mb": peak.megabytes}))  # noqa: T201
        return
    with tempfile.TemporaryDirectory() as temporary:
        folder = (arguments.folder or Path(temporary)).absolute()
        folder.mkdir(parents=True, exist_ok=True)
        run(folder, arguments.keys, arguments.upsert_keys, arguments.iceberg_python)


if __name__ == "__main__":
    main()
