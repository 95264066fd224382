"""The code location: all pipelines' assets, checks, sensors, schedules, jobs and resources."""

import gc
from collections.abc import Iterator
from contextlib import contextmanager

import dagster as dg

from ddb_pipeline.config.choices import CurrentView
from ddb_pipeline.config.names import asset_location
from ddb_pipeline.config.pipeline import PipelineConfig
from ddb_pipeline.config.settings import Settings, Target, load_settings
from ddb_pipeline.defs.asset_keys import PARQUET_IO_MANAGER
from ddb_pipeline.defs.change_exports import (
    change_exported,
    change_exports_job,
    change_exports_sensor,
)
from ddb_pipeline.defs.changes import changes_asset
from ddb_pipeline.defs.checks import (
    nothing_lost_check,
    nothing_lost_schedules,
    type_conflicts_check,
)
from ddb_pipeline.defs.consume import consume_job, consume_sensor, consumed
from ddb_pipeline.defs.crawl import crawl_schedules, crawl_sensor, crawled_asset
from ddb_pipeline.defs.current import current_asset
from ddb_pipeline.defs.current_check import current_equals_source_check
from ddb_pipeline.defs.current_sensor import current_sensor, viewed
from ddb_pipeline.defs.delivery import stream_asset
from ddb_pipeline.defs.demo import demo_traffic_sensor
from ddb_pipeline.defs.export_sensor import export_sensor
from ddb_pipeline.defs.exports import export_job, export_schedules
from ddb_pipeline.defs.failure_sensor import failed_batches_sensor, mapped
from ddb_pipeline.defs.gaps import gap_sensor, healed_gaps_asset
from ddb_pipeline.defs.health import health_checks, health_schedules
from ddb_pipeline.defs.landing_sensor import landing_sensor
from ddb_pipeline.defs.overview import overview_asset, overview_schedule
from ddb_pipeline.defs.redelivery import failed_records_sensor, redelivered_asset
from ddb_pipeline.defs.relevance import relevance_asset, relevance_sensor
from ddb_pipeline.defs.replay import replay_jobs
from ddb_pipeline.defs.schema import lake_asset, normalized_asset
from ddb_pipeline.defs.snapshot import snapshot_asset
from ddb_pipeline.defs.source import source_sensor, source_specs
from ddb_pipeline.defs.table_change_sensor import glue_table_change_sensor
from ddb_pipeline.defs.vacuum import vacuum_job, vacuum_schedules
from ddb_pipeline.resources.cloud import CloudResource
from ddb_pipeline.resources.parquet_io_manager import ParquetIOManager


def build_defs(settings: Settings, *, whole_location: bool = True) -> dg.Definitions:
    """The definitions for these settings. Starts nothing and makes no request.

    Args:
        settings: the pipelines and where they run.
        whole_location: whether the code location has nothing else. Then it has the executor that
            suits short runs and, with the embedded AWS, the sensor that writes the demo's traffic.
    """
    with no_garbage_collection():
        return _definitions(settings, whole_location)


@contextmanager
def no_garbage_collection() -> Iterator[None]:
    """Pause Python's collector, which would examine definitions that stay again and again."""
    enabled = gc.isenabled()
    gc.disable()
    try:
        yield
    finally:
        if enabled:
            gc.enable()


def _definitions(settings: Settings, whole_location: bool) -> dg.Definitions:
    export, vacuum = export_job(settings), vacuum_job(settings)
    nothing_lost = [nothing_lost_check(pipeline) for pipeline in settings.pipelines]
    health = [health_checks(pipeline) for pipeline in settings.pipelines]
    cloud = CloudResource.of(settings)
    return dg.Definitions(
        assets=[
            *source_specs(settings),
            *(asset for pipeline in settings.pipelines for asset in assets(settings, pipeline)),
            overview_asset(settings),
        ],
        asset_checks=[
            *map(type_conflicts_check, settings.pipelines),
            *nothing_lost,
            *map(current_equals_source_check, viewed(settings)),
            *(check for checks in health for check in checks),
        ],
        jobs=[
            *replay_jobs(settings),
            consume_job(settings),
            export,
            change_exports_job(settings),
            vacuum,
        ],
        sensors=[sensor for watched in settings.watched() for sensor in sensors(watched)]
        + (demo_sensors(settings) if whole_location else []),
        schedules=[
            *crawl_schedules(settings),
            *export_schedules(settings, export),
            *vacuum_schedules(settings, vacuum),
            *nothing_lost_schedules(settings, nothing_lost),
            *health_schedules(settings, health),
            overview_schedule(settings),
        ],
        resources={
            "cloud": cloud,
            PARQUET_IO_MANAGER: ParquetIOManager(
                root=asset_location(settings.pipelines[0]),
                cloud=cloud.in_region(settings.pipelines[0].region),
            ),
        },
        # Runs are short: a process for each step would cost more time than it saves.
        executor=dg.in_process_executor if whole_location else None,
    )


def assets(settings: Settings, pipeline: PipelineConfig) -> list[dg.AssetsDefinition]:
    """The assets of one pipeline that runs materialise."""
    found = [
        crawled_asset(settings, pipeline),
        normalized_asset(settings, pipeline),
        lake_asset(settings, pipeline),
        stream_asset(settings, pipeline),
        redelivered_asset(settings, pipeline),
        snapshot_asset(settings, pipeline),
        healed_gaps_asset(settings, pipeline),
        changes_asset(settings, pipeline),
    ]
    if pipeline.current is not CurrentView.OFF:
        found.append(current_asset(settings, pipeline))
    if pipeline.relevance:
        found.append(relevance_asset(settings, pipeline, pipeline.relevance))
    return found


def sensors(settings: Settings) -> list[dg.SensorDefinition]:
    """The sensors, each for all pipelines of these settings."""
    found = [
        source_sensor(settings),
        crawl_sensor(settings),
        glue_table_change_sensor(settings),
        landing_sensor(settings),
        failed_records_sensor(settings),
        export_sensor(settings),
        gap_sensor(settings),
    ]
    if viewed(settings):
        found.append(current_sensor(settings))
    if any(pipeline.relevance for pipeline in settings.pipelines):
        found.append(relevance_sensor(settings))
    if change_exported(settings):
        found.append(change_exports_sensor(settings))
    if mapped(settings):
        found.append(failed_batches_sensor(settings))
    if consumed(settings):
        found.append(consume_sensor(settings))
    return found


def demo_sensors(settings: Settings) -> list[dg.SensorDefinition]:
    """The sensor that writes the demo's traffic, where the embedded AWS is used."""
    if settings.target is not Target.EMBEDDED:
        return []
    return [demo_traffic_sensor(settings, settings.pipelines[0])]


@dg.definitions
def defs() -> dg.Definitions:
    """The definitions for the settings of the environment and the configuration file."""
    return build_defs(load_settings())
