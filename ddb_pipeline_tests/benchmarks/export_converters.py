"""One converter of an export to Parquet, measured in a process of its own.

    python -m ddb_pipeline_tests.benchmarks.export_converters NAME EXPORT DESTINATION WORKERS FILES

Prints one line of JSON. Only the conversion is measured, not the imports.
"""

import gzip
import json
import os
import resource
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor
from importlib import import_module
from itertools import repeat
from multiprocessing import get_context
from pathlib import Path
from typing import Any

from ddb_pipeline.export.layout import Export, ExportSummary
from ddb_pipeline.export.manifest import Open
from ddb_pipeline_tests.support.export_items import SHAPES

Rows = list[dict[str, Any]]
IMPORTED = (
    *("boto3.dynamodb.types", "pandas", "pyarrow.parquet"),
    *("ddb_pipeline.export.convert", "ddb_pipeline.export.source"),
)
"""Imported before the clock starts, for each converter alike."""

CHUNK_ITEMS = 50_000
MADE_BEFORE: list[Any] = []
"""Rows for ``floor``, made before the clock starts."""

MIXED = frozenset(name for shape in SHAPES.values() for name in shape.mixed)


def local_export(folder: Path, files: int | Sequence[int]) -> tuple[Open, Export]:
    """Some data files of an export as an export: the first ones, or those of these numbers."""
    import pyarrow.fs

    from ddb_pipeline.export.source import open_export

    open_object, export = open_export(pyarrow.fs.LocalFileSystem(), str(folder))
    numbers = range(min(files, len(export.files))) if isinstance(files, int) else files
    chosen = tuple(export.files[number] for number in numbers)
    summary: ExportSummary = export.summary
    members = {f: getattr(summary, f) for f in summary.__dataclass_fields__}
    members["item_count"] = sum(file.item_count for file in chosen)
    return open_object, Export(ExportSummary(**members), chosen)


def ours(folder: Path, destination: Path, workers: int, files: int) -> int:
    """This project's converter, with the columns that ``inference`` wrote."""
    import pyarrow as pa
    import pyarrow.fs

    from ddb_pipeline.export.convert import convert_export
    from ddb_pipeline.parquet.publish import Destination

    pa.set_cpu_count(workers)
    columns = [tuple(column) for column in json.loads((folder / "columns.json").read_text())]
    target = Destination(pyarrow.fs.LocalFileSystem(), str(destination))
    open_object, export = local_export(folder, files)
    return convert_export(open_object, export, columns, target, workers=workers).rows


def ours_with_arrow(folder: Path, destination: Path, workers: int, files: int) -> int:
    """This project's converter without the library in C."""
    from ddb_pipeline.native import library as native

    native.library_path = lambda: None
    return ours(folder, destination, workers, files)


def in_processes(folder: Path, destination: Path, workers: int, files: int) -> int:
    """This project's converter, one process for each worker: what threads can reach at most."""
    shares = [range(number, files, workers) for number in range(workers)]
    parts = [destination / f"share-{number}" for number in range(workers)]
    with ProcessPoolExecutor(workers, mp_context=get_context("fork")) as pool:
        return sum(pool.map(_share, repeat(folder), parts, shares))


def _share(folder: Path, destination: Path, numbers: range) -> int:
    import pyarrow.fs

    from ddb_pipeline.export.convert import convert_export
    from ddb_pipeline.parquet.publish import Destination

    columns = [tuple(column) for column in json.loads((folder / "columns.json").read_text())]
    target = Destination(pyarrow.fs.LocalFileSystem(), str(destination))
    open_object, export = local_export(folder, list(numbers))
    return convert_export(open_object, export, columns, target, workers=1).rows


def floor(folder: Path, destination: Path, workers: int, files: int) -> int:
    """What no converter to these Parquet files can do without: gunzip, checksums, and writing.

    The rows are there before the clock starts; the files are written as the converter writes them.
    """
    import pyarrow.fs

    from ddb_pipeline.export.read import read_blocks
    from ddb_pipeline.parquet.parts import PartOptions, PartWriter

    tables = MADE_BEFORE[:]
    open_object, export = local_export(folder, files)
    for file in export.files:
        for _ in read_blocks(open_object, file):
            pass
    destination.mkdir(parents=True)
    writer = PartWriter(pyarrow.fs.LocalFileSystem(), str(destination), "floor", PartOptions())
    for table in tables:
        writer.write(table)
    return sum(part.rows for part in writer.close())


def make_floor_rows(folder: Path, files: int) -> None:
    """The rows of the data files, for ``floor``."""
    from ddb_pipeline.export.read import read_blocks
    from ddb_pipeline.export.rows.reader import ExportReader

    columns = [tuple(column) for column in json.loads((folder / "columns.json").read_text())]
    reader = ExportReader(columns)
    open_object, export = local_export(folder, files)
    for file in export.files:
        for block, _ in read_blocks(open_object, file):
            MADE_BEFORE.append(reader.rows(block).table)


def inference_with_arrow(folder: Path, destination: Path, workers: int, files: int) -> int:
    """This project's inference without the library in C."""
    from ddb_pipeline.native import library as native

    native.library_path = lambda: None
    return inference(folder, destination, workers, files)


