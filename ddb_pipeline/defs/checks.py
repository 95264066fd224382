"""Checks that read the data itself: nothing is lost, no attribute has types in conflict."""

import time

import dagster as dg

from ddb_pipeline.config.pipeline import DeliverySchema, PipelineConfig
from ddb_pipeline.defs.asset_keys import CRAWLED_CATALOG_TABLE, PARQUET_STREAM, asset_key
from ddb_pipeline.defs.metadata import markdown_table
from ddb_pipeline.defs.stream_delivery import function_environment
from ddb_pipeline.functions.rules import destination
from ddb_pipeline.functions.stream_settings import read_settings
from ddb_pipeline.glue.crawled_table import CrawlTarget, key_attributes, observe_table
from ddb_pipeline.hive.infer import InferenceOptions, InferredSchema, inferred_schema
from ddb_pipeline.hive.names import column_name
from ddb_pipeline.lake.change_identity import EVENT_ID
from ddb_pipeline.lake.reconcile import (
    ExpectedChanges,
    Reconciliation,
    dead_letter_identities,
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
            "Each change that the stream remembers and that had time to arrive is a row, waits "
            "as a failed record with its reason, or is a dead letter with its own."
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
                "dead_lettered": sums.dead_lettered,
                "lost": sums.lost,
                "repeated": sums.repeated,
                "lost_keys": dg.MetadataValue.json([list(key) for key in sums.lost_identities]),
                "whole_stream": expected.complete,
            },
        )

    return nothing_lost


def type_conflicts_check(pipeline: PipelineConfig) -> dg.AssetChecksDefinition:
    @dg.asset_check(
        asset=asset_key(pipeline, CRAWLED_CATALOG_TABLE),
        name="type_conflicts",
        description=(
            "In a sample of the table's items, no attribute has values of types that no column "
            "type but string holds."
        ),
    )
    def type_conflicts(cloud: CloudResource) -> dg.AssetCheckResult:
        target = CrawlTarget(pipeline.dynamodb_table, scan_all=False)
        observed = observe_table(cloud.dynamodb, target)
        options = InferenceOptions(key_attributes(observed.description), pipeline.shapes)
        schema = inferred_schema(observed.inference, options)
        return dg.AssetCheckResult(
            passed=not schema.conflicts,
            severity=dg.AssetCheckSeverity.WARN,
            metadata={
                "items_read": observed.inference.items,
                "conflicts": len(schema.conflicts),
                "attributes": dg.MetadataValue.md(conflict_table(schema)),
                "without_column": dg.MetadataValue.json(list(schema.untyped)),
                "maps_keyed_by_data": dg.MetadataValue.json(list(schema.data_key_paths)),
            },
        )

    return type_conflicts


def conflict_table(schema: InferredSchema) -> str:
    """Attributes in conflict as Markdown: a row for each of DynamoDB's types seen there."""
    rows = [
        (f"`{conflict.path}`", tag, str(count), ", ".join(f"`{key}`" for key in keys))
        for conflict in schema.conflicts
        for (tag, count), (_, keys) in zip(conflict.counts, conflict.examples, strict=True)
    ]
    if not rows:
        return "No conflicts."
    return markdown_table(("attribute", "type", "values", "keys of items"), rows)


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
    function = read_settings(function_environment(cloud, pipeline))
    name = pipeline.dynamodb_table
    expected = expected_changes(
        cloud.dynamodb_streams,
        table["LatestStreamArn"],
        columns,
        before=now - pipeline.buffer_seconds - ARRIVAL_SECONDS,
        limit=MAX_RECORDS,
        wanted=lambda record: (
            destination(record._replace(table=name), function) == function.routing.default
        ),
    )
    # What waits is read before the rows: a record redelivered in between is found, not missed.
    waiting = waiting_identities(cloud.s3, pipeline.bucket, columns)
    dead_letters = dead_letter_identities(cloud.s3, pipeline.bucket, columns)
    keys = hour_keys(cloud.s3, pipeline.bucket, expected.since, now) if expected.counted else []
    rows = row_identities(cloud.filesystem(), pipeline.bucket, keys, columns)
    return expected, reconcile(expected.counted, rows, waiting, dead_letters)
