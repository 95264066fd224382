"""Demo traffic: search logs written to the demo's table while the embedded AWS runs."""

import json
import time

import dagster as dg

from ddb_pipeline.config.pipeline import PipelineConfig
from ddb_pipeline.config.settings import Settings
from ddb_pipeline.demo.search_logs import SearchLogs, demo_pseudonym_key
from ddb_pipeline.demo.traffic import write_items
from ddb_pipeline.resources.cloud import CloudResource

BUSY_ITEMS = 150
BUSY_TICKS = 8
TRICKLE_ITEMS = 10
REFINEMENTS_AFTER_SECONDS = 180.0


def demo_traffic_sensor(settings: Settings, pipeline: PipelineConfig) -> dg.SensorDefinition:
    """Writes 150 items a tick for the first eight ticks, then 10 a tick.

    After three minutes the items have ``refinements``, a String Set that was not there before.
    """

    @dg.sensor(
        name="demo_traffic",
        description=(
            "Writes anonymised search logs to the demo's DynamoDB table. After three minutes the "
            "items have a new String Set attribute, refinements."
        ),
        minimum_interval_seconds=5,
        default_status=dg.DefaultSensorStatus.RUNNING,
    )
    def demo_traffic(context: dg.SensorEvaluationContext, cloud: CloudResource) -> dg.SensorResult:
        now = time.time()
        cursor = json.loads(context.cursor or "{}")
        started_at = cursor.get("started_at", now)
        ticks = cursor.get("ticks", 0)
        count = BUSY_ITEMS if ticks < BUSY_TICKS else TRICKLE_ITEMS
        logs = SearchLogs(
            int(now * 1000),
            demo_pseudonym_key(settings.home),
            with_refinements=now > started_at + REFINEMENTS_AFTER_SECONDS,
        )
        dynamodb = cloud.for_pipeline(pipeline).dynamodb
        written = write_items(dynamodb, pipeline.dynamodb_table, logs.items(count, now))
        return dg.SensorResult(
            cursor=json.dumps({"started_at": started_at, "ticks": ticks + 1}),
            skip_reason=f"Wrote {written} items.",
        )

    return demo_traffic
