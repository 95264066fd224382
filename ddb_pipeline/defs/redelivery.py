"""Redelivery: what could not be converted comes back as rows once the schema takes it."""

import json
import time
from hashlib import sha256

import dagster as dg

from ddb_pipeline.config.names import delivery_table
from ddb_pipeline.config.pipeline import PipelineConfig
from ddb_pipeline.config.settings import Settings
from ddb_pipeline.defs.asset_keys import (
    LAKE_TABLE,
    REDELIVERED_RECORDS,
    asset_key,
    in_progress,
    run_tags,
    selection,
    sensor_interval,
    sensor_status,
)
from ddb_pipeline.defs.crawl import RETRY
from ddb_pipeline.defs.run_requests import (
    Asked,
    Remembered,
    due,
    has_failed,
    recalled,
    remembered,
)
from ddb_pipeline.glue.catalog import read_table
from ddb_pipeline.glue.watch import TableState, read_states
from ddb_pipeline.lake.layout import ERROR_PREFIX, REDELIVERED_PREFIX
from ddb_pipeline.lake.objects import StoredObject, list_objects
from ddb_pipeline.lake.redelivery import ObjectRedelivery, redeliver
from ddb_pipeline.resources.cloud import CloudResource

STAGE = "redelivery"
MAX_OBJECTS_PER_RUN = 1000
SHOWN_OBJECTS = 20


def redelivered_asset(pipeline: PipelineConfig) -> dg.AssetsDefinition:
    @dg.asset(
        key=asset_key(pipeline, REDELIVERED_RECORDS),
        deps=[asset_key(pipeline, LAKE_TABLE)],
        description=(
            "Rows recovered from failed records after a fix. Safe to run twice; records that "
            "still fail stay where they are, each with its reason."
        ),
        group_name=pipeline.name,
        kinds={"parquet", "s3"},
        retry_policy=RETRY,
        pool=f"redelivery_{pipeline.name}",
    )
    def redelivered_records(
        context: dg.AssetExecutionContext, cloud: CloudResource
    ) -> dg.MaterializeResult[None]:
        table = read_table(cloud.glue, delivery_table(pipeline))
        s3, filesystem = cloud.s3, cloud.filesystem()
        done: list[ObjectRedelivery] = []
        for stored in list(
            list_objects(s3, pipeline.bucket, ERROR_PREFIX, limit=MAX_OBJECTS_PER_RUN)
        ):
            outcome = redeliver(s3, filesystem, pipeline.bucket, stored, table.columns)
            context.log.info(
                "%s: %d row(s), %d waiting.", stored.key, outcome.rows, outcome.waiting
            )
            done.append(outcome)
        return dg.MaterializeResult(
            metadata={
                "dagster/row_count": sum(outcome.rows for outcome in done),
                "error_objects": len(done),
                "landed_before": sum(outcome.landed_before for outcome in done),
                "still_waiting": sum(outcome.waiting for outcome in done),
                "table_version": table.version_id,
                "objects": objects_table(done),
                "dagster/uri": f"s3://{pipeline.bucket}/{REDELIVERED_PREFIX}",
            }
        )

    return redelivered_records


def objects_table(done: list[ObjectRedelivery]) -> dg.MetadataValue:
    if not done:
        return dg.MetadataValue.md("No failed records.")
    rows = ["| error object | rows | waiting |", "|---|---|---|"]
    rows += [f"| {o.key} | {o.rows} | {o.waiting} |" for o in done[:SHOWN_OBJECTS]]
    if len(done) > SHOWN_OBJECTS:
        rows.append(f"| … {len(done) - SHOWN_OBJECTS} more | | |")
    return dg.MetadataValue.md("\n".join(rows))


def failed_records_sensor(settings: Settings) -> dg.SensorDefinition:
    """Redelivers where failed records lie and the delivery table is valid.

    Asked for again when objects appear or the table changes, and after a failed run, never for
    the same objects under the same table twice.
    """

    @dg.sensor(
        name="failed_records_sensor",
        description="Redelivers failed records once the schema they failed on is mended.",
        minimum_interval_seconds=sensor_interval(settings, embedded=5, aws=60),
        default_status=sensor_status(settings),
        target=selection(settings, REDELIVERED_RECORDS),
    )
    def sensor(context: dg.SensorEvaluationContext, cloud: CloudResource) -> dg.SensorResult:
        asked: dict[str, Remembered] = json.loads(context.cursor or "{}")
        states = read_states(cloud.glue, [delivery_table(p) for p in settings.pipelines])
        requests: list[dg.RunRequest] = []
        reasons: list[str] = []
        for pipeline in settings.pipelines:
            state = states.get(delivery_table(pipeline))
            objects = list(
                list_objects(cloud.s3, pipeline.bucket, ERROR_PREFIX, limit=MAX_OBJECTS_PER_RUN)
            )
            reason = reason_to_wait(context.instance, pipeline, state, objects)
            if reason is not None or state is None:
                reasons.append(f"{pipeline.name}: {reason}")
                continue
            request = due_run(
                context.instance, pipeline, signature(state, objects), asked, time.time()
            )
            if request is not None:
                requests.append(request)
        return dg.SensorResult(
            run_requests=requests,
            cursor=json.dumps(asked),
            skip_reason=None if requests else "; ".join(reasons) or "Nothing new to redeliver.",
        )

    return sensor


def reason_to_wait(
    instance: dg.DagsterInstance,
    pipeline: PipelineConfig,
    state: TableState | None,
    objects: list[StoredObject],
) -> str | None:
    if not objects:
        return "no failed records"
    if state is None:
        return f"{len(objects)} error object(s) wait for table {delivery_table(pipeline)}"
    if state.pending:
        return f"{len(objects)} error object(s) wait for the schema fix"
    if in_progress(instance, pipeline, STAGE):
        return "a redelivery is running"
    return None


def signature(state: TableState, objects: list[StoredObject]) -> str:
    """Names these failed records under this version of the delivery table."""
    parts = [state.version_key, *(f"{o.key} {o.etag}" for o in objects)]
    return sha256("\n".join(parts).encode("utf-8")).hexdigest()[:16]


def due_run(
    instance: dg.DagsterInstance,
    pipeline: PipelineConfig,
    wanted: str,
    asked: dict[str, Remembered],
    now: float,
) -> dg.RunRequest | None:
    """The run to ask for, remembered in ``asked`` as signature, attempt and time."""
    last = recalled(asked.get(pipeline.name))
    failed = last is not None and has_failed(instance, run_key(pipeline, last))
    request = due(last, wanted, failed, now=now)
    if request is None:
        return None
    asked[pipeline.name] = remembered(request)
    return dg.RunRequest(
        run_key=run_key(pipeline, request),
        asset_selection=[asset_key(pipeline, REDELIVERED_RECORDS)],
        tags=run_tags(pipeline, STAGE),
    )


def run_key(pipeline: PipelineConfig, asked: Asked) -> str:
    return f"{pipeline.name}:redelivery:{asked.version}:{asked.attempt}"
