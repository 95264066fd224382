"""The crawl: what is in the table now becomes the crawled catalog table."""

import time

import dagster as dg

from ddb_pipeline.config.names import crawled_table
from ddb_pipeline.config.pipeline import CrawlWith, PipelineConfig
from ddb_pipeline.config.settings import Settings
from ddb_pipeline.defs.asset_keys import (
    CRAWLED_CATALOG_TABLE,
    DYNAMODB_TABLE,
    asset_key,
    in_progress,
    run_tags,
    schedule_status,
    sensor_interval,
    sensor_status,
)
from ddb_pipeline.defs.metadata import crawled_changes, schema_metadata
from ddb_pipeline.glue.catalog import CatalogTable, find_table, read_table
from ddb_pipeline.glue.crawled_table import CrawlTarget, run_crawl
from ddb_pipeline.glue.crawler import run_crawler
from ddb_pipeline.lake.layout import HELD_PREFIX
from ddb_pipeline.lake.objects import list_objects
from ddb_pipeline.resources.cloud import CloudResource

STAGE = "crawl"
RETRY = dg.RetryPolicy(
    max_retries=3, delay=5, backoff=dg.Backoff.EXPONENTIAL, jitter=dg.Jitter.PLUS_MINUS
)


def crawl(
    cloud: CloudResource, pipeline: PipelineConfig, log: dg.DagsterLogManager
) -> CatalogTable:
    """Crawl as the pipeline is configured to and answer with the table as it was left."""
    if pipeline.crawl_with is CrawlWith.GLUE:
        run = run_crawler(
            cloud.glue,
            pipeline.crawler,
            poll_seconds=1.0 if cloud.embedded else 10.0,
            on_progress=lambda state, s: log.info("Crawler is %s after %.0f s.", state, s),
        )
        log.info("Crawler %s %s in %.1f s.", run.crawler, run.status, run.seconds)
    else:
        target = CrawlTarget(pipeline.dynamodb_table)
        result = run_crawl(
            cloud.dynamodb,
            cloud.glue,
            target,
            pipeline.database,
            pipeline.table_prefix,
            pipeline.shapes,
        )
        log.info("Crawled %d items of %s.", result.items, pipeline.dynamodb_table)
    return read_table(cloud.glue, crawled_table(pipeline))


def crawled_asset(pipeline: PipelineConfig) -> dg.AssetsDefinition:
    @dg.asset(
        key=asset_key(pipeline, CRAWLED_CATALOG_TABLE),
        deps=[asset_key(pipeline, DYNAMODB_TABLE)],
        description="The Glue table as the crawler left it, `set<...>` types and all.",
        group_name=pipeline.name,
        kinds={"glue"},
        retry_policy=RETRY,
        pool=f"glue_{pipeline.name}",
    )
    def crawled_catalog_table(
        context: dg.AssetExecutionContext, cloud: CloudResource
    ) -> dg.MaterializeResult[None]:
        started_at = time.time()
        before = find_table(cloud.glue, crawled_table(pipeline))
        table = crawl(cloud, pipeline, context.log)
        return dg.MaterializeResult(
            metadata={
                **schema_metadata(table.reference, table.version_id, table.columns),
                "changes": crawled_changes(before.columns if before else (), table.columns),
                "crawl_started_at": dg.MetadataValue.timestamp(started_at),
            },
            data_version=dg.DataVersion(table.fingerprint),
        )

    return crawled_catalog_table


def crawl_schedule(settings: Settings, pipeline: PipelineConfig) -> dg.ScheduleDefinition:
    return dg.ScheduleDefinition(
        name=f"{pipeline.name}_crawl",
        description="Crawls the DynamoDB table, so that new attributes reach the catalog.",
        cron_schedule=pipeline.crawl_schedule,
        execution_timezone="UTC",
        target=dg.AssetSelection.assets(asset_key(pipeline, CRAWLED_CATALOG_TABLE)),
        default_status=schedule_status(settings),
        tags=run_tags(pipeline, STAGE),
    )


def crawl_sensor(settings: Settings) -> dg.SensorDefinition:
    """Asks for a crawl where the schedule would come too late: no table yet, records waiting."""

    @dg.sensor(
        name="crawl_sensor",
        description=(
            "Crawls when there is no catalog table yet, and when records wait for attributes "
            "that no column declares."
        ),
        minimum_interval_seconds=sensor_interval(settings, embedded=5, aws=60),
        default_status=sensor_status(settings),
        target=dg.AssetSelection.assets(
            *(asset_key(pipeline, CRAWLED_CATALOG_TABLE) for pipeline in settings.pipelines)
        ),
    )
    def sensor(context: dg.SensorEvaluationContext, cloud: CloudResource) -> dg.SensorResult:
        requests = []
        for pipeline in settings.pipelines:
            reason = crawl_reason(context.instance, cloud, pipeline)
            if reason:
                context.log.info("%s: %s", pipeline.name, reason)
                interval = sensor_interval(settings, embedded=20, aws=600)
                requests.append(
                    dg.RunRequest(
                        run_key=f"{pipeline.name}:crawl:{int(time.time()) // interval}",
                        asset_selection=[asset_key(pipeline, CRAWLED_CATALOG_TABLE)],
                        tags=run_tags(pipeline, STAGE),
                    )
                )
        return dg.SensorResult(
            run_requests=requests,
            skip_reason=None if requests else "Every table is crawled; no record waits for one.",
        )

    return sensor


def crawl_reason(
    instance: dg.DagsterInstance, cloud: CloudResource, pipeline: PipelineConfig
) -> str | None:
    """Why a crawl is due now; None where none is, or where one is under way."""
    if in_progress(instance, pipeline, STAGE):
        return None
    if find_table(cloud.glue, crawled_table(pipeline)) is None:
        answer = cloud.dynamodb.scan(TableName=pipeline.dynamodb_table, Limit=1, Select="COUNT")
        return "there are items and no catalog table" if answer["Count"] else None
    waiting = list(list_objects(cloud.s3, pipeline.bucket, HELD_PREFIX, limit=1000))
    newest = max((stored.modified_at for stored in waiting), default=0.0)
    event = instance.get_latest_materialization_event(asset_key(pipeline, CRAWLED_CATALOG_TABLE))
    if newest > crawl_started_at(event):
        return f"{len(waiting)} object(s) of records wait for undeclared attributes"
    return None


def crawl_started_at(event: dg.EventLogEntry | None) -> float:
    """When the crawl behind a materialisation began: what was written later it may have missed."""
    materialization = event.asset_materialization if event is not None else None
    entry = materialization.metadata.get("crawl_started_at") if materialization else None
    return float(entry.value) if isinstance(entry, dg.TimestampMetadataValue) else 0.0
