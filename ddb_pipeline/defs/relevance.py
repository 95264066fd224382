"""Relevance: search logs of the lake become scores of documents for queries, by Spark."""

import time

import dagster as dg

from ddb_pipeline.config.choices import DeliverySchema
from ddb_pipeline.config.names import relevance_location, scores_table
from ddb_pipeline.config.pipeline import PipelineConfig
from ddb_pipeline.config.settings import Settings
from ddb_pipeline.config.spark import RelevanceConfig
from ddb_pipeline.defs.asset_keys import (
    PARQUET_IO_MANAGER,
    PARQUET_STREAM,
    RELEVANCE_SCORES,
    asset_key,
    selection,
)
from ddb_pipeline.defs.automation import sensor_interval, sensor_name, sensor_status
from ddb_pipeline.defs.console_links import dataset_metadata
from ddb_pipeline.defs.pipeline_asset import pipeline_asset
from ddb_pipeline.defs.run_requests import RunRequests
from ddb_pipeline.glue.scores_table import SCORES_COLUMNS, point_scores_table
from ddb_pipeline.lake.layout import (
    COMPACTED_PREFIX,
    RELEVANCE_PREFIX,
    STREAM_PREFIX,
    DeliveryHour,
)
from ddb_pipeline.lake.objects import read_object
from ddb_pipeline.resources.cloud import CloudResource
from ddb_pipeline.resources.spark import SparkRunner, spark_runner
from ddb_pipeline.resources.table_metadata import COLUMN_SCHEMA, TABLE_NAME, column_schema
from ddb_pipeline.spark.arguments import LogColumns, RelevanceArguments
from ddb_pipeline.spark.java import SparkMissingError, require_pyspark
from ddb_pipeline.spark.manifest import MANIFEST, from_text
from ddb_pipeline.spark.submission import SparkJob

STAGE = "relevance"
MODULE = "ddb_pipeline.spark.relevance"


def relevance_asset(
    settings: Settings, pipeline: PipelineConfig, relevance: RelevanceConfig
) -> dg.AssetsDefinition:
    """``relevance_scores``: the Spark job over the hours that changed, then the catalog table."""

    @pipeline_asset(
        key=asset_key(pipeline, RELEVANCE_SCORES),
        deps=[
            dg.AssetDep(
                asset_key(pipeline, PARQUET_STREAM),
                partition_mapping=dg.AllPartitionMapping(),
            )
        ],
        description=(
            "How relevant documents are for queries, from the clicks in the search logs: corrected "
            "for position bias, with recent searches weighing more, and only for pairs that were "
            "shown to enough users. A Spark job reads the hours that have changed."
        ),
        pipeline=pipeline,
        kinds={"spark", "parquet", "s3"},
        pool=f"relevance_{pipeline.name}",
        io_manager_key=PARQUET_IO_MANAGER,
        metadata=dataset_metadata(settings, pipeline, scores_table(pipeline), RELEVANCE_PREFIX),
    )
    def relevance_scores(
        context: dg.AssetExecutionContext, cloud: CloudResource
    ) -> dg.MaterializeResult[None]:
        here = cloud.for_pipeline(pipeline)
        return compute_scores(context, here, settings, pipeline, relevance)

    return relevance_scores


def compute_scores(
    context: dg.AssetExecutionContext,
    cloud: CloudResource,
    settings: Settings,
    pipeline: PipelineConfig,
    relevance: RelevanceConfig,
) -> dg.MaterializeResult[None]:
    """Run the Spark job, then point the catalog table at the scores that it published."""
    with spark_runner(cloud, pipeline, settings.home) as runner:
        arguments = job_arguments(runner, pipeline, relevance)
        job = SparkJob(STAGE, MODULE, tuple(arguments.command_line()))
        found = runner.run(context, job).get_materialize_result()
        runner.publish(RELEVANCE_PREFIX, last=(MANIFEST,))
    location = published_location(cloud, pipeline)
    table = point_scores_table(cloud.glue, scores_table(pipeline), location)
    return dg.MaterializeResult(
        metadata={
            **(found.metadata or {}),
            COLUMN_SCHEMA: column_schema(SCORES_COLUMNS),
            TABLE_NAME: str(table.reference),
            "dagster/uri": location,
        },
        data_version=found.data_version,
    )


