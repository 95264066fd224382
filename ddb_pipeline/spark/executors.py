"""An export's tasks on Spark's executors: the same work as on one machine, one task a partition."""

import pickle
import threading
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

import pyarrow as pa

from ddb_pipeline.export.tasks import ReportItems, Result, RunTasks, Task, Work

if TYPE_CHECKING:
    from pyspark.sql import SparkSession

TELL_SECONDS = 2.0


class ExecutorError(Exception):
    """A task failed on an executor; the message is the last line of what it raised."""


def on_executors(
    spark: "SparkSession",
    tasks: Sequence[Task],
    work: Work[Result],
    report_items: ReportItems,
) -> Iterator[Result]:
    """Work on tasks, each by one Python worker; ``work`` is sent there.

    A task that Spark runs twice writes the same files with the same bytes. ``report_items`` is
    called with a task's items when the task is done.

    Raises:
        ExecutorError: a task failed as often as Spark tries it.
    """
    from pyspark.errors import PythonException

    if not tasks:
        return
    counted = spark.sparkContext.accumulator(0)
    shared = spark.sparkContext.broadcast((tuple(tasks), work))

    def converted(batches: Iterator[pa.RecordBatch]) -> Iterator[pa.RecordBatch]:
        all_tasks, work_on = shared.value
        for batch in batches:
            for number in batch.column(0).to_pylist():
                outcome = work_on(all_tasks[number], counted.add)
                yield pa.RecordBatch.from_pydict({"outcome": [pickle.dumps(outcome)]})

    frame = spark.range(0, len(tasks), 1, len(tasks)).mapInArrow(converted, "outcome binary")
    with _telling(counted, report_items):
        try:
            rows = frame.collect()
        except PythonException as error:
            raise ExecutorError(last_line(str(error))) from error
    for row in rows:
        yield pickle.loads(row.outcome)


def on_spark(spark: "SparkSession") -> RunTasks:
    """What ``convert_export`` and ``infer_export`` take to work on executors."""

    def run(
        tasks: Sequence[Task], work: Work[Result], report_items: ReportItems
    ) -> Iterator[Result]:
        return on_executors(spark, tasks, work, report_items)

    return run


@contextmanager
def _telling(counted: Any, report_items: ReportItems) -> Iterator[None]:
    """Pass on what the accumulator counts, while it grows."""
    stopped = threading.Event()
    told = 0

    def tell() -> None:
        nonlocal told
        now = counted.value
        if now > told:
            report_items(now - told)
            told = now

    def watch() -> None:
        while not stopped.wait(TELL_SECONDS):
            tell()

    watcher = threading.Thread(target=watch, name="export-progress", daemon=True)
    watcher.start()
    try:
        yield
    finally:
        stopped.set()
        watcher.join()
        tell()


def last_line(text: str) -> str:
    """The error itself, at the end of a worker's traceback."""
    lines = [line.strip() for line in text.splitlines() if line.strip()]
    return lines[-1] if lines else text
