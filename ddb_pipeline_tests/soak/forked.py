"""Runs inputs in child processes: a crash, a hang or an unexpected error is a finding."""

import gc
import mmap
import os
import pickle
import resource
import signal
import struct
import time
import traceback
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any, BinaryIO

import psutil

BATCH = 5_000
"""Inputs of one child process."""
HANG_SECONDS = 60.0
"""CPU time of one input; ten times as much by the clock, as other processes may need the cores."""
MEMORY = 4 * 1024**3
MAX_FINDINGS = 20


@dataclass(frozen=True)
class Finding:
    """An input that ended its process, took too long or raised an unexpected error."""

    number: int
    kind: str
    detail: str


class _Progress:
    """The number of the input at work, in memory that parent and child share."""

    def __init__(self) -> None:
        self._memory = mmap.mmap(-1, 8)

    def set(self, number: int) -> None:
        self._memory[:] = struct.pack("q", number)

    def get(self) -> int:
        return int(struct.unpack("q", self._memory[:])[0])


def findings(
    run: Callable[[int], Any], count: int, on_progress: Callable[[int], None] = lambda done: None
) -> Iterator[Finding]:
    """Run the inputs 0 to ``count`` and yield what went wrong, at most ``MAX_FINDINGS``."""
    start, found = 0, 0
    while start < count and found < MAX_FINDINGS:
        stop = min(start + BATCH, count)
        reached, some = _batch(run, start, stop)
        yield from some[: MAX_FINDINGS - found]
        found += len(some)
        start = reached
        on_progress(start)


def _batch(run: Callable[[int], Any], start: int, stop: int) -> tuple[int, list[Finding]]:
    """Run inputs in a child. Returns the first input that was not run, and the findings."""
    progress = _Progress()
    progress.set(start)
    reading, writing = os.pipe()
    child = os.fork()
    if not child:
        os.close(reading)
        _run_in_child(run, start, stop, progress, writing)
    os.close(writing)
    status = _wait(child, progress)
    with open(reading, "rb") as pipe:
        found = list(_unpickled(pipe))
    if status == 0:
        return stop, found
    number = progress.get()
    kind = f"signal {-status}" if status < 0 else f"exit status {status}"
    if status == -signal.SIGKILL:
        kind = "hang"
    return number + 1, [*found, Finding(number, kind, "")]


def _unpickled(pipe: BinaryIO) -> Iterator[Finding]:
    while True:
        try:
            yield pickle.load(pipe)
        except EOFError:
            return


def _run_in_child(
    run: Callable[[int], Any], start: int, stop: int, progress: _Progress, writing: int
) -> None:
    """Run the inputs and end the process."""
    resource.setrlimit(resource.RLIMIT_AS, (MEMORY, MEMORY))
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    # The parent's handlers would run here, and the parent's objects would be collected here.
    signal.signal(signal.SIGTERM, signal.SIG_DFL)
    gc.freeze()
    seen: set[str] = set()
    for number in range(start, stop):
        progress.set(number)
        try:
            run(number)
        except BaseException as error:  # noqa: BLE001 - a finding, whatever it is
            last = traceback.extract_tb(error.__traceback__)[-1]
            where = f"{type(error).__name__} at {last.filename}:{last.lineno}"
            if where not in seen and len(seen) < MAX_FINDINGS:
                seen.add(where)
                # At once: a later input may end the process.
                os.write(writing, pickle.dumps(Finding(number, where, str(error)[:300])))
    os._exit(0)


def _wait(child: int, progress: _Progress) -> int:
    """Wait for a child and kill it if one input takes too long.

    Returns:
        Its exit status, or the negative number of the signal that ended it.
    """
    process = psutil.Process(child)
    number, cpu, since = progress.get(), 0.0, time.monotonic()
    while True:
        done, status = os.waitpid(child, os.WNOHANG)
        if done:
            return os.waitstatus_to_exitcode(status)
        if progress.get() != number:
            number, cpu, since = progress.get(), process.cpu_times().user, time.monotonic()
        elif (
            process.cpu_times().user - cpu > HANG_SECONDS
            or time.monotonic() - since > 10 * HANG_SECONDS
        ):
            os.kill(child, signal.SIGKILL)
            since = time.monotonic()
        time.sleep(0.01)
