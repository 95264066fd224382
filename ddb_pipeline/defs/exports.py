"""Exports of the DynamoDB table: a job for one export, and its schedules."""

import dagster as dg
from pydantic import Field

from ddb_pipeline.config.choices import ExportWith
from ddb_pipeline.config.pipeline import PipelineConfig
from ddb_pipeline.config.settings import Settings
from ddb_pipeline.defs.asset_keys import run_tags
from ddb_pipeline.defs.automation import schedule_status
from ddb_pipeline.defs.failures import readable_failures
from ddb_pipeline.dynamodb.tables import describe_table
from ddb_pipeline.export.request import (
    ExportRequestError,
    ExportState,
    start_export,
    wait_for_export,
)
from ddb_pipeline.export.scan import scan_to_export
from ddb_pipeline.resources.cloud import CloudResource


class ExportConfig(dg.Config):
    """Which pipeline's table to export."""

    pipeline: str = Field(description="The pipeline's name.")


def export_job(settings: Settings) -> dg.JobDefinition:
    """``export_table``: exports a table and waits until the export is finished."""

    @dg.op(description="Exports a pipeline's DynamoDB table to the lake's bucket.")
    @readable_failures
    def export_to_s3(
        context: dg.OpExecutionContext, cloud: CloudResource, config: ExportConfig
    ) -> None:
        pipeline = settings.pipeline(config.pipeline)
        try:
            folder, items = export(context, cloud.for_pipeline(pipeline), pipeline)
        except ExportRequestError as error:
            raise dg.Failure(str(error), allow_retries=False) from error
        context.add_output_metadata({"dagster/uri": f"s3://{folder}", "items": items})

    @dg.job(
        name="export_table",
        description=(
            "Exports a DynamoDB table to S3 and waits for it. export_sensor then materialises "
            "parquet_snapshot for the export."
        ),
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
    """Export as configured by ``export_with``; returns ``bucket/prefix`` and the item count.

    Raises:
        ExportRequestError: the export was refused or failed.
    """
    prefix = pipeline.bucket_export_prefix
    if pipeline.export_with is ExportWith.SCAN:
        folder, done = scan_to_export(
            cloud.dynamodb, cloud.s3, pipeline.dynamodb_table, pipeline.bucket, prefix
        )
        return folder, done.summary.item_count
    table = describe_table(cloud.dynamodb, pipeline.dynamodb_table)
    # The run's id is the token, so that a retried step waits for the export that it started.
    started = start_export(
        cloud.dynamodb, table.arn, pipeline.bucket, prefix, client_token=context.run_id
    )

    def log_progress(state: ExportState, seconds: float) -> None:
        context.log.info("Export %s is %s after %.0f s.", state.export_id, state.status, seconds)

    state = wait_for_export(
        cloud.dynamodb,
        started.arn,
        poll_seconds=1.0 if cloud.embedded else 30.0,
        on_progress=log_progress,
    )
    return state.folder, state.items


def export_schedules(settings: Settings, job: dg.JobDefinition) -> list[dg.ScheduleDefinition]:
    """A schedule for each pipeline with an ``export_schedule``."""
    return [
        dg.ScheduleDefinition(
            name=f"{pipeline.name}_export",
            description="Exports the DynamoDB table to S3, for a new parquet_snapshot.",
            cron_schedule=pipeline.export_schedule,
            execution_timezone="UTC",
            job=job,
            run_config=dg.RunConfig(ops={"export_to_s3": ExportConfig(pipeline=pipeline.name)}),
            default_status=schedule_status(settings),
            tags=run_tags(pipeline.name, "export"),
        )
        for pipeline in settings.pipelines
        if pipeline.export_schedule
    ]
