"""The names under which a pipeline's assets, groups and runs are known to Dagster."""

from collections.abc import Sequence
from typing import TYPE_CHECKING

import dagster as dg

if TYPE_CHECKING:
    from dagster._core.definitions.unresolved_asset_job_definition import (
        UnresolvedAssetJobDefinition,
    )

from ddb_pipeline.config.pipeline import PipelineConfig
from ddb_pipeline.config.settings import Settings, Target

DYNAMODB_TABLE = "dynamodb_table"
CRAWLED_CATALOG_TABLE = "crawled_catalog_table"
NORMALIZED_SCHEMA = "normalized_schema"
LAKE_TABLE = "lake_table"
PARQUET_STREAM = "parquet_stream"
REDELIVERED_RECORDS = "redelivered_records"
PARQUET_SNAPSHOT = "parquet_snapshot"
RELEVANCE_SCORES = "relevance_scores"

PIPELINE_TAG = "ddb_pipeline/pipeline"
STAGE_TAG = "ddb_pipeline/stage"
DATA_VERSION_TAG = "dagster/data_version"
RUN_KEY_TAG = "dagster/run_key"
KEYS_PER_QUERY = 200
"""Under what the databases of Dagster's instances take in one statement."""

UNFINISHED = (
    dg.DagsterRunStatus.QUEUED,
    dg.DagsterRunStatus.NOT_STARTED,
    dg.DagsterRunStatus.STARTING,
    dg.DagsterRunStatus.STARTED,
)


def asset_key(pipeline: PipelineConfig, name: str) -> dg.AssetKey:
    return dg.AssetKey([pipeline.name, name])


def selection(settings: Settings, *names: str) -> dg.AssetSelection:
    """These assets of every pipeline."""
    keys = [asset_key(pipeline, name) for pipeline in settings.pipelines for name in names]
    return dg.AssetSelection.assets(*keys)


def asset_job_name(pipeline: PipelineConfig, name: str) -> str:
    return f"{pipeline.name}_{name}"


def asset_jobs(settings: Settings, name: str) -> "list[UnresolvedAssetJobDefinition]":
    """One job for each pipeline's asset: partitions differ between pipelines, and what one job or
    one sensor's target holds must have the same."""
    return [
        dg.define_asset_job(
            asset_job_name(pipeline, name),
            selection=dg.AssetSelection.assets(asset_key(pipeline, name)),
        )
        for pipeline in settings.pipelines
    ]


def run_tags(pipeline: PipelineConfig, stage: str) -> dict[str, str]:
    """Tags by which a pipeline's runs of one stage are found again."""
    return {PIPELINE_TAG: pipeline.name, STAGE_TAG: stage}


def in_progress(instance: dg.DagsterInstance, pipeline: PipelineConfig, stage: str) -> bool:
    """Whether a run of this stage is queued or running."""
    wanted = dg.RunsFilter(tags=run_tags(pipeline, stage), statuses=list(UNFINISHED))
    return bool(instance.get_runs(filters=wanted, limit=1))


def sensor_status(settings: Settings) -> dg.DefaultSensorStatus:
    """Sensors run by themselves on a laptop; against a real account somebody turns them on."""
    embedded = settings.target is Target.EMBEDDED
    return dg.DefaultSensorStatus.RUNNING if embedded else dg.DefaultSensorStatus.STOPPED


def schedule_status(settings: Settings) -> dg.DefaultScheduleStatus:
    embedded = settings.target is Target.EMBEDDED
    return dg.DefaultScheduleStatus.RUNNING if embedded else dg.DefaultScheduleStatus.STOPPED


def sensor_interval(settings: Settings, *, embedded: int, aws: int) -> int:
    """Seconds between two ticks."""
    return embedded if settings.target is Target.EMBEDDED else aws


def latest_data_versions(
    instance: dg.DagsterInstance, keys: Sequence[dg.AssetKey]
) -> dict[dg.AssetKey, str]:
    """The data versions of the latest materialisations of those assets that have one."""
    versions: dict[dg.AssetKey, str] = {}
    for record in instance.get_asset_records(keys) if keys else ():
        event = record.asset_entry.last_materialization
        materialization = event.asset_materialization if event is not None else None
        version = (materialization.tags or {}).get(DATA_VERSION_TAG) if materialization else None
        if version is not None:
            versions[record.asset_entry.asset_key] = version
    return versions


def runs_of(instance: dg.DagsterInstance, run_keys: Sequence[str]) -> dict[str, dg.DagsterRun]:
    """The newest run that a sensor asked for under each of these keys, of those that have one."""
    runs: dict[str, dg.DagsterRun] = {}
    for start in range(0, len(run_keys), KEYS_PER_QUERY):
        chunk = list(run_keys[start : start + KEYS_PER_QUERY])
        # Newest first.
        for run in instance.get_runs(filters=dg.RunsFilter(tags={RUN_KEY_TAG: chunk})):
            runs.setdefault(run.tags[RUN_KEY_TAG], run)
    return runs


def run_of(instance: dg.DagsterInstance, run_key: str) -> dg.DagsterRun | None:
    """The newest run that a sensor asked for under this key."""
    return runs_of(instance, [run_key]).get(run_key)
