"""Exports of the DynamoDB table: asked for by a job, found by a sensor that has them converted."""

import json
import time
from collections.abc import Mapping, Sequence

import dagster as dg

from ddb_pipeline.config.pipeline import ExportWith, PipelineConfig
from ddb_pipeline.config.settings import Settings
from ddb_pipeline.defs.asset_keys import (
    PARQUET_SNAPSHOT,
    asset_job_name,
    asset_jobs,
    run_tags,
    schedule_status,
    sensor_interval,
    sensor_status,
)
from ddb_pipeline.defs.run_requests import (
    Asked,
    Remembered,
    due,
    has_failed,
    recalled,
    remembered,
)
from ddb_pipeline.defs.snapshot import exports
from ddb_pipeline.export.layout import FOLDER, SUMMARY
from ddb_pipeline.export.request import (
    ExportRequestError,
    ExportState,
    start_export,
    wait_for_export,
)
from ddb_pipeline.export.scan import scan_to_export
from ddb_pipeline.resources.cloud import CloudResource

STAGE = "snapshot"
MAX_REQUESTS_PER_TICK = 4
MAX_ATTEMPTS = 5
REMEMBERED_EXPORTS = 2000


class ExportConfig(dg.Config):
    """Which pipeline's table to export."""

    pipeline: str


def export_job(settings: Settings) -> dg.JobDefinition:
    """Exports a table and waits for it; the sensor has it converted when it is there."""

    @dg.op(description="Exports a pipeline's DynamoDB table to the lake's bucket.")
    def export_to_s3(
        context: dg.OpExecutionContext, cloud: CloudResource, config: ExportConfig
    ) -> None:
        pipeline = settings.pipeline(config.pipeline)
        try:
            folder, items = export(context, cloud, pipeline)
        except ExportRequestError as error:
            raise dg.Failure(str(error), allow_retries=False) from error
        context.add_output_metadata({"dagster/uri": f"s3://{folder}", "items": items})

    @dg.job(
        name="export_table",
        description="Export a DynamoDB table to S3; parquet_snapshot follows by itself.",
        config=dg.RunConfig(
            ops={"export_to_s3": ExportConfig(pipeline=settings.pipelines[0].name)}
        ),
    )
    def export_table() -> None:
        export_to_s3()

    return export_table


def export(
    context: dg.OpExecutionContext, cloud: CloudResource, pipeline: PipelineConfig
) -> tuple[str, int]:
    """Export as the pipeline is configured to; answers with ``bucket/prefix`` and the items.

    Raises:
        ExportRequestError: it was refused or failed.
    """
    prefix = pipeline.export_prefix.strip("/")
    if pipeline.export_with is ExportWith.SCAN:
        folder, done = scan_to_export(
            cloud.dynamodb, cloud.s3, pipeline.dynamodb_table, pipeline.bucket, prefix
        )
        return folder, done.summary.item_count
    table = cloud.dynamodb.describe_table(TableName=pipeline.dynamodb_table)["Table"]
    # The run's id as the token: a retry of the run waits for the export that it began.
    started = start_export(
        cloud.dynamodb, table["TableArn"], pipeline.bucket, prefix, client_token=context.run_id
    )

    def told(state: ExportState, seconds: float) -> None:
        context.log.info("Export %s is %s after %.0f s.", state.export_id, state.status, seconds)

    state = wait_for_export(
        cloud.dynamodb,
        started.arn,
        poll_seconds=1.0 if cloud.embedded else 30.0,
        on_progress=told,
    )
    return state.folder, state.items


def export_schedules(settings: Settings, job: dg.JobDefinition) -> list[dg.ScheduleDefinition]:
    """For the pipelines that have one configured."""
    return [
        dg.ScheduleDefinition(
            name=f"{pipeline.name}_export",
            description="Exports the DynamoDB table, so that a new snapshot is made.",
            cron_schedule=pipeline.export_schedule,
            execution_timezone="UTC",
            job=job,
            run_config=dg.RunConfig(ops={"export_to_s3": ExportConfig(pipeline=pipeline.name)}),
            default_status=schedule_status(settings),
            tags=run_tags(pipeline, "export"),
        )
        for pipeline in settings.pipelines
        if pipeline.export_schedule
    ]


