"""The sensor that watches Glue tables and has their schema mended."""

import json
import time
from collections.abc import Iterable, Mapping
from dataclasses import asdict, dataclass
from typing import Any

import dagster as dg
from botocore.exceptions import ClientError

from ddb_pipeline.client_errors import error_code
from ddb_pipeline.config.names import crawled_table
from ddb_pipeline.config.pipeline import PipelineConfig
from ddb_pipeline.config.settings import Settings
from ddb_pipeline.defs.asset_keys import (
    CRAWLED_CATALOG_TABLE,
    DATA_VERSION_TAG,
    LAKE_TABLE,
    NORMALIZED_SCHEMA,
    asset_key,
    latest_data_versions,
    run_tags,
    runs_of,
    selection,
    sensor_interval,
    sensor_status,
)
from ddb_pipeline.defs.metadata import schema_metadata
from ddb_pipeline.glue.catalog import CatalogTable
from ddb_pipeline.glue.watch import RunState, Seen, TableState, next_request, read_states
from ddb_pipeline.resources.cloud import CloudResource

STAGE = "schema"
MAX_MESSAGES_PER_TICK = 100
RECONCILE_EMBEDDED_SECONDS = 15
RECONCILE_AWS_SECONDS = 300


@dataclass(frozen=True, slots=True)
class Cursor:
    """What the sensor knows from its last tick: tables by pipeline, and when all were compared."""

    seen: Mapping[str, Seen]
    reconciled_at: float

    @classmethod
    def parse(cls, text: str | None) -> "Cursor":
        data: dict[str, Any] = json.loads(text) if text else {}
        seen = {name: Seen(**entry) for name, entry in data.get("seen", {}).items()}
        return cls(seen, data.get("reconciled_at", 0.0))

    def render(self) -> str:
        seen = {name: asdict(entry) for name, entry in self.seen.items()}
        return json.dumps({"seen": seen, "reconciled_at": self.reconciled_at})


def glue_table_change_sensor(settings: Settings) -> dg.SensorDefinition:
    """Level-triggered: a message only wakes it; what it does follows from the tables' state.

    Messages may be lost, doubled or late, so that every table is compared once an interval
    without any.
    """
    interval = sensor_interval(
        settings, embedded=RECONCILE_EMBEDDED_SECONDS, aws=RECONCILE_AWS_SECONDS
    )

    @dg.sensor(
        name="glue_table_change_sensor",
        description=(
            "Watches the crawled Glue tables and materialises the schema fix: woken by Glue's "
            "events, and once an interval without any."
        ),
        minimum_interval_seconds=sensor_interval(settings, embedded=3, aws=30),
        default_status=sensor_status(settings),
        target=selection(settings, NORMALIZED_SCHEMA, LAKE_TABLE),
    )
    def sensor(context: dg.SensorEvaluationContext, cloud: CloudResource) -> dg.SensorResult:
        cursor = Cursor.parse(context.cursor)
        now = time.time()
        woken = drain(cloud, settings.pipelines)
        runs = run_states(context.instance, cursor.seen)
        waiting = any(state is not RunState.SUCCEEDED for state in runs.values())
        if not woken and not waiting and now < cursor.reconciled_at + interval:
            return dg.SensorResult(skip_reason="No table-change event since the last comparison.")
        return compare(context.instance, cloud, settings, cursor, runs, now)

    return sensor


