"""Relevance: search logs of the lake become scores of documents for queries, by Spark."""

import json
import time
from collections.abc import Callable, Mapping
from hashlib import sha256

import dagster as dg

from ddb_pipeline.config.names import relevance_location, scores_table
from ddb_pipeline.config.pipeline import PipelineConfig
from ddb_pipeline.config.settings import Settings
from ddb_pipeline.config.spark import RelevanceConfig
from ddb_pipeline.defs.asset_keys import (
    PARQUET_STREAM,
    RELEVANCE_SCORES,
    asset_key,
    in_progress,
    run_tags,
    selection,
    sensor_interval,
    sensor_status,
)
from ddb_pipeline.defs.crawl import RETRY
from ddb_pipeline.defs.delivery import hour_versions
from ddb_pipeline.defs.metadata import column_schema
from ddb_pipeline.defs.run_requests import (
    Asked,
    Remembered,
    due,
    has_failed,
    recalled,
    remembered,
)
from ddb_pipeline.glue.scores_table import SCORES_COLUMNS, point_scores_table
from ddb_pipeline.lake.layout import RELEVANCE_PREFIX, STREAM_PREFIX, DeliveryHour, hour_of_key
from ddb_pipeline.resources.cloud import CloudResource
from ddb_pipeline.resources.spark import spark_runner
from ddb_pipeline.spark.arguments import LogColumns, RelevanceArguments
from ddb_pipeline.spark.java import SparkMissingError, require_pyspark
from ddb_pipeline.spark.manifest import MANIFEST, from_text
from ddb_pipeline.spark.submission import SparkJob

STAGE = "relevance"
MODULE = "ddb_pipeline.spark.relevance"


def relevance_asset(
    settings: Settings, pipeline: PipelineConfig, relevance: RelevanceConfig
) -> dg.AssetsDefinition:
    home = settings.home

    @dg.asset(
        key=asset_key(pipeline, RELEVANCE_SCORES),
        deps=[
            dg.AssetDep(
                asset_key(pipeline, PARQUET_STREAM),
                partition_mapping=dg.AllPartitionMapping(),
            )
        ],
        description=(
            "How well documents answer queries, from clicks in the search logs: position bias "
            "taken out, recent searches weighing more, only pairs shown to enough users. "
            "Computed by Spark from the hours that changed."
        ),
        group_name=pipeline.name,
        kinds={"spark", "parquet", "s3"},
        retry_policy=RETRY,
        pool=f"relevance_{pipeline.name}",
    )
    def relevance_scores(
        context: dg.AssetExecutionContext, cloud: CloudResource
    ) -> dg.MaterializeResult[None]:
        with spark_runner(cloud, pipeline, home) as runner:
            arguments = RelevanceArguments(
                stream=runner.input_uri(STREAM_PREFIX, within(relevance.window_days, time.time())),
                output=runner.output_uri(RELEVANCE_PREFIX),
                history=runner.input_uri(relevance.history) if relevance.history else "",
                columns=LogColumns(**relevance.columns),
                half_life_days=relevance.half_life_days,
                window_days=relevance.window_days,
                min_users=relevance.min_users,
                scorer=relevance.scorer,
                drop_expired=relevance.drop_expired,
            )
            job = SparkJob(STAGE, MODULE, tuple(arguments.command_line()))
            found = runner.run(context, job).get_materialize_result()
            runner.publish(RELEVANCE_PREFIX, last=(MANIFEST,))
        location = published_location(cloud, pipeline)
        table = point_scores_table(cloud.glue, scores_table(pipeline), location)
        return dg.MaterializeResult(
            metadata={
                **(found.metadata or {}),
                "dagster/column_schema": column_schema(SCORES_COLUMNS),
                "dagster/table_name": str(table.reference),
                "dagster/uri": location,
            },
            data_version=found.data_version,
        )

    return relevance_scores


