"""The code location: every pipeline's assets, checks, sensors, schedules, jobs and resources."""

import dagster as dg

from ddb_pipeline.config.settings import Settings, Target, load_settings
from ddb_pipeline.defs.checks import nothing_lost_check, type_conflicts_check
from ddb_pipeline.defs.consume import consume_job, consume_sensor, consumed
from ddb_pipeline.defs.crawl import crawl_schedule, crawl_sensor, crawled_asset
from ddb_pipeline.defs.delivery import landing_sensor, stream_asset
from ddb_pipeline.defs.demo import demo_traffic_sensor
from ddb_pipeline.defs.exports import export_job, export_schedules, export_sensor
from ddb_pipeline.defs.redelivery import failed_records_sensor, redelivered_asset
from ddb_pipeline.defs.relevance import relevance_asset, relevance_sensor
from ddb_pipeline.defs.replay import replay_jobs
from ddb_pipeline.defs.schema import lake_asset, normalized_asset
from ddb_pipeline.defs.snapshot import snapshot_asset
from ddb_pipeline.defs.source import source_sensor, source_specs
from ddb_pipeline.defs.table_change_sensor import glue_table_change_sensor
from ddb_pipeline.resources.cloud import CloudResource


def build_defs(settings: Settings) -> dg.Definitions:
    """Definitions for the given settings. Starts nothing and speaks to nobody."""
    assets: list[dg.AssetsDefinition | dg.AssetSpec] = [*source_specs(settings)]
    for pipeline in settings.pipelines:
        assets += [
            crawled_asset(pipeline),
            normalized_asset(pipeline),
            lake_asset(pipeline),
            stream_asset(pipeline),
            redelivered_asset(pipeline),
            snapshot_asset(settings, pipeline),
        ]
        if pipeline.relevance:
            assets.append(relevance_asset(settings, pipeline, pipeline.relevance))
    sensors = [
        source_sensor(settings),
        crawl_sensor(settings),
        glue_table_change_sensor(settings),
        landing_sensor(settings),
        failed_records_sensor(settings),
        export_sensor(settings),
    ]
    if any(pipeline.relevance for pipeline in settings.pipelines):
        sensors.append(relevance_sensor(settings))
    if consumed(settings):
        sensors.append(consume_sensor(settings))
    if settings.target is Target.EMBEDDED:
        sensors += [demo_traffic_sensor(settings, p) for p in settings.pipelines[:1]]
    export = export_job(settings)
    return dg.Definitions(
        assets=assets,
        asset_checks=[
            check(pipeline)
            for pipeline in settings.pipelines
            for check in (type_conflicts_check, nothing_lost_check)
        ],
        jobs=[*replay_jobs(settings), consume_job(settings), export],
        sensors=sensors,
        schedules=[
            *(crawl_schedule(settings, pipeline) for pipeline in settings.pipelines),
            *export_schedules(settings, export),
        ],
        resources={"cloud": CloudResource.of(settings)},
        # A run of these assets is short: starting processes would cost more than it gains.
        executor=dg.in_process_executor,
    )


@dg.definitions
def defs() -> dg.Definitions:
    return build_defs(load_settings())
