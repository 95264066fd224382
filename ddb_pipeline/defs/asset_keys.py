"""The names by which Dagster knows a pipeline's assets, jobs and runs."""

from typing import Any

import dagster as dg

from ddb_pipeline.config.pipeline import PipelineConfig
from ddb_pipeline.config.settings import Settings

DYNAMODB_TABLE = "dynamodb_table"
CRAWLED_CATALOG_TABLE = "crawled_catalog_table"
NORMALIZED_SCHEMA = "normalized_schema"
LAKE_TABLE = "lake_table"
PARQUET_STREAM = "parquet_stream"
REDELIVERED_RECORDS = "redelivered_records"
PARQUET_SNAPSHOT = "parquet_snapshot"
RELEVANCE_SCORES = "relevance_scores"

PARQUET_IO_MANAGER = "parquet_io_manager"
"""The resource that loads the datasets as inputs of other assets."""

HEALTHY = "healthy"
"""The check of a dataset's files, which runs by itself and not with every partition."""

PIPELINE_TAG = "ddb_pipeline/pipeline"
STAGE_TAG = "ddb_pipeline/stage"
ATTEMPT_TAG = "ddb_pipeline/attempt"
DATA_VERSION_TAG = "dagster/data_version"
RUN_KEY_TAG = "dagster/run_key"


def asset_key(pipeline: PipelineConfig, name: str) -> dg.AssetKey:
    """The key of a pipeline's asset: ``<pipeline>/<name>``."""
    return dg.AssetKey([pipeline.name, name])


def selection(settings: Settings, *names: str) -> dg.AssetSelection:
    """These assets of every pipeline."""
    keys = [asset_key(pipeline, name) for pipeline in settings.pipelines for name in names]
    return dg.AssetSelection.assets(*keys)


def asset_job_name(pipeline: PipelineConfig, name: str) -> str:
    """The name of the job that materialises one partitioned asset of a pipeline."""
    return f"{pipeline.name}_{name}"


def asset_jobs(settings: Settings, name: str) -> list[Any]:
    """One job for the asset of each pipeline, for assets whose partitions differ by pipeline.

    The assets of one job, and those of a sensor's target, must have the same partitions. The
    type of such a job is not public in Dagster.
    """
    return [
        dg.define_asset_job(
            asset_job_name(pipeline, name),
            selection=dg.AssetSelection.assets(asset_key(pipeline, name))
            - dg.AssetSelection.checks(dg.AssetCheckKey(asset_key(pipeline, name), HEALTHY)),
            description=f"Materialises a partition of {pipeline.name}/{name}.",
        )
        for pipeline in settings.pipelines
    ]


def run_tags(pipeline_name: str, stage: str) -> dict[str, str]:
    """Tags by which a pipeline's runs of one stage are found again."""
    return {PIPELINE_TAG: pipeline_name, STAGE_TAG: stage}
