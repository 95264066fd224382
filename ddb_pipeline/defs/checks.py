"""Checks that read the data: no change is lost, no attribute has types in conflict."""

import time
import zlib
from collections.abc import Sequence

import dagster as dg

from ddb_pipeline.config.choices import DeliverySchema
from ddb_pipeline.config.pipeline import PipelineConfig
from ddb_pipeline.config.settings import Settings
from ddb_pipeline.config.type_conflicts import suggested_line
from ddb_pipeline.defs.asset_keys import (
    CRAWLED_CATALOG_TABLE,
    PARQUET_STREAM,
    asset_key,
)
from ddb_pipeline.defs.automation import pipeline_schedule
from ddb_pipeline.defs.pipeline_asset import pipeline_check
from ddb_pipeline.defs.stream_delivery import delivery_rules, function_settings
from ddb_pipeline.dynamodb.stream import StreamRecord, UndecodableRecordError
from ddb_pipeline.dynamodb.tables import TableDescription, describe_table
from ddb_pipeline.functions.attributes import Redaction
from ddb_pipeline.functions.rules import Rules, destination, edited
from ddb_pipeline.functions.stream_settings import read_redaction
from ddb_pipeline.glue.crawled_table import CrawlTarget, key_attributes, observe_table
from ddb_pipeline.hive.infer import (
    InferenceOptions,
    InferredSchema,
    inferred_schema,
)
from ddb_pipeline.hive.names import EVENT_ID, column_name
from ddb_pipeline.lake.gaps import Span, report_gap
from ddb_pipeline.lake.reconcile import OnGap, Reconciliation, Source, reconcile
from ddb_pipeline.resources.cloud import CloudResource
from ddb_pipeline.resources.table_metadata import markdown_table

CHECK_STAGE = "check"
NOTHING_LOST = "nothing_lost"
ARRIVAL_SECONDS = 60.0
"""How long a change may take from the stream to S3, beside the time that Firehose buffers."""


def nothing_lost_check(pipeline: PipelineConfig) -> dg.AssetChecksDefinition:
    """``nothing_lost``: the stream's changes reconciled with the lake."""

    @pipeline_check(
        asset=asset_key(pipeline, PARQUET_STREAM),
        name=NOTHING_LOST,
        description=(
            "Every change of the last 24 hours that had time to arrive is a row, a failed record "
            "with its reason, or a dead letter with its reason. Compares the DynamoDB stream with "
            "the lake."
        ),
    )
    def nothing_lost(cloud: CloudResource) -> dg.AssetCheckResult:
        cloud = cloud.for_pipeline(pipeline)
        found = reconcile(source(cloud, pipeline), time.time, gap_reports(cloud, pipeline))
        return dg.AssetCheckResult(
            passed=found.balanced,
            # A gap proves no loss: it may have been a time without changes.
            severity=dg.AssetCheckSeverity.ERROR if found.lost else dg.AssetCheckSeverity.WARN,
            metadata=reconciliation_metadata(found),
        )

    return nothing_lost


def gap_reports(cloud: CloudResource, pipeline: PipelineConfig) -> OnGap:
    """Stores the gaps that a reconciliation finds."""

    def on_gap(span: Span, cause: str) -> None:
        report_gap(cloud.s3, pipeline.lake, span, cause, now=time.time())

    return on_gap


def nothing_lost_schedules(
    settings: Settings, checks: Sequence[dg.AssetChecksDefinition]
) -> list[dg.ScheduleDefinition]:
    """Runs ``nothing_lost`` while no hour changes, before the stream forgets what it has read.

    Three times a day, so that two runs may fail. The minute differs from pipeline to pipeline.
    """
    job = dg.define_asset_job(
        "check_nothing_lost",
        selection=dg.AssetSelection.checks(*checks),
        description="Checks that no change is lost, of all pipelines or of the selected ones.",
    )
    return [
        pipeline_schedule(
            settings,
            pipeline,
            NOTHING_LOST,
            stage=CHECK_STAGE,
            job=job,
            cron=f"{zlib.crc32(pipeline.name.encode()) % 60} */8 * * *",
            description=(
                "Checks that no change is lost, also while nothing is written to the table: the "
                "stream stores a change for 24 hours."
            ),
            request=dg.RunRequest(
                asset_selection=[],
                asset_check_keys=[
                    dg.AssetCheckKey(asset_key(pipeline, PARQUET_STREAM), NOTHING_LOST)
                ],
            ),
        )
        for pipeline in settings.pipelines
    ]


