"""Runs independent tasks, such as those of an export's conversion, on Spark's executors."""

import threading
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

import pyarrow as pa

from ddb_pipeline.export.tasks import ReportItems, Result, RunTasks, Task, Work

if TYPE_CHECKING:
    from pyspark.sql import SparkSession

PROGRESS_SECONDS = 2.0
"""Interval between reports of progress."""


class ExecutorError(Exception):
    """A task failed on an executor; the message is the last line of its traceback."""


def on_spark(spark: "SparkSession") -> RunTasks:
    """Return the function by which ``convert_export`` and ``infer_export`` run tasks on Spark.

    Each task runs in one of Spark's Python workers. A task that Spark runs twice writes the same
    files with the same bytes. The function reports the items of a task that Spark has run, and
    raises ``ExecutorError`` when Spark gives up a task after several failures.
    """

    def run(
        tasks: Sequence[Task], work: Work[Result], report_items: ReportItems
    ) -> Iterator[Result]:
        if not tasks:
            return
        counted = spark.sparkContext.accumulator(0)
        shared = spark.sparkContext.broadcast((tuple(tasks), work.run))

        def run_one(number: int) -> bytes:
            all_tasks, run_task = shared.value
            return bytes(run_task(all_tasks[number], counted.add).to_json().encode())

        with _reporting(counted, report_items):
            results = collected(spark, len(tasks), run_one)
        for result in results:
            yield work.read(result.decode())

    return run


def collected(spark: "SparkSession", count: int, run_one: Callable[[int], bytes]) -> list[bytes]:
    """Call a function with the numbers from 0 on, each in one of Spark's Python workers.

    Raises:
        ExecutorError: Spark has given up a call after several failures.
    """
    from pyspark.errors import PythonException

    def run_partition(batches: Iterator[pa.RecordBatch]) -> Iterator[pa.RecordBatch]:
        for batch in batches:
            for number in batch.column(0).to_pylist():
                yield pa.RecordBatch.from_pydict({"result": [run_one(number)]})

    numbers = spark.range(0, count, 1, numPartitions=count)
    frame = numbers.mapInArrow(run_partition, "result binary")
    try:
        return [bytes(row.result) for row in frame.collect()]
    except PythonException as error:
        raise ExecutorError(last_line(str(error))) from error


@contextmanager
def _reporting(counted: Any, report_items: ReportItems) -> Iterator[None]:
    """Report the growth of an accumulator at intervals and at the end."""
    stopped = threading.Event()
    reported = 0

    def report() -> None:
        nonlocal reported
        now = counted.value
        if now > reported:
            report_items(now - reported)
            reported = now

    def watch() -> None:
        while not stopped.wait(PROGRESS_SECONDS):
            report()

    watcher = threading.Thread(target=watch, name="export-progress", daemon=True)
    watcher.start()
    try:
        yield
    finally:
        stopped.set()
        watcher.join()
        report()


def last_line(text: str) -> str:
    """Return the last line of a worker's traceback, which is the error itself."""
    lines = [line.strip() for line in text.splitlines() if line.strip()]
    return lines[-1] if lines else text
