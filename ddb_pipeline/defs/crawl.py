"""The crawl: the attributes that the DynamoDB table has now become the crawled catalog table."""

import time
from datetime import datetime, timezone
from typing import NamedTuple

import dagster as dg

from ddb_pipeline.config.choices import CrawlWith
from ddb_pipeline.config.names import crawled_table
from ddb_pipeline.config.pipeline import PipelineConfig
from ddb_pipeline.config.settings import Settings
from ddb_pipeline.defs.asset_keys import (
    CRAWLED_CATALOG_TABLE,
    DYNAMODB_TABLE,
    asset_key,
    selection,
)
from ddb_pipeline.defs.automation import (
    pipeline_schedule,
    sensor_interval,
    sensor_name,
    sensor_status,
)
from ddb_pipeline.defs.console_links import console_links
from ddb_pipeline.defs.metadata import crawled_changes, schema_metadata
from ddb_pipeline.defs.pipeline_asset import pipeline_asset
from ddb_pipeline.defs.run_requests import RunRequests, pipelines_in_progress
from ddb_pipeline.dynamodb.tables import has_items
from ddb_pipeline.glue.catalog import CatalogTable, find_table, read_table
from ddb_pipeline.glue.crawled_table import CrawlTarget, run_crawl
from ddb_pipeline.glue.crawler import run_crawler
from ddb_pipeline.lake.layout import HELD_PREFIX
from ddb_pipeline.lake.objects import list_objects
from ddb_pipeline.resources.cloud import CloudResource

STAGE = "crawl"
STARTED_AT = "crawl_started_at"
MAX_HELD_OBJECTS = 5000
DAY_SECONDS = 86_400.0


def crawl(
    cloud: CloudResource, pipeline: PipelineConfig, log: dg.DagsterLogManager
) -> CatalogTable:
    """Crawl with what ``crawl_with`` names; returns the catalog table as the crawl left it."""
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
            database=pipeline.database,
            table_prefix=pipeline.table_prefix,
            shapes=pipeline.shapes,
            decisions=pipeline.type_decisions,
        )
        log.info("Crawled %d items of %s.", result.items, pipeline.dynamodb_table)
    return read_table(cloud.glue, crawled_table(pipeline))


def crawled_asset(settings: Settings, pipeline: PipelineConfig) -> dg.AssetsDefinition:
    """``crawled_catalog_table``: runs the crawler and shows what it changed."""

    @pipeline_asset(
        key=asset_key(pipeline, CRAWLED_CATALOG_TABLE),
        deps=[asset_key(pipeline, DYNAMODB_TABLE)],
        description=(
            "The Glue table as the crawler left it, including types that Hive and Firehose "
            "refuse, such as `set<string>`."
        ),
        pipeline=pipeline,
        kinds={"glue"},
        metadata=console_links(settings, pipeline, catalog_table=crawled_table(pipeline)),
        pool=f"glue_{pipeline.name}",
    )
    def crawled_catalog_table(
        context: dg.AssetExecutionContext, cloud: CloudResource
    ) -> dg.MaterializeResult[None]:
        cloud = cloud.for_pipeline(pipeline)
        started_at = time.time()
        before = find_table(cloud.glue, crawled_table(pipeline))
        table = crawl(cloud, pipeline, context.log)
        return dg.MaterializeResult(
            metadata={
                **schema_metadata(table.reference, table.version_id, table.columns),
                "changes": crawled_changes(before.columns if before else (), table.columns),
                STARTED_AT: dg.MetadataValue.timestamp(started_at),
            },
            data_version=dg.DataVersion(table.fingerprint),
        )

    return crawled_catalog_table


