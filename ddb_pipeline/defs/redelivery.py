"""Redelivery: failed records become rows once the delivery table accepts them."""

from collections.abc import Sequence
from typing import TYPE_CHECKING

import dagster as dg

from ddb_pipeline.config.names import delivery_table
from ddb_pipeline.config.pipeline import PipelineConfig
from ddb_pipeline.config.settings import Settings
from ddb_pipeline.defs.asset_keys import LAKE_TABLE, REDELIVERED_RECORDS, asset_key, selection
from ddb_pipeline.defs.automation import RETRY, sensor_interval, sensor_status
from ddb_pipeline.defs.metadata import markdown_table
from ddb_pipeline.defs.run_requests import RunRequests
from ddb_pipeline.glue.catalog import read_table
from ddb_pipeline.glue.watch import TableState, read_states
from ddb_pipeline.lake.content import content_version
from ddb_pipeline.lake.layout import ERROR_PREFIX, REDELIVERED_PREFIX
from ddb_pipeline.lake.objects import StoredObject, list_objects
from ddb_pipeline.lake.redelivery import ObjectRedelivery, redeliver
from ddb_pipeline.resources.cloud import CloudResource

if TYPE_CHECKING:
    from mypy_boto3_s3.client import S3Client

STAGE = "redelivery"
MAX_OBJECTS_PER_RUN = 1000
SHOWN_OBJECTS = 20


def redelivered_asset(pipeline: PipelineConfig) -> dg.AssetsDefinition:
    """``redelivered_records``: the oldest error objects, converted again."""

    @dg.asset(
        key=asset_key(pipeline, REDELIVERED_RECORDS),
        deps=[asset_key(pipeline, LAKE_TABLE)],
        description=(
            "Rows recovered from records that Firehose could not convert and from held records, "
            "after the schema has been repaired. A record that still fails stays in its error "
            "object with the reason. A run can be repeated safely."
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
        for stored in error_objects(s3, pipeline.bucket):
            outcome = redeliver(s3, filesystem, pipeline.bucket, stored, table.columns)
            context.log.info(
                "%s: %d row(s), %d record(s) still fail.", stored.key, outcome.rows, outcome.failed
            )
            done.append(outcome)
        return dg.MaterializeResult(
            metadata={
                **redelivery_metadata(done),
                "table_version": table.version_id,
                "dagster/uri": f"s3://{pipeline.bucket}/{REDELIVERED_PREFIX}",
            }
        )

    return redelivered_records


def error_objects(s3: "S3Client", bucket: str) -> list[StoredObject]:
    """The bucket's error objects in key order, at most as many as one run redelivers."""
    return list(list_objects(s3, bucket, ERROR_PREFIX, limit=MAX_OBJECTS_PER_RUN))


def redelivery_metadata(done: Sequence[ObjectRedelivery]) -> dict[str, dg.MetadataValue]:
    """The sums over the error objects of a run, and what became of the first of them."""
    rows = [(o.key, str(o.rows), str(o.failed)) for o in done[:SHOWN_OBJECTS]]
    if len(done) > SHOWN_OBJECTS:
        rows.append((f"… {len(done) - SHOWN_OBJECTS} more", "", ""))
    table = markdown_table(("error object", "rows", "still failing"), rows)
    return {
        "dagster/row_count": dg.MetadataValue.int(sum(o.rows for o in done)),
        "error_objects": dg.MetadataValue.int(len(done)),
        "landed_before": dg.MetadataValue.int(sum(o.landed_before for o in done)),
        "still_waiting": dg.MetadataValue.int(sum(o.failed for o in done)),
        "objects": dg.MetadataValue.md(table if done else "No failed records."),
    }


def failed_records_sensor(settings: Settings) -> dg.SensorDefinition:
    """Requests a redelivery where there are failed records and the delivery table is valid.

    A new one when error objects or the table change; never a second successful one for the same
    objects under the same table.
    """

    @dg.sensor(
        name="failed_records_sensor",
        description=(
            "Materialises redelivered_records when there are failed records and the schema that "
            "they failed on has been repaired."
        ),
        minimum_interval_seconds=sensor_interval(settings, embedded=5, aws=60),
        default_status=sensor_status(settings),
        target=selection(settings, REDELIVERED_RECORDS),
    )
    def sensor(context: dg.SensorEvaluationContext, cloud: CloudResource) -> dg.SensorResult:
        requests = RunRequests(context, STAGE, settings.pipelines)
        states = read_states(cloud.glue, [delivery_table(p) for p in settings.pipelines])
        s3 = cloud.s3
        for pipeline in settings.pipelines:
            table = delivery_table(pipeline)
            state, objects = states.get(table), error_objects(s3, pipeline.bucket)
            if not objects:
                requests.skip(pipeline, "no failed records")
            elif state is None:
                requests.skip(pipeline, f"{len(objects)} error object(s), but no table {table} yet")
            elif state.pending:
                requests.skip(pipeline, f"{len(objects)} error object(s) wait for the schema fix")
            else:
                version = redelivery_version(state, objects)
                requests.request(pipeline, version, REDELIVERED_RECORDS)
        return requests.result("No error object or table has changed since the last redelivery.")

    return sensor


def redelivery_version(state: TableState, objects: Sequence[StoredObject]) -> str:
    """Identifies these error objects under this version of the delivery table."""
    return f"{state.version_key}-{content_version(objects)}"
