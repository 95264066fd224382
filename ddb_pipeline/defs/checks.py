"""The check that nothing is lost: stream records = rows + records that wait."""

import time

import dagster as dg

from ddb_pipeline.config import DeliverySchema, PipelineConfig
from ddb_pipeline.defs.asset_keys import PARQUET_STREAM, asset_key
from ddb_pipeline.hive.names import column_name
from ddb_pipeline.lake.reconcile import (
    EVENT_ID,
    ExpectedChanges,
    Reconciliation,
    expected_changes,
    hour_keys,
    reconcile,
    row_identities,
    waiting_identities,
)
from ddb_pipeline.resources.cloud import CloudResource

MAX_RECORDS = 50_000
ARRIVAL_SECONDS = 60.0


def nothing_lost_check(pipeline: PipelineConfig) -> dg.AssetChecksDefinition:
    @dg.asset_check(
        asset=asset_key(pipeline, PARQUET_STREAM),
        name="nothing_lost",
        description=(
            "Each change that the stream remembers and that had time to arrive is a row, or "
            "waits as a failed record with its reason."
        ),
    )
    def nothing_lost(cloud: CloudResource) -> dg.AssetCheckResult:
        expected, sums = balance(cloud, pipeline, time.time())
        return dg.AssetCheckResult(
            passed=sums.balanced,
            metadata={
                "stream_records": sums.expected,
                "rows": sums.rows,
                "waiting": sums.waiting,
                "lost": sums.lost,
                "repeated": sums.repeated,
                "lost_keys": dg.MetadataValue.json([list(key) for key in sums.lost_identities]),
                "whole_stream": expected.complete,
            },
        )

    return nothing_lost


def identity_columns(cloud: CloudResource, pipeline: PipelineConfig) -> list[str]:
    """What tells changes apart: their event id where the lake has it, else the item's key."""
    if pipeline.delivery_schema is DeliverySchema.LAKE:
        return [EVENT_ID]
    table = cloud.dynamodb.describe_table(TableName=pipeline.dynamodb_table)["Table"]
    return [column_name(key["AttributeName"]) for key in table["KeySchema"]]


def balance(
    cloud: CloudResource, pipeline: PipelineConfig, now: float
) -> tuple[ExpectedChanges, Reconciliation]:
    """Add up the oldest changes that the stream holds against rows and waiting records."""
    columns = identity_columns(cloud, pipeline)
    table = cloud.dynamodb.describe_table(TableName=pipeline.dynamodb_table)["Table"]
    expected = expected_changes(
        cloud.dynamodb_streams,
        table["LatestStreamArn"],
        columns,
        before=now - pipeline.buffer_seconds - ARRIVAL_SECONDS,
        limit=MAX_RECORDS,
    )
    # What waits is read before the rows: a record redelivered in between is found, not missed.
    waiting = waiting_identities(cloud.s3, pipeline.bucket, columns)
    keys = hour_keys(cloud.s3, pipeline.bucket, expected.since, now) if expected.counted else []
    rows = row_identities(cloud.filesystem(), pipeline.bucket, keys, columns)
    return expected, reconcile(expected.counted, rows, waiting)