def export_sensor(settings: Settings) -> dg.SensorDefinition:
    """Has each finished export converted once; one that failed again, a few times."""

    @dg.sensor(
        name="export_sensor",
        description="Materialises parquet_snapshot for each finished export in the lake's bucket.",
        minimum_interval_seconds=sensor_interval(settings, embedded=10, aws=120),
        default_status=sensor_status(settings),
        jobs=asset_jobs(settings, PARQUET_SNAPSHOT),
    )
    def sensor(context: dg.SensorEvaluationContext, cloud: CloudResource) -> dg.SensorResult:
        cursor = json.loads(context.cursor or "{}")
        requests: list[dg.RunRequest] = []
        added: list[dg.AddDynamicPartitionsRequest] = []
        now = time.time()
        for pipeline in settings.pipelines:
            known: dict[str, Remembered] = cursor.setdefault(pipeline.name, {})
            found = finished_exports(cloud, pipeline)
            due_now = due_exports(context.instance, pipeline, found, known, now)
            if due_now:
                ids = [asked.version for asked in due_now]
                added.append(exports(pipeline).build_add_request(ids))
            for asked in due_now:
                known[asked.version] = remembered(asked)
                requests.append(snapshot_run(pipeline, asked))
            cursor[pipeline.name] = dict(sorted(known.items())[-REMEMBERED_EXPORTS:])
        return dg.SensorResult(
            run_requests=requests,
            dynamic_partitions_requests=added,
            cursor=json.dumps(cursor),
            skip_reason=None if requests else "No new export.",
        )

    return sensor


def finished_exports(cloud: CloudResource, pipeline: PipelineConfig) -> list[str]:
    """Ids of the exports whose summary manifest is there, oldest first.

    An export's id begins with the time it was asked for.
    """
    prefix = f"{pipeline.export_prefix.strip('/')}/{FOLDER}/"
    pages = cloud.s3.get_paginator("list_objects_v2").paginate(
        Bucket=pipeline.bucket, Prefix=prefix, Delimiter="/"
    )
    folders = [entry["Prefix"] for page in pages for entry in page.get("CommonPrefixes", ())]
    return sorted(
        folder[len(prefix) : -1] for folder in folders if has_manifest(cloud, pipeline, folder)
    )


def has_manifest(cloud: CloudResource, pipeline: PipelineConfig, folder: str) -> bool:
    answer = cloud.s3.list_objects_v2(
        Bucket=pipeline.bucket, Prefix=f"{folder}{SUMMARY}.json", MaxKeys=1
    )
    return bool(answer.get("Contents"))


def due_exports(
    instance: dg.DagsterInstance,
    pipeline: PipelineConfig,
    found: Sequence[str],
    known: Mapping[str, Remembered],
    now: float,
) -> list[Asked]:
    """Exports to ask for now, the newest first; ``known`` says what was asked for by their ids."""
    due_now: list[Asked] = []
    for export_id in sorted(found, reverse=True):
        last = recalled(known.get(export_id))
        failed = last is not None and has_failed(instance, run_key(pipeline, last))
        asked = due(last, export_id, failed, now=now, max_attempts=MAX_ATTEMPTS)
        if asked is not None:
            due_now.append(asked)
        if len(due_now) >= MAX_REQUESTS_PER_TICK:
            break
    return due_now


def run_key(pipeline: PipelineConfig, asked: Asked) -> str:
    return f"{pipeline.name}:snapshot:{asked.version}:{asked.attempt}"


def snapshot_run(pipeline: PipelineConfig, asked: Asked) -> dg.RunRequest:
    return dg.RunRequest(
        run_key=run_key(pipeline, asked),
        partition_key=asked.version,
        job_name=asset_job_name(pipeline, PARQUET_SNAPSHOT),
        tags=run_tags(pipeline, STAGE),
    )
