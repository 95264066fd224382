"""The sensor that requests a run for each hour of the stream whose objects changed.

Three sources name the hours that a tick lists, so that its LIST requests do not grow with age:
the recent hours, into which Firehose delivers without a retry; hours named by events of the
bucket, which include those of retried deliveries (Firehose retries for 24 hours), redelivery and
deletions; and a slice of the older hours. The slices of a day pass over all hours, so that an hour
is found although its event was lost.

A closed hour needs a run once more, which compacts it; see ``delivery``.
"""

import logging
from collections.abc import Mapping

import dagster as dg

from ddb_pipeline.config.names import object_change_queue
from ddb_pipeline.config.pipeline import PipelineConfig
from ddb_pipeline.config.settings import Settings
from ddb_pipeline.defs.asset_keys import PARQUET_STREAM, selection
from ddb_pipeline.defs.automation import sensor_interval, sensor_name, sensor_status
from ddb_pipeline.defs.delivery import wanted_version
from ddb_pipeline.defs.lost_runs import report_lost_runs
from ddb_pipeline.defs.partition_requests import PartitionRequests, PipelinePartitions
from ddb_pipeline.lake.content import (
    NO_CONTENT,
    hour_version,
    is_processed,
    versions_between,
)
from ddb_pipeline.lake.layout import DeliveryHour, hour_of_key
from ddb_pipeline.lake.object_events import object_key
from ddb_pipeline.queues import MESSAGES_PER_QUEUE, Queue, QueueMissingError
from ddb_pipeline.resources.cloud import CloudResource

STAGE = "delivery"
MAX_REQUESTS_PER_TICK = 24
MAX_LISTED_PER_TICK = 24
"""Hours named by events and hours of ended runs that a tick lists."""
RECENT_HOURS = 2
"""This hour and the one before: Firehose buffers for 15 minutes at most."""
SLICE_HOURS = 200
"""The hours of a slice whose records are looked up; fewer where one LIST request shows fewer."""
PASS_SECONDS = 86_400.0


def landing_sensor(settings: Settings) -> dg.SensorDefinition:
    """Requests a run for each hour whose objects are not those of its last materialization.

    An hour that continues to fill gets a run once a pause. Overwritten objects count as changed.
    """
    pause = sensor_interval(settings, embedded=45, aws=300)

    @dg.sensor(
        name=sensor_name(settings, "landing_sensor"),
        description=(
            "Materialises each hour of parquet_stream in which Parquet files were added, "
            "overwritten or removed, and once more when it is closed, to compact it."
        ),
        minimum_interval_seconds=sensor_interval(settings, embedded=5, aws=60),
        default_status=sensor_status(settings),
        asset_selection=selection(settings, PARQUET_STREAM),
    )
    def sensor(context: dg.SensorEvaluationContext, cloud: CloudResource) -> dg.SensorResult:
        report_lost_runs(context.instance, settings.pipelines)
        requests = PartitionRequests(
            context,
            STAGE,
            PARQUET_STREAM,
            settings.pipelines,
            limit=MAX_REQUESTS_PER_TICK,
            pause_seconds=pause,
        )

        def compare(partitions: PipelinePartitions) -> None:
            here = cloud.for_pipeline(partitions.pipeline)
            compare_hours(here, partitions, requests.now, context.log)

        requests.visit(compare)
        return requests.result("No hour of the stream has changed.")

    return sensor


def compare_hours(
    cloud: CloudResource, partitions: PipelinePartitions, now: float, log: logging.Logger
) -> None:
    """Compare one pipeline's recent hours, the hours that are open, and a slice of the others."""
    s3, pipeline = cloud.s3, partitions.pipeline
    this_hour = DeliveryHour.of(now)
    start = DeliveryHour.of(pipeline.start.timestamp())
    if start > this_hour:
        return
    recent = max(start, this_hour.plus(1 - RECENT_HOURS))
    if partitions.room >= MESSAGES_PER_QUEUE:
        # Events are deleted when they are read; the cursor stores the hours that they name.
        named = {hour for hour in named_hours(cloud, pipeline, log) if start <= hour < recent}
        partitions.open(hour.partition_key for hour in sorted(named))
    newest = [hour.partition_key for hour in recent.until(this_hour.plus(1))][::-1]
    listed = dict.fromkeys([*newest, *partitions.ready(MAX_LISTED_PER_TICK)])
    hours = map(DeliveryHour.from_partition_key, listed)
    found = {hour: hour_version(s3, pipeline.lake, hour) for hour in hours}
    request_runs(partitions, found, now)
    compare_slice(cloud, partitions, start, recent, now)


def named_hours(
    cloud: CloudResource, pipeline: PipelineConfig, log: logging.Logger
) -> set[DeliveryHour]:
    """The hours of the objects that events in the pipeline's queue are about."""
    try:
        bodies = Queue(cloud.sqs, object_change_queue(pipeline)).take()
    except QueueMissingError as error:
        # Without events, the recent hours and the slices find the same changes, up to a day later.
        log.warning("%s", error)
        return set()
    keys = (pipeline.lake.key_of(object_key(body)) for body in bodies)
    return {hour for key in keys if key and (hour := hour_of_key(key)) is not None}


def compare_slice(
    cloud: CloudResource,
    partitions: PipelinePartitions,
    start: DeliveryHour,
    end: DeliveryHour,
    now: float,
) -> None:
    """Compare the next hours of the pass from ``start`` to ``end``; one LIST request as a rule."""
    progress = partitions.progress
    first = DeliveryHour.from_partition_key(progress.position) if progress.position else start
    if first >= end and now >= progress.pass_at + PASS_SECONDS:
        first = start
    if first == start:
        progress.pass_at = now
    if first >= end or not partitions.room:
        return
    end = min(end, first.plus(SLICE_HOURS))
    versions, end = versions_between(cloud.s3, partitions.pipeline.lake, first, end)
    found = {hour: versions.get(hour, NO_CONTENT) for hour in first.until(end)}
    progress.position = request_runs(partitions, found, now) or end.partition_key


def request_runs(
    partitions: PipelinePartitions, contents: Mapping[DeliveryHour, str], now: float
) -> str | None:
    """Request runs of the hours that were not processed as they are, with this content, at ``now``.

    Returns the first partition for which there is no room, as ``PipelinePartitions.compare``.
    """
    pipeline = partitions.pipeline
    wanted = {
        hour.partition_key: wanted_version(pipeline, hour, content, now)
        for hour, content in contents.items()
    }
    return partitions.compare(wanted, absent=NO_CONTENT, is_processed=is_processed)
