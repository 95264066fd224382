"""When sensors and schedules run: their intervals, and whether they start by themselves."""

import dagster as dg

from ddb_pipeline.config.settings import Settings, Target

RETRY = dg.RetryPolicy(
    max_retries=3, delay=5, backoff=dg.Backoff.EXPONENTIAL, jitter=dg.Jitter.PLUS_MINUS
)
"""How a step that failed is tried again within its run."""


def sensor_status(settings: Settings) -> dg.DefaultSensorStatus:
    """Sensors run by default in the embedded AWS; for a real account somebody turns them on."""
    embedded = settings.target is Target.EMBEDDED
    return dg.DefaultSensorStatus.RUNNING if embedded else dg.DefaultSensorStatus.STOPPED


def schedule_status(settings: Settings) -> dg.DefaultScheduleStatus:
    """As :func:`sensor_status`, for schedules."""
    embedded = settings.target is Target.EMBEDDED
    return dg.DefaultScheduleStatus.RUNNING if embedded else dg.DefaultScheduleStatus.STOPPED


def sensor_interval(settings: Settings, *, embedded: int, aws: int) -> int:
    """The seconds that are for this target."""
    return embedded if settings.target is Target.EMBEDDED else aws