def compare(
    instance: dg.DagsterInstance,
    cloud: CloudResource,
    settings: Settings,
    cursor: Cursor,
    runs: Mapping[str, RunState],
    now: float,
) -> dg.SensorResult:
    """Compare every pipeline's table with what was last asked for, and ask for what is due."""
    references = {pipeline.name: crawled_table(pipeline) for pipeline in settings.pipelines}
    states = read_states(cloud.glue, references.values())
    seen = dict(cursor.seen)
    requests: list[dg.RunRequest] = []
    crawled: dict[dg.AssetKey, CatalogTable] = {}
    for pipeline in settings.pipelines:
        state = states.get(references[pipeline.name])
        before = seen.get(pipeline.name)
        run = runs.get(pipeline.name, RunState.SUCCEEDED)
        request = next_request(state, before, run, now)
        if state is None or request is None:
            continue
        seen[pipeline.name] = request
        requests.append(run_request(pipeline, request, state))
        if state.pending:
            crawled[asset_key(pipeline, CRAWLED_CATALOG_TABLE)] = state.table
    return dg.SensorResult(
        run_requests=requests,
        asset_events=list(crawled_materializations(instance, crawled)),
        cursor=Cursor(seen, now).render(),
        skip_reason=None if requests else f"Compared {len(states)} table(s): nothing to mend.",
    )


def run_key(pipeline_name: str, seen: Seen) -> str:
    return f"{pipeline_name}:schema:{seen.run_key}"


def run_states(instance: dg.DagsterInstance, seen: Mapping[str, Seen]) -> dict[str, RunState]:
    """What became of the run asked for last, by pipeline."""
    keys = {name: run_key(name, entry) for name, entry in seen.items()}
    runs = runs_of(instance, list(keys.values()))
    return {name: run_state(runs.get(key)) for name, key in keys.items()}


def run_state(run: dg.DagsterRun | None) -> RunState:
    if run is None:
        return RunState.UNKNOWN
    if run.status is dg.DagsterRunStatus.SUCCESS:
        return RunState.SUCCEEDED
    return RunState.FAILED if run.is_failure_or_canceled else RunState.IN_PROGRESS


def run_request(pipeline: PipelineConfig, request: Seen, state: TableState) -> dg.RunRequest:
    return dg.RunRequest(
        run_key=run_key(pipeline.name, request),
        asset_selection=[
            asset_key(pipeline, NORMALIZED_SCHEMA),
            asset_key(pipeline, LAKE_TABLE),
        ],
        tags={
            **run_tags(pipeline, STAGE),
            "ddb_pipeline/table_version": state.table.version_id,
            "ddb_pipeline/attempt": str(request.attempt),
        },
    )


def crawled_materializations(
    instance: dg.DagsterInstance, crawled: Mapping[dg.AssetKey, CatalogTable]
) -> Iterable[dg.AssetMaterialization]:
    """Reports tables that crawls outside Dagster left; one already reported is not again."""
    reported = latest_data_versions(instance, list(crawled))
    for key, table in crawled.items():
        if reported.get(key) != table.fingerprint:
            yield dg.AssetMaterialization(
                asset_key=key,
                description="Found by the sensor.",
                metadata=schema_metadata(table.reference, table.version_id, table.columns),
                tags={DATA_VERSION_TAG: table.fingerprint},
            )


def drain(cloud: CloudResource, pipelines: Iterable[PipelineConfig]) -> int:
    """Take the waiting table-change messages off the queues; answers with how many there were.

    Their content is not read: it says less than the table itself.
    """
    sqs = cloud.sqs
    count = 0
    for queue in sorted({pipeline.change_queue for pipeline in pipelines}):
        try:
            url = sqs.get_queue_url(QueueName=queue)["QueueUrl"]
        except ClientError as error:
            if error_code(error).endswith(("NonExistentQueue", "QueueDoesNotExist")):
                raise dg.Failure(
                    f"SQS queue {queue!r} does not exist. Deploy the template, or set "
                    "change_queue in the pipeline's configuration.",
                    allow_retries=False,
                ) from error
            raise
        taken = 0
        while taken < MAX_MESSAGES_PER_TICK:
            messages = sqs.receive_message(
                QueueUrl=url, MaxNumberOfMessages=10, WaitTimeSeconds=0
            ).get("Messages", [])
            if not messages:
                break
            sqs.delete_message_batch(
                QueueUrl=url,
                Entries=[
                    {"Id": str(i), "ReceiptHandle": m["ReceiptHandle"]}
                    for i, m in enumerate(messages)
                ],
            )
            taken += len(messages)
        count += taken
    return count
