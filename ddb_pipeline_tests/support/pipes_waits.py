"""Shortens Dagster Pipes' waits for late logs, which are module constants without a public setting.

Read in dagster 1.13.27, ``dagster/_core/pipes/utils.py``: after a job's end the CloudWatch reader
waits 10 seconds for further log events, 60 seconds for a missing log stream, polling each second.
"""

import pytest


def shorten_pipes_waits(monkeypatch: pytest.MonkeyPatch) -> None:
    """Wait 3 seconds at most, for tests whose logs are complete before the job ends."""
    for name in ("WAIT_FOR_LOGS_AFTER_EXECUTION_INTERVAL", "WAIT_FOR_LOGS_TIMEOUT"):
        monkeypatch.setattr(f"dagster._core.pipes.utils.{name}", 3)
    monkeypatch.setattr("dagster._core.pipes.utils.DEFAULT_SLEEP_INTERVAL", 0.05)