def crawl_schedules(settings: Settings) -> list[dg.ScheduleDefinition]:
    """Crawls regularly, by each pipeline's ``crawl_schedule``."""
    job = dg.define_asset_job(
        "crawl_tables",
        selection=selection(settings, CRAWLED_CATALOG_TABLE),
        description="Crawls DynamoDB tables: all of them, or those whose assets are selected.",
    )
    return [
        pipeline_schedule(
            settings,
            pipeline,
            "crawl",
            stage=STAGE,
            job=job,
            cron=pipeline.crawl_schedule,
            description="Crawls the DynamoDB table, so that new attributes become columns.",
            request=dg.RunRequest(asset_selection=[asset_key(pipeline, CRAWLED_CATALOG_TABLE)]),
        )
        for pipeline in settings.pipelines
    ]


def crawl_sensor(settings: Settings) -> dg.SensorDefinition:
    """Requests a crawl where the next scheduled one would come too late."""
    pause = sensor_interval(settings, embedded=10, aws=600)

    @dg.sensor(
        name=sensor_name(settings, "crawl_sensor"),
        description=(
            "Materialises crawled_catalog_table when the table has items but no catalog table "
            "yet, and when records are held because they have attributes without a column."
        ),
        minimum_interval_seconds=sensor_interval(settings, embedded=5, aws=60),
        default_status=sensor_status(settings),
        asset_selection=selection(settings, CRAWLED_CATALOG_TABLE),
    )
    def sensor(context: dg.SensorEvaluationContext, cloud: CloudResource) -> dg.SensorResult:
        requests = RunRequests(context, STAGE, settings.pipelines)
        # Scheduled crawls included.
        crawling = pipelines_in_progress(context.instance, STAGE)

        def compare(pipeline: PipelineConfig) -> None:
            if pipeline.name in crawling:
                requests.skip(pipeline, "a crawl is in progress")
                return
            need = crawl_need(context.instance, cloud.for_pipeline(pipeline), pipeline)
            if need is not None:
                context.log.info("%s: %s", pipeline.name, need.reason)
                requests.request(pipeline, need.version, CRAWLED_CATALOG_TABLE, pause_seconds=pause)

        requests.visit(compare)
        return requests.result("Every table is crawled, and no record is held for a column.")

    return sensor


class CrawlNeed(NamedTuple):
    """Why a crawl is needed, for a reader; ``version`` differs for each new need."""

    reason: str
    version: str


def crawl_need(
    instance: dg.DagsterInstance, cloud: CloudResource, pipeline: PipelineConfig
) -> CrawlNeed | None:
    """Why a pipeline needs a crawl now; None where it needs none."""
    event = instance.get_latest_materialization_event(asset_key(pipeline, CRAWLED_CATALOG_TABLE))
    crawled_at = crawl_started_at(event)
    if find_table(cloud.glue, crawled_table(pipeline)) is None:
        if not has_items(cloud.dynamodb, pipeline.dynamodb_table):
            return None
        return CrawlNeed("The table has items, but no catalog table.", f"no-table-{crawled_at}")
    if not held_since(cloud, pipeline, crawled_at):
        return None
    return CrawlNeed("Records are held that no crawl has seen.", f"held-{crawled_at}")


def held_since(cloud: CloudResource, pipeline: PipelineConfig, crawled_at: float) -> bool:
    """Whether records were held after the last crawl.

    The keys contain the day of the change, which a record of the stream can be behind by a day.
    Held records of earlier days, which may never convert, are not listed.
    """
    day = datetime.fromtimestamp(max(0.0, crawled_at - 2 * DAY_SECONDS), timezone.utc)
    found = list_objects(
        cloud.s3,
        pipeline.lake,
        HELD_PREFIX,
        limit=MAX_HELD_OBJECTS,
        start_after=f"{HELD_PREFIX}{day:%Y-%m-%d}",
    )
    return any(stored.modified_at > crawled_at for stored in found)


def crawl_started_at(event: dg.EventLogEntry | None) -> float:
    """When the crawl behind a materialisation started, epoch seconds; 0 where that is not known.

    The crawl may have missed what was written later.
    """
    materialization = event.asset_materialization if event is not None else None
    entry = materialization.metadata.get(STARTED_AT) if materialization else None
    return float(entry.value) if isinstance(entry, dg.TimestampMetadataValue) else 0.0
