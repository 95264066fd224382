"""Demo traffic: log items trickling into the table while the embedded AWS runs."""

import json
import time

import dagster as dg

from ddb_pipeline.config import PipelineConfig, Settings
from ddb_pipeline.defs.crawl import crawled_reference
from ddb_pipeline.demo.search_logs import SearchLogs, pseudonym_key
from ddb_pipeline.demo.traffic import write_items
from ddb_pipeline.glue.catalog import find_table
from ddb_pipeline.resources.cloud import CloudResource

FIRST_ITEMS = 100
BULK_ITEMS = 1000
TRICKLE_ITEMS = 20
REFINEMENTS_AFTER_SECONDS = 180.0


def demo_traffic_sensor(settings: Settings, pipeline: PipelineConfig) -> dg.SensorDefinition:
    """A few items first, many once the catalog knows the table, then a trickle.

    After three minutes the items carry ``refinements``, a String Set that was not there before.
    """

    @dg.sensor(
        name="demo_traffic",
        description=(
            "Writes anonymised search logs to the demo's DynamoDB table; a new String Set "
            "attribute appears after three minutes."
        ),
        minimum_interval_seconds=10,
        default_status=dg.DefaultSensorStatus.RUNNING,
    )
    def demo_traffic(context: dg.SensorEvaluationContext, cloud: CloudResource) -> dg.SensorResult:
        now = time.time()
        cursor = json.loads(context.cursor or "{}")
        started_at = cursor.get("started_at", now)
        count = FIRST_ITEMS
        if cursor:
            if find_table(cloud.glue, crawled_reference(pipeline)) is None:
                return dg.SensorResult(skip_reason="Waiting for the first crawl.")
            count = TRICKLE_ITEMS if cursor.get("bulk") else BULK_ITEMS
        logs = SearchLogs(
            int(now * 1000),
            pseudonym_key(settings.home / "demo-pseudonym.key"),
            with_refinements=now > started_at + REFINEMENTS_AFTER_SECONDS,
        )
        written = write_items(cloud.dynamodb, pipeline.dynamodb_table, logs.items(count, now))
        return dg.SensorResult(
            cursor=json.dumps({"started_at": started_at, "bulk": bool(cursor)}),
            skip_reason=f"Wrote {written} items.",
        )

    return demo_traffic
