"""When sensors and schedules run: their intervals, and whether they start by themselves."""

from typing import Any

import dagster as dg

from ddb_pipeline.config.pipeline import PipelineConfig
from ddb_pipeline.config.settings import Sensors, Settings, Target
from ddb_pipeline.defs.asset_keys import run_tags

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


def sensor_name(settings: Settings, name: str) -> str:
    """The name of a sensor for these settings, whose pipelines are those that it watches."""
    by_group = settings.sensors is Sensors.GROUP
    return f"{name}_{settings.pipelines[0].group_name}" if by_group else name


def sensor_interval(settings: Settings, *, embedded: int, aws: int) -> int:
    """The seconds that are for this target."""
    return embedded if settings.target is Target.EMBEDDED else aws


def pipeline_schedule(
    settings: Settings,
    pipeline: PipelineConfig,
    name: str,
    *,
    stage: str,
    job: Any,
    cron: str,
    description: str,
    request: dg.RunRequest,
) -> dg.ScheduleDefinition:
    """A schedule ``<pipeline>_<name>`` of a job that all pipelines share.

    Args:
        stage: what the runs do, as their tag names it.
        job: an asset job; Dagster's type of it is not public.
        cron: in UTC.
        request: what a run of this pipeline selects.
    """
    tagged = request._replace(tags={**run_tags(pipeline.name, stage), **request.tags})
    return dg.ScheduleDefinition(
        name=f"{pipeline.name}_{name}",
        description=description,
        cron_schedule=cron,
        execution_timezone="UTC",
        job=job,
        execution_fn=lambda _: tagged,
        default_status=schedule_status(settings),
        tags=tagged.tags,
    )
