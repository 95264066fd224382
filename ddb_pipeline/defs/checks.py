"""Checks that read the data: no change is lost, no attribute has types in conflict."""

import time

import dagster as dg

from ddb_pipeline.config.pipeline import DeliverySchema, PipelineConfig
from ddb_pipeline.defs.asset_keys import CRAWLED_CATALOG_TABLE, PARQUET_STREAM, asset_key
from ddb_pipeline.defs.metadata import markdown_table
from ddb_pipeline.defs.stream_delivery import function_settings
from ddb_pipeline.dynamodb.tables import TableDescription, describe_table
from ddb_pipeline.functions.rules import destination
from ddb_pipeline.glue.crawled_table import CrawlTarget, key_attributes, observe_table
from ddb_pipeline.hive.infer import InferenceOptions, InferredSchema, inferred_schema
from ddb_pipeline.hive.names import EVENT_ID, column_name
from ddb_pipeline.lake.reconcile import (
    ExpectedChanges,
    Reconciliation,
    expected_changes,
    reconcile_lake,
)
from ddb_pipeline.resources.cloud import CloudResource

MAX_RECORDS = 50_000
ARRIVAL_SECONDS = 60.0


def nothing_lost_check(pipeline: PipelineConfig) -> dg.AssetChecksDefinition:
    """``nothing_lost``: the stream's changes reconciled with the lake."""

    @dg.asset_check(
        asset=asset_key(pipeline, PARQUET_STREAM),
        name="nothing_lost",
        description=(
            "Every change of the last 24 hours that had time to arrive is a row, a failed record "
            "with its reason, or a dead letter with its reason. Compares the DynamoDB stream with "
            "the lake."
        ),
    )
    def nothing_lost(cloud: CloudResource) -> dg.AssetCheckResult:
        expected, sums = balance(cloud, pipeline, time.time())
        return dg.AssetCheckResult(
            passed=sums.balanced,
            metadata={
                "stream_records": sums.expected,
                "rows": sums.rows,
                "waiting": sums.failed,
                "dead_lettered": sums.dead_lettered,
                "lost": sums.lost,
                "repeated": sums.repeated,
                "lost_keys": dg.MetadataValue.json([list(key) for key in sums.lost_identities]),
                "whole_stream": expected.complete,
            },
        )

    return nothing_lost


def type_conflicts_check(pipeline: PipelineConfig) -> dg.AssetChecksDefinition:
    """``type_conflicts``: the types that a sample of the items has."""

    @dg.asset_check(
        asset=asset_key(pipeline, CRAWLED_CATALOG_TABLE),
        name="type_conflicts",
        description=(
            "In a sample of the table's items, no attribute has values of several DynamoDB types "
            "that only a string column could hold."
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
    """A Markdown table of the attributes in conflict, with a row for each DynamoDB type."""
    rows = [
        (f"`{conflict.path}`", tag, str(count), ", ".join(f"`{key}`" for key in keys))
        for conflict in schema.conflicts
        for (tag, count), (_, keys) in zip(conflict.counts, conflict.examples, strict=True)
    ]
    if not rows:
        return "No conflicts."
    return markdown_table(("attribute", "type", "values", "keys of items"), rows)


def identity_columns(pipeline: PipelineConfig, table: TableDescription) -> list[str]:
    """The columns that identify a change: its event id, or the item's key without that column."""
    if pipeline.delivery_schema is DeliverySchema.LAKE:
        return [EVENT_ID]
    return [column_name(attribute) for attribute in table.key_attributes]


def balance(
    cloud: CloudResource, pipeline: PipelineConfig, now: float
) -> tuple[ExpectedChanges, Reconciliation]:
    """Reconcile the oldest changes of the stream with the lake, at ``now`` in epoch seconds."""
    name = pipeline.dynamodb_table
    table = describe_table(cloud.dynamodb, name)
    columns = identity_columns(pipeline, table)
    function = function_settings(cloud, pipeline)
    expected = expected_changes(
        cloud.dynamodb_streams,
        table.stream_arn,
        columns,
        before=now - pipeline.buffer_seconds - ARRIVAL_SECONDS,
        limit=MAX_RECORDS,
        is_delivered=lambda record: (
            destination(record._replace(table=name), function) == function.routing.default
        ),
    )
    filesystem = cloud.filesystem()
    sums = reconcile_lake(cloud.s3, filesystem, pipeline.bucket, expected, columns, until=now)
    return expected, sums
