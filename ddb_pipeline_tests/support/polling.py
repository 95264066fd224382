"""Waiting in tests for a state that is reached in the background."""

import time
from collections.abc import Callable

POLL_SECONDS = 0.1


def wait_until(reached: Callable[[], bool], state: str, seconds: float = 30) -> None:
    """Return once ``reached`` returns True; fail the test if it does not within ``seconds``."""
    deadline = time.monotonic() + seconds
    while not reached():
        assert time.monotonic() < deadline, f"not within {seconds} s: {state}"
        time.sleep(POLL_SECONDS)
