"""Steps of an update that are independent of each other, and where they run.

A step and its result can be sent to another process or machine. Spark's executors run the same
steps (``spark.current_job``).
"""

import multiprocessing
import os
import threading
from collections.abc import Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor, as_completed
from concurrent.futures.process import BrokenProcessPool
from contextlib import ExitStack
from typing import Any, Final, Protocol, TypeVar

from ddb_pipeline.errors import DdbPipelineError

Result = TypeVar("Result")
Result_co = TypeVar("Result_co", covariant=True)

FEW_BYTES: Final = 16 * 1024 * 1024
"""Steps with less data run in this process: to start others takes longer."""


class WorkerError(DdbPipelineError):
    """A worker process ended before its step."""


class Step(Protocol[Result_co]):
    """A part of the work.

    Attributes:
        size: estimate of the bytes of its data in memory.
    """

    @property
    def size(self) -> int: ...

    def run(self) -> Result_co:
        """Do it."""
        ...


class RunSteps(Protocol):
    """Runs steps, and yields their results in any order."""

    def __call__(self, steps: Sequence[Step[Result]], /) -> Iterator[Result]: ...


def here(steps: Sequence[Step[Result]]) -> Iterator[Result]:
    """Run steps in this process, one after the other."""
    return (step.run() for step in steps)


class Processes(ExitStack):
    """Runs steps in a pool of processes, one for each core; few data in this process.

    The pool is started when it is needed, and ends with the context. It starts interpreters anew
    (``spawn``), so a script that uses it needs the guard ``if __name__ == "__main__"``.
    """

    def __init__(self, workers: int | None = None) -> None:
        super().__init__()
        self._workers = workers or available_cores()
        self._pool: ProcessPoolExecutor | None = None

    def __call__(self, steps: Sequence[Step[Result]], /) -> Iterator[Result]:
        """Run the steps; after an error no further step is started, and the error is raised."""
        if self._workers == 1 or len(steps) < 2 or sum(step.size for step in steps) < FEW_BYTES:
            yield from here(steps)
            return
        if self._pool is None:
            self._pool = ProcessPoolExecutor(
                self._workers, multiprocessing.get_context("spawn"), _end_with_parent
            )
            self.callback(self._pool.shutdown, cancel_futures=True)
        # The largest first, so that no core waits for one that was started last.
        order = sorted(steps, key=lambda step: step.size, reverse=True)
        futures = [self._pool.submit(_run, step) for step in order]
        try:
            for future in as_completed(futures):
                yield future.result()
        except BrokenProcessPool as error:
            raise WorkerError(
                "A worker process was ended, perhaps because memory was short. Run the command "
                "again; with --workers 1 it needs less memory."
            ) from error
        finally:
            for future in futures:
                future.cancel()


def available_cores() -> int:
    """Number of cores that this process may use."""
    if hasattr(os, "sched_getaffinity"):
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1


def _run(step: Step[Any]) -> Any:
    return step.run()


def _end_with_parent() -> None:
    """End this process when its parent has ended, also by a signal that it could not handle."""
    import pyarrow as pa

    # The processes use the cores already.
    pa.set_cpu_count(1)
    pa.set_io_thread_count(4)
    parent = multiprocessing.parent_process()

    def watch() -> None:
        if parent is not None:
            parent.join()
        os._exit(1)

    threading.Thread(target=watch, daemon=True).start()
