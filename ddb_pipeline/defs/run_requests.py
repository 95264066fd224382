"""What a sensor last asked a run for, and when it asks again."""

from dataclasses import dataclass

import dagster as dg

from ddb_pipeline.defs.asset_keys import run_of
from ddb_pipeline.glue.watch import retry_delay


@dataclass(frozen=True, slots=True)
class Asked:
    """The content that a run was asked for, which attempt that was, and when, epoch seconds."""

    version: str
    attempt: int
    at: float


Remembered = list[str | float]
"""An ``Asked`` in a sensor's cursor."""


def remembered(asked: Asked) -> Remembered:
    return [asked.version, asked.attempt, asked.at]


def recalled(entry: Remembered | None) -> Asked | None:
    return Asked(str(entry[0]), int(entry[1]), float(entry[2])) if entry else None


def has_failed(instance: dg.DagsterInstance, run_key: str) -> bool:
    """Whether the run asked for under this key failed, or was never begun."""
    run = run_of(instance, run_key)
    return run is None or run.is_failure_or_canceled


def due(
    last: Asked | None,
    version: str,
    failed: bool,
    *,
    now: float,
    pause_seconds: float = 0.0,
    max_attempts: int | None = None,
) -> Asked | None:
    """What to ask for now: new content once a pause, a failed run again after a growing delay."""
    if last is None:
        return Asked(version, 0, now)
    if last.version != version:
        return Asked(version, 0, now) if now >= last.at + pause_seconds else None
    spent = max_attempts is not None and last.attempt + 1 >= max_attempts
    if failed and not spent and now >= last.at + retry_delay(last.attempt):
        return Asked(version, last.attempt + 1, now)
    return None