def inference(folder: Path, destination: Path, workers: int, files: int) -> int:
    """This project's inference from all items; writes the columns for the conversion."""
    import pyarrow as pa

    from ddb_pipeline.export.convert import infer_export
    from ddb_pipeline.hive.infer import inferred_schema
    from ddb_pipeline.hive.normalize import replace_sets

    pa.set_cpu_count(workers)
    found = infer_export(*local_export(folder, files), workers=workers)
    columns = [(c.name, replace_sets(c.type)) for c in inferred_schema(found).columns]
    (folder / "columns.json").write_text(json.dumps(columns))
    return found.items


def chunks(path: Path) -> Iterator[list[dict[str, Any]]]:
    chunk = []
    with gzip.open(path, "rb") as lines:
        for line in lines:
            chunk.append(json.loads(line)["Item"])
            if len(chunk) == CHUNK_ITEMS:
                yield chunk
                chunk = []
    if chunk:
        yield chunk


def read_item(deserialize: Callable[[Any], Any], item: dict[str, Any]) -> dict[str, Any]:
    """An item's values; those of attributes of several types as text, which a column needs."""
    row = {name: deserialize(value) for name, value in item.items()}
    for name in MIXED:
        if name in row:
            row[name] = str(row[name])
    return row


def boto3_pandas(path: Path, destination: Path) -> int:
    """boto3's TypeDeserializer item by item, and pandas' to_parquet."""
    import pandas as pd
    from boto3.dynamodb.types import TypeDeserializer

    deserialize = TypeDeserializer().deserialize
    rows = 0
    for number, chunk in enumerate(chunks(path)):
        frame = pd.DataFrame([read_item(deserialize, item) for item in chunk])
        frame.to_parquet(destination / f"{path.stem}-{number}.parquet", compression="zstd")
        rows += len(frame)
    return rows


def like_awswrangler(path: Path, destination: Path) -> int:
    """The steps of awswrangler.dynamodb after a scan: TypeDeserializer, columns, Arrow, pandas."""
    import pyarrow as pa
    from boto3.dynamodb.types import TypeDeserializer

    rows = 0
    for number, chunk in enumerate(chunks(path)):
        deserializer = TypeDeserializer()
        items = [
            {
                name: value["B"] if next(iter(value)) == "B" else deserializer.deserialize(value)
                for name, value in item.items()
            }
            for item in chunk
        ]
        names = list(dict.fromkeys(name for item in items for name in item))
        columns = [[item.get(name) for item in items] for name in names]
        frame = pa.Table.from_arrays(list(map(pa.array, columns)), names).to_pandas()
        frame.to_parquet(destination / f"{path.stem}-{number}.parquet", compression="zstd")
        rows += len(frame)
    return rows


def dynamodb_json(path: Path, destination: Path) -> int:
    """The package dynamodb-json, and pandas' to_parquet."""
    import pandas as pd
    from dynamodb_json import json_util  # type: ignore[import-not-found]

    rows = 0
    for number, chunk in enumerate(chunks(path)):
        frame = pd.DataFrame([json_util.loads(item) for item in chunk])
        # It does not convert numbers with an exponent, {"N": "1e-05"}, which no column accepts.
        weights = [w["N"] if isinstance(w, dict) else w for w in frame["weight"]]
        frame["weight"] = pd.to_numeric(weights)
        frame.to_parquet(destination / f"{path.stem}-{number}.parquet", compression="zstd")
        rows += len(frame)
    return rows


def of_files(one_file: Callable[[Path, Path], int]) -> Callable[[Path, Path, int, int], int]:
    """A converter of one file, applied to several files in processes."""

    def run(folder: Path, target: Path, workers: int, files: int) -> int:
        target.mkdir(parents=True)
        paths: Sequence[Path] = sorted((folder / "data").iterdir())[:files]
        if workers == 1:
            return sum(one_file(path, target) for path in paths)
        with ProcessPoolExecutor(workers, mp_context=get_context("fork")) as pool:
            return sum(pool.map(one_file, paths, repeat(target)))

    return run


CONVERTERS: dict[str, Callable[[Path, Path, int, int], int]] = {
    "ddb_pipeline": ours,
    "in processes": in_processes,
    "floor": floor,
    "without C": ours_with_arrow,
    "inference": inference,
    "inference without C": inference_with_arrow,
    "boto3 + pandas": of_files(boto3_pandas),
    "awswrangler's way": of_files(like_awswrangler),
    "dynamodb-json": of_files(dynamodb_json),
}


def cpu_seconds() -> float:
    own = resource.getrusage(resource.RUSAGE_SELF)
    children = resource.getrusage(resource.RUSAGE_CHILDREN)
    return own.ru_utime + own.ru_stime + children.ru_utime + children.ru_stime


def main() -> None:
    name, folder, destination, workers, files = sys.argv[1:]
    cores = sorted(os.sched_getaffinity(0))[: int(workers)]
    os.sched_setaffinity(0, cores)
    for module in IMPORTED:
        import_module(module)

    if name == "floor":
        make_floor_rows(Path(folder), int(files))
    began, cpu = time.perf_counter(), cpu_seconds()
    rows = CONVERTERS[name](Path(folder), Path(destination), int(workers), int(files))
    wall, cpu = time.perf_counter() - began, cpu_seconds() - cpu
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    peak += int(workers) * resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss
    size = sum(f.stat().st_size for f in Path(destination).rglob("*.parquet"))
    result = {
        "rows": rows,
        "wall": wall,
        "cpu": cpu,
        "peak_mb": peak / 1024,
        "size_mb": size / 1e6,
    }
    print(json.dumps(result))  # noqa: T201


if __name__ == "__main__":
    main()
