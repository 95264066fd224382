"""How the cost of a function grows with its input: a check of linear time without a time limit."""

import time
from collections.abc import Callable


def growth(run: Callable[[int], object], size: int, factor: int = 4) -> float:
    """CPU time for ``factor * size`` over that for ``size``: the factor itself if time is linear.

    The shortest of five runs each, so that other load on the machine does not count.
    """
    return _seconds(run, factor * size) / _seconds(run, size)


def _seconds(run: Callable[[int], object], size: int) -> float:
    seconds = []
    for _ in range(5):
        start = time.process_time()
        run(size)
        seconds.append(time.process_time() - start)
    return min(seconds)
