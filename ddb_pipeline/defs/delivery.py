"""Delivery: the hours of Parquet that Firehose lands."""

import json
import time
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import timezone
from hashlib import sha256

import dagster as dg

from ddb_pipeline.config.names import lake_table
from ddb_pipeline.config.pipeline import PipelineConfig
from ddb_pipeline.config.settings import Settings
from ddb_pipeline.defs.asset_keys import (
    LAKE_TABLE,
    PARQUET_STREAM,
    UNFINISHED,
    asset_job_name,
    asset_jobs,
    asset_key,
    run_tags,
    sensor_interval,
    sensor_status,
)
from ddb_pipeline.defs.crawl import RETRY
from ddb_pipeline.glue.catalog import find_table
from ddb_pipeline.glue.lake_table import LakePartition, register_partitions
from ddb_pipeline.lake.layout import STREAM_PREFIX, DeliveryHour
from ddb_pipeline.lake.objects import StoredObject, list_objects, objects_by_hour
from ddb_pipeline.lake.parquet_objects import hour_statistics
from ddb_pipeline.resources.cloud import CloudResource

STAGE = "delivery"
MAX_REQUESTS_PER_TICK = 24
REMEMBERED_HOURS = 24 * 35


def hours(pipeline: PipelineConfig) -> dg.HourlyPartitionsDefinition:
    """The hours since the pipeline began, the running one included, UTC."""
    start = pipeline.start.astimezone(timezone.utc).replace(tzinfo=None)
    return dg.HourlyPartitionsDefinition(start_date=start, end_offset=1)


def stream_asset(pipeline: PipelineConfig) -> dg.AssetsDefinition:
    @dg.asset(
        key=asset_key(pipeline, PARQUET_STREAM),
        deps=[asset_key(pipeline, LAKE_TABLE)],
        partitions_def=hours(pipeline),
        description="Hours of Parquet landed by the delivery stream, known to the lake table.",
        group_name=pipeline.name,
        kinds={"parquet", "s3"},
        retry_policy=RETRY,
    )
    def parquet_stream(
        context: dg.AssetExecutionContext, cloud: CloudResource
    ) -> dg.MaterializeResult[None]:
        hour = DeliveryHour.from_partition_key(context.partition_key)
        found = hour_statistics(cloud.s3, cloud.filesystem(), pipeline.bucket, hour)
        table = find_table(cloud.glue, lake_table(pipeline))
        uri = f"s3://{pipeline.bucket}/{hour.prefix}"
        if table is not None and found.objects:
            partition = LakePartition((hour.date, hour.hour), uri)
            if register_partitions(cloud.glue, table, [partition]):
                context.log.info("Partition %s registered in %s.", hour, table.reference)
        return dg.MaterializeResult(
            metadata={
                "dagster/partition_row_count": found.rows,
                "dagster/uri": uri,
                "files": len(found.objects),
                "bytes": found.size,
            },
            data_version=dg.DataVersion(content_version(found.objects)),
        )

    return parquet_stream


def content_version(objects: tuple[StoredObject, ...] | list[StoredObject]) -> str:
    """Changes whenever an object of the hour is added, replaced or removed."""
    text = json.dumps(sorted((stored.key, stored.etag) for stored in objects))
    return sha256(text.encode("utf-8")).hexdigest()[:16]


@dataclass(frozen=True, slots=True)
class SeenHour:
    """The content of an hour when a run was last asked for it, and when that was."""

    version: str
    asked_at: float


def due_hours(
    versions: Mapping[DeliveryHour, str],
    seen: Mapping[str, SeenHour],
    *,
    now: float,
    pause_seconds: float,
) -> list[DeliveryHour]:
    """Hours whose content is another than when last asked for, the newest first.

    An hour that keeps filling is asked for once a pause; one that is new is asked for at once.
    """
    due = []
    for hour, version in versions.items():
        last = seen.get(hour.partition_key)
        if last is None or (last.version != version and now >= last.asked_at + pause_seconds):
            due.append(hour)
    return sorted(due, reverse=True)[:MAX_REQUESTS_PER_TICK]


def landing_sensor(settings: Settings) -> dg.SensorDefinition:
    """Materialises each hour whose objects changed; overwritten keys count as changed."""
    pause = sensor_interval(settings, embedded=45, aws=300)

    @dg.sensor(
        name="landing_sensor",
        description="Materialises the hours of parquet_stream in which objects appeared.",
        minimum_interval_seconds=sensor_interval(settings, embedded=5, aws=60),
        default_status=sensor_status(settings),
        jobs=asset_jobs(settings, PARQUET_STREAM),
    )
    def sensor(context: dg.SensorEvaluationContext, cloud: CloudResource) -> dg.SensorResult:
        cursor: dict[str, dict[str, list[str | float]]] = json.loads(context.cursor or "{}")
        requests: list[dg.RunRequest] = []
        now = time.time()
        for pipeline in settings.pipelines:
            known = cursor.setdefault(pipeline.name, {})
            seen = {key: SeenHour(str(v), float(at)) for key, (v, at) in known.items()}
            versions = hour_versions(cloud, pipeline)
            for hour in due_hours(versions, seen, now=now, pause_seconds=pause):
                if not hour_in_progress(context.instance, pipeline, hour):
                    known[hour.partition_key] = [versions[hour], now]
                    requests.append(hour_run(pipeline, hour, versions[hour]))
            cursor[pipeline.name] = dict(sorted(known.items())[-REMEMBERED_HOURS:])
        return dg.SensorResult(
            run_requests=requests,
            cursor=json.dumps(cursor),
            skip_reason=None if requests else "No new object under the stream's prefix.",
        )

    return sensor


def hour_versions(cloud: CloudResource, pipeline: PipelineConfig) -> dict[DeliveryHour, str]:
    """The content of each hour since the pipeline's start."""
    start = DeliveryHour.of(pipeline.start.timestamp())
    found = objects_by_hour(list_objects(cloud.s3, pipeline.bucket, STREAM_PREFIX))
    return {hour: content_version(o) for hour, o in found.items() if hour >= start}


def hour_in_progress(
    instance: dg.DagsterInstance, pipeline: PipelineConfig, hour: DeliveryHour
) -> bool:
    tags = {**run_tags(pipeline, STAGE), "dagster/partition": hour.partition_key}
    wanted = dg.RunsFilter(tags=tags, statuses=list(UNFINISHED))
    return bool(instance.get_runs(filters=wanted, limit=1))


def hour_run(pipeline: PipelineConfig, hour: DeliveryHour, version: str) -> dg.RunRequest:
    # The time in the key: an hour may come back to a content that it had before.
    return dg.RunRequest(
        run_key=f"{pipeline.name}:delivery:{hour.partition_key}:{version}:{int(time.time())}",
        partition_key=hour.partition_key,
        job_name=asset_job_name(pipeline, PARQUET_STREAM),
        tags=run_tags(pipeline, STAGE),
    )