def published_location(cloud: CloudResource, pipeline: PipelineConfig) -> str:
    """Where the scores lie that the manifest in the bucket names."""
    key = RELEVANCE_PREFIX + MANIFEST
    body = cloud.s3.get_object(Bucket=pipeline.bucket, Key=key)["Body"].read()
    uri = relevance_location(pipeline)
    scores = from_text(body.decode("utf-8"), f"{uri}{MANIFEST}").scores
    return f"{uri}scores/{scores.version}/" if scores else uri


def within(days: int, now: float) -> Callable[[str], bool]:
    """Whether an object's key names an hour of the last ``days``, with a day to spare."""
    oldest = DeliveryHour.of(now - 86_400 * (days + 1))

    def wanted(key: str) -> bool:
        hour = hour_of_key(key)
        return hour is not None and hour >= oldest

    return wanted


def lake_version(versions: Mapping[DeliveryHour, str]) -> str:
    """Changes whenever an object of any hour is added, replaced or removed."""
    text = json.dumps([[hour.partition_key, v] for hour, v in sorted(versions.items())])
    return sha256(text.encode("utf-8")).hexdigest()[:16]


def relevance_sensor(settings: Settings) -> dg.SensorDefinition:
    """Asks for new scores when hours of the lake have changed, and after a failed run."""
    pause = sensor_interval(settings, embedded=180, aws=900)
    pipelines = [pipeline for pipeline in settings.pipelines if pipeline.relevance]

    @dg.sensor(
        name="relevance_sensor",
        description="Materialises relevance_scores after new partitions of parquet_stream.",
        minimum_interval_seconds=sensor_interval(settings, embedded=15, aws=60),
        default_status=sensor_status(settings),
        target=selection(
            settings.model_copy(update={"pipelines": tuple(pipelines)}), RELEVANCE_SCORES
        ),
    )
    def sensor(context: dg.SensorEvaluationContext, cloud: CloudResource) -> dg.SensorResult:
        cursor: dict[str, Remembered] = json.loads(context.cursor or "{}")
        requests: list[dg.RunRequest] = []
        reasons: list[str] = []
        for pipeline in pipelines:
            reason = reason_to_wait(context.instance, pipeline)
            versions = {} if reason else hour_versions(cloud, pipeline)
            if reason or not versions:
                reasons.append(f"{pipeline.name}: {reason or 'no hour of the lake yet'}")
                continue
            asked = due_run(context.instance, pipeline, lake_version(versions), cursor, pause)
            if asked is not None:
                requests.append(asked)
        return dg.SensorResult(
            run_requests=requests,
            cursor=json.dumps(cursor),
            skip_reason=None if requests else "; ".join(reasons) or "The scores are up to date.",
        )

    return sensor


def reason_to_wait(instance: dg.DagsterInstance, pipeline: PipelineConfig) -> str | None:
    if not pipeline.spark.emr_serverless:
        try:
            require_pyspark()
        except SparkMissingError as error:
            return str(error)
    if instance.get_latest_materialization_event(asset_key(pipeline, PARQUET_STREAM)) is None:
        return "parquet_stream has no partition yet"
    if in_progress(instance, pipeline, STAGE):
        return "a run is under way"
    return None


def due_run(
    instance: dg.DagsterInstance,
    pipeline: PipelineConfig,
    version: str,
    cursor: dict[str, Remembered],
    pause: float,
) -> dg.RunRequest | None:
    """The run to ask for, remembered in ``cursor``."""
    last = recalled(cursor.get(pipeline.name))
    failed = last is not None and has_failed(instance, run_key(pipeline, last))
    asked = due(last, version, failed, now=time.time(), pause_seconds=pause)
    if asked is None:
        return None
    cursor[pipeline.name] = remembered(asked)
    return dg.RunRequest(
        run_key=run_key(pipeline, asked),
        asset_selection=[asset_key(pipeline, RELEVANCE_SCORES)],
        tags=run_tags(pipeline, STAGE),
    )


def run_key(pipeline: PipelineConfig, asked: Asked) -> str:
    # The time in the key: the lake may come back to a content that it had before.
    return f"{pipeline.name}:relevance:{asked.version}:{asked.attempt}:{int(asked.at)}"
