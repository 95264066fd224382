"""The names by which Dagster knows a pipeline's assets, jobs and runs."""

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
PARQUET_CURRENT = "parquet_current"
HEALED_GAPS = "healed_gaps"
PARQUET_CHANGES = "parquet_changes"
RELEVANCE_SCORES = "relevance_scores"

PARQUET_IO_MANAGER = "parquet_io_manager"
"""The resource that loads the datasets as inputs of other assets."""

HEALTHY = "healthy"
"""The check of a dataset's files, which runs by itself and not with every partition."""

CHECKS_OF_RUNS = {
    PARQUET_STREAM: ("nothing_lost",),
    PARQUET_SNAPSHOT: ("every_item_counted", "schema_is_the_lake_tables"),
    PARQUET_CHANGES: ("every_item_counted", "schema_is_the_lake_tables"),
}
"""The checks that run with each partition of an asset."""

PIPELINE_TAG = "ddb_pipeline/pipeline"
STAGE_TAG = "ddb_pipeline/stage"
ATTEMPT_TAG = "ddb_pipeline/attempt"
DATA_VERSION_TAG = "dagster/data_version"
RUN_KEY_TAG = "dagster/run_key"


def asset_key(pipeline: PipelineConfig, name: str) -> dg.AssetKey:
    """The key of a pipeline's asset: ``<pipeline>/<name>``."""
    return dg.AssetKey([pipeline.name, name])


def selection(settings: Settings, *names: str) -> dg.AssetSelection:
    """These assets of every pipeline.

    As a sensor's ``asset_selection``, its runs are runs of Dagster's job of all assets. A job for
    each pipeline would cost time when the code location loads: Dagster searches all assets of the
    location for the assets of each job.
    """
    keys = [asset_key(pipeline, name) for pipeline in settings.pipelines for name in names]
    return dg.AssetSelection.assets(*keys)


def run_tags(pipeline_name: str, stage: str) -> dict[str, str]:
    """Tags by which a pipeline's runs of one stage are found again."""
    return {PIPELINE_TAG: pipeline_name, STAGE_TAG: stage}