def reads_compacted(pipeline: PipelineConfig) -> bool:
    """Whether the job reads compacted hours, so that their raw objects may be removed.

    Only where each event has its sequence number: otherwise the names of raw objects order events.
    """
    return pipeline.delivery_schema is DeliverySchema.LAKE


def job_arguments(
    runner: SparkRunner, pipeline: PipelineConfig, relevance: RelevanceConfig
) -> RelevanceArguments:
    """What the job reads and writes where it runs, and the configured parameters."""
    # The job's window ends with the newest hour, so that a day more is needed.
    oldest = DeliveryHour.of(time.time()).plus(-24 * (relevance.window_days + 1))
    return RelevanceArguments(
        stream=runner.uri(STREAM_PREFIX, oldest.prefix),
        output=runner.uri(RELEVANCE_PREFIX),
        compacted=(
            runner.uri(COMPACTED_PREFIX, oldest.compacted_prefix)
            if reads_compacted(pipeline)
            else ""
        ),
        history=runner.uri(relevance.history) if relevance.history else "",
        columns=LogColumns(**relevance.columns),
        half_life_days=relevance.half_life_days,
        window_days=relevance.window_days,
        min_users=relevance.min_users,
        scorer=relevance.scorer,
        drop_expired=relevance.drop_expired,
    )


def published_location(cloud: CloudResource, pipeline: PipelineConfig) -> str:
    """The URI of the scores that the manifest in the bucket names."""
    text = read_object(cloud.s3, pipeline.lake, RELEVANCE_PREFIX + MANIFEST).decode("utf-8")
    uri = relevance_location(pipeline)
    scores = from_text(text, f"{uri}{MANIFEST}").scores
    return f"{uri}scores/{scores.version}/" if scores else uri


def relevance_sensor(settings: Settings) -> dg.SensorDefinition:
    """Requests new scores when hours of the stream have changed, at most once a pause."""
    pause = sensor_interval(settings, embedded=180, aws=900)
    pipelines = tuple(pipeline for pipeline in settings.pipelines if pipeline.relevance)

    @dg.sensor(
        name=sensor_name(settings, "relevance_sensor"),
        description="Materialises relevance_scores when hours of parquet_stream have changed.",
        minimum_interval_seconds=sensor_interval(settings, embedded=15, aws=60),
        default_status=sensor_status(settings),
        asset_selection=selection(
            settings.model_copy(update={"pipelines": pipelines}), RELEVANCE_SCORES
        ),
    )
    def sensor(context: dg.SensorEvaluationContext) -> dg.SensorResult:
        requests = RunRequests(context, STAGE, pipelines)
        for pipeline in pipelines:
            if requests.in_progress(pipeline):
                requests.skip(pipeline, "a run is in progress")
            elif reason := reason_to_wait(pipeline):
                requests.skip(pipeline, reason)
            else:
                version = latest_materialization(context.instance, pipeline)
                if version:
                    requests.request(pipeline, version, RELEVANCE_SCORES, pause_seconds=pause)
                else:
                    requests.skip(pipeline, "parquet_stream has no materialised partition yet")
        return requests.result("The scores are up to date.")

    return sensor


def reason_to_wait(pipeline: PipelineConfig) -> str | None:
    """Why Spark cannot compute scores here; None where it can."""
    if not pipeline.spark.emr_serverless:
        try:
            require_pyspark()
        except SparkMissingError as error:
            return str(error)
    return None


def latest_materialization(instance: dg.DagsterInstance, pipeline: PipelineConfig) -> str:
    """Identifies the latest materialization of ``parquet_stream``; empty where there is none.

    ``landing_sensor`` has each hour materialised whose objects change, so that a change of the
    stream is a new materialization.
    """
    found = instance.fetch_materializations(asset_key(pipeline, PARQUET_STREAM), limit=1).records
    return f"{found[0].storage_id}" if found else ""