def reconciliation_metadata(found: Reconciliation) -> dict[str, dg.MetadataValue]:
    """The numbers of a reconciliation. Changes are named by event ids, never by their keys."""
    return {
        "stream_records": dg.MetadataValue.int(found.expected),
        "rows": dg.MetadataValue.int(found.rows),
        "waiting": dg.MetadataValue.int(found.failed),
        "dead_lettered": dg.MetadataValue.int(found.dead_lettered),
        "lost": dg.MetadataValue.int(found.lost),
        "repeated": dg.MetadataValue.int(found.repeated),
        "lost_events": dg.MetadataValue.json(found.lost_events),
        "lost_for_good": dg.MetadataValue.int(found.forgotten),
        "reconciled_until": dg.MetadataValue.timestamp(found.until),
        "not_reconciled": dg.MetadataValue.json(found.gaps),
        "whole_stream": dg.MetadataValue.bool(not found.gaps),
    }


def type_conflicts_check(pipeline: PipelineConfig) -> dg.AssetChecksDefinition:
    """``type_conflicts``: the types that a sample of the items has."""

    @pipeline_check(
        asset=asset_key(pipeline, CRAWLED_CATALOG_TABLE),
        name="type_conflicts",
        description=(
            "In a sample of the table's items, no attribute has values of several DynamoDB types "
            "that only a string column could hold, and about which nothing is decided "
            "(`type_conflicts`)."
        ),
    )
    def type_conflicts(cloud: CloudResource) -> dg.AssetCheckResult:
        target = CrawlTarget(pipeline.dynamodb_table, scan_all=False)
        observed = observe_table(cloud.for_pipeline(pipeline).dynamodb, target)
        options = InferenceOptions(
            key_attributes(observed.description), pipeline.shapes, pipeline.type_decisions
        )
        schema = inferred_schema(observed.inference, options)
        shows_keys = not configured_redaction(pipeline).includes(options.keys)
        return dg.AssetCheckResult(
            passed=not schema.conflicts,
            severity=dg.AssetCheckSeverity.WARN,
            metadata={
                "items_read": observed.inference.items,
                "conflicts": len(schema.conflicts),
                "attributes": dg.MetadataValue.md(conflict_table(schema, shows_keys)),
                "add_to_configuration": dg.MetadataValue.md(decisions_to_add(pipeline, schema)),
                "without_column": dg.MetadataValue.json(list(schema.untyped)),
                "maps_keyed_by_data": dg.MetadataValue.json(list(schema.data_key_paths)),
            },
        )

    return type_conflicts


def decisions_to_add(pipeline: PipelineConfig, schema: InferredSchema) -> str:
    """The lines of the configuration that decide about the attributes in conflict."""
    if not schema.conflicts:
        return "Nothing."
    return "\n".join(
        [
            f"Below `name = {pipeline.name!r}`; instead of `split` also `text`, `wider` or "
            '`refuse` (README, "Attributes of several types"):',
            "",
            "```toml",
            "[pipelines.type_conflicts]",
            *(suggested_line(conflict) for conflict in schema.conflicts),
            "```",
        ]
    )


def configured_redaction(pipeline: PipelineConfig) -> Redaction:
    """The attributes that the pipeline's streaming function is configured to redact."""
    settings = {setting.value: text for setting, text in pipeline.function_settings.items()}
    return read_redaction(settings, b"")


def conflict_table(schema: InferredSchema, shows_keys: bool = True) -> str:
    """A Markdown table of the attributes in conflict, with a row for each DynamoDB type.

    Keys that are redacted in the lake are not shown here either.
    """
    rows = [
        (
            f"`{conflict.path}`",
            tag,
            str(count),
            ", ".join(f"`{key}`" for key in keys) if shows_keys else "redacted",
        )
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


def source(cloud: CloudResource, pipeline: PipelineConfig) -> Source:
    """The pipeline's stream and lake, as the reconciliation needs them."""
    table = describe_table(cloud.dynamodb, pipeline.dynamodb_table)
    settings = function_settings(cloud, pipeline)
    columns = identity_columns(pipeline, table)
    # Event ids are delivered as they are: what changes only keys need not be known.
    by_key = columns != [EVENT_ID]
    rules = delivery_rules(cloud, settings) if by_key or settings.transformer else Rules(settings)

    def delivered(record: StreamRecord) -> StreamRecord | None:
        record = record._replace(table=pipeline.dynamodb_table)
        if destination(record, settings) != settings.routing.default:
            return None
        try:
            return edited(record, rules) if by_key or settings.transformer else record
        except UndecodableRecordError:
            # It becomes a dead letter, which is found by its event id.
            return record

    return Source(
        cloud.dynamodb_streams,
        table.stream_arn,
        cloud.s3,
        cloud.filesystem(),
        pipeline.lake,
        columns,
        pipeline.buffer_seconds + ARRIVAL_SECONDS,
        delivered,
    )
