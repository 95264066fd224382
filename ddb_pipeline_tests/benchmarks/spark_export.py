"""Compares the conversion of an export by local Spark with that of one machine: files and cost.

    python -m ddb_pipeline_tests.benchmarks.spark_export [--items 1000000] [--folder F]

Converts the export of ``benchmarks.export`` in one process on one core, then by the Spark job with
one core and with two, compares the datasets byte by byte, and projects the time for 10 TB. The
time to start Spark, measured with an export of 8 items, is subtracted and printed separately.
"""

import argparse
import json
import os
import subprocess
import tempfile
import time
from functools import partial
from pathlib import Path

from ddb_pipeline.spark.export_arguments import ExportArguments
from ddb_pipeline.spark.java import find_java
from ddb_pipeline.spark.submission import (
    LocalSpark,
    SparkJob,
    local_command,
    local_environment,
)
from ddb_pipeline_tests.benchmarks.export import measured
from ddb_pipeline_tests.support.export_items import write_benchmark_export

TERABYTES = 10
EMR_CORES = 400
STARTUP_SECONDS = 120
ASSUMPTIONS = (
    "each vCPU converts as fast as one core here, S3 keeps up (a core reads under 20 MB/s of "
    "gzip and writes under 15 MB/s), data files are of equal size, and workers start within "
    f"{STARTUP_SECONDS} s"
)


def by_spark(folder: Path, target: Path, cores: int) -> float:
    """Run the job; return its seconds, including the start of Spark."""
    arguments = ExportArguments(
        folder.as_uri(), target.as_uri(), (folder / "columns.json").as_uri()
    )
    job = SparkJob("export_job", "ddb_pipeline.spark.export_job", tuple(arguments.command_line()))
    java = find_java(os.environ, folder / "java")
    environment = {**os.environ, **local_environment(job, LocalSpark(cores=cores), java)}
    began = time.perf_counter()
    subprocess.run(local_command(job), env=environment, check=True, capture_output=True)
    return time.perf_counter() - began


def dataset(folder: Path) -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in sorted(folder.glob("*.parquet"))}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--items", type=int, default=1_000_000)
    parser.add_argument(
        "--folder", type=Path, help="Folder of the export, used again if it exists."
    )
    arguments = parser.parse_args()
    log = partial(print, flush=True)
    with tempfile.TemporaryDirectory() as temporary:
        folder = (arguments.folder or Path(temporary)).absolute()
        write_benchmark_export(folder, "orders", arguments.items)
        here = Path(temporary) / "here"
        measured("inference", folder, here, workers=1, files=8)
        one = measured("ddb_pipeline", folder, here, workers=1, files=8)
        log(f"one machine, 1 core: {one['rows'] / one['wall']:,.0f} rows/s")
        few = Path(temporary) / "few"
        write_benchmark_export(few, "orders", 8)
        (few / "columns.json").write_text((folder / "columns.json").read_text())
        rates = {}
        for cores in (1, 2):
            start = by_spark(few, Path(temporary) / f"start-{cores}", cores)
            target = Path(temporary) / f"spark-{cores}"
            seconds = by_spark(folder, target, cores)
            rates[cores] = arguments.items / (seconds - start)
            same = dataset(here) == dataset(target)
            log(
                f"Spark, {cores} core(s): {rates[cores]:,.0f} rows/s, start {start:.1f} s; "
                f"the same files, byte by byte: {same}"
            )
        log(f"2 cores are {rates[2] / rates[1]:.2f} times as fast as one")
        project(one["rows"] / one["cpu"], arguments.items, folder)


def project(rate: float, items: int, folder: Path) -> None:
    """Print the projected time for a large table with items like this export's."""
    columns = len(json.loads((folder / "columns.json").read_text()))
    compressed = sum(path.stat().st_size for path in (folder / "data").iterdir())
    item_bytes = 600
    total = TERABYTES * 1e12 / item_bytes
    seconds = total / rate / EMR_CORES + STARTUP_SECONDS
    print(  # noqa: T201
        f"Projection: {TERABYTES} TB of such items ({total:,.0f} of {item_bytes} bytes of JSON, "
        f"{columns} columns, {compressed / items:.0f} bytes gzipped) are "
        f"{total / rate / 3600:,.0f} core hours, on {EMR_CORES} vCPUs {seconds / 60:.0f} minutes, "
        f"if {ASSUMPTIONS}."
    )


if __name__ == "__main__":
    main()
