"""Replay: what both Lambda functions do, as ops on a given event or on a window of the stream."""

import time
from collections.abc import Iterable, Iterator, Mapping, Sequence
from itertools import islice
from typing import Any

import dagster as dg

from ddb_pipeline.config import PipelineConfig, Settings
from ddb_pipeline.defs.crawl import crawled_reference
from ddb_pipeline.dynamodb.stream_read import (
    describe_shards,
    lambda_event,
    parse_failure,
    read_failed_batch,
    read_shard,
)
from ddb_pipeline.functions.attributes import Redaction
from ddb_pipeline.functions.batch import Clients, process
from ddb_pipeline.functions.changes import Rules
from ddb_pipeline.functions.held import DeliveryTable
from ddb_pipeline.functions.report import Report
from ddb_pipeline.functions.stream_settings import StreamSettings, read_settings
from ddb_pipeline.functions.stream_to_firehose import load_transformer
from ddb_pipeline.glue.repair import changed_tables, fix_table, watched
from ddb_pipeline.resources.cloud import CloudResource

BATCH_RECORDS = 500
BATCH_SECONDS = 120.0


class FixEventConfig(dg.Config):
    """A Glue table-change event, as EventBridge gives it to the schema-fix function."""

    event: dict[str, Any]


class StreamEventConfig(dg.Config):
    """A saved event of the streaming function."""

    pipeline: str
    event: dict[str, Any]


class StreamWindowConfig(dg.Config):
    """A window of a table's stream, which keeps records for 24 hours.

    ``failure_message`` is the body of an on-failure message of the event source mapping; it names
    shard and sequence numbers itself. Without it and without ``shard_id`` every shard is read.
    """

    pipeline: str
    failure_message: str = ""
    shard_id: str = ""
    first_sequence_number: str = ""
    last_sequence_number: str = ""


def replay_jobs(settings: Settings) -> list[dg.JobDefinition]:
    """Jobs over the ops of this module, one op each."""

    @dg.op(description="Runs the schema-fix function's logic on an event.")
    def fix_schema(
        context: dg.OpExecutionContext, cloud: CloudResource, config: FixEventConfig
    ) -> None:
        known = [crawled_reference(pipeline) for pipeline in settings.pipelines]
        tables = watched(changed_tables(config.event), known)
        if not tables:
            context.log.info("The event names no table of these pipelines.")
        for table in tables:
            repair = fix_table(cloud.glue, table)
            context.log.info("%s: %d change(s).", table, len(repair.changes))

    @dg.op(description="Runs the streaming function's logic on a saved event.")
    def deliver_event(
        context: dg.OpExecutionContext, cloud: CloudResource, config: StreamEventConfig
    ) -> None:
        pipeline = settings.pipeline(config.pipeline)
        deliver(context, cloud, pipeline, [config.event])

    @dg.op(description="Reads a window of the stream again and delivers it.")
    def deliver_stream_records(
        context: dg.OpExecutionContext, cloud: CloudResource, config: StreamWindowConfig
    ) -> None:
        pipeline = settings.pipeline(config.pipeline)
        deliver(context, cloud, pipeline, window_events(cloud, pipeline, config))

    @dg.job(description="Fix the schema as the Lambda does, on a given table-change event.")
    def fix_schema_on_event() -> None:
        fix_schema()

    @dg.job(description="Deliver the records of a saved Lambda event again.")
    def replay_event() -> None:
        deliver_event()

    @dg.job(description="Deliver a window of the stream again, or a batch that failed for good.")
    def replay_stream() -> None:
        deliver_stream_records()

    return [fix_schema_on_event, replay_event, replay_stream]


def window_events(
    cloud: CloudResource, pipeline: PipelineConfig, config: StreamWindowConfig
) -> Iterator[Mapping[str, Any]]:
    """The window's records as events of the streaming function, parent shards first."""
    streams = cloud.dynamodb_streams
    if config.failure_message:
        batch = parse_failure(config.failure_message)
        yield lambda_event(read_failed_batch(streams, batch), batch.stream_arn)
        return
    table = cloud.dynamodb.describe_table(TableName=pipeline.dynamodb_table)["Table"]
    arn = table["LatestStreamArn"]
    shards = [shard.shard_id for shard in describe_shards(streams, arn)]
    first = int(config.first_sequence_number) if config.first_sequence_number else None
    last = int(config.last_sequence_number) if config.last_sequence_number else None
    for shard_id in [config.shard_id] if config.shard_id else shards:
        records = read_shard(streams, arn, shard_id, first=first, last=last)
        for batch_records in _batches(records):
            yield lambda_event(batch_records, arn)


def _batches(records: Iterable[Mapping[str, Any]]) -> Iterator[Sequence[Mapping[str, Any]]]:
    iterator = iter(records)
    while batch := list(islice(iterator, BATCH_RECORDS)):
        yield batch


def deliver(
    context: dg.OpExecutionContext,
    cloud: CloudResource,
    pipeline: PipelineConfig,
    events: Iterable[Mapping[str, Any]],
) -> None:
    """Deliver events under the deployed function's own settings; counts as output metadata.

    Raises:
        dagster.Failure: records were left over; the message names the first.
    """
    environment = function_environment(cloud, pipeline)
    settings = read_settings(environment)
    rules = Rules(
        settings,
        Redaction(settings.dropped, settings.pseudonymised, pseudonym_key(cloud, settings)),
        load_transformer(settings.transformer),
    )
    table = settings.delivery_table
    clients = Clients(cloud.firehose, cloud.s3, DeliveryTable(cloud.glue, table) if table else None)
    totals = {"received": 0, "delivered": 0, "held": 0, "dead_lettered": 0}
    for event in events:
        report = Report()
        left = process(event, rules, clients, report, time.monotonic() + BATCH_SECONDS)
        context.log.info(report.log_line(context, time.time()))
        for name in totals:
            totals[name] += getattr(report, name)
        if left:
            raise dg.Failure(
                f"Delivery stopped before sequence number {left}: {'; '.join(report.errors)}. "
                "Run the job again from there.",
                metadata=totals,
            )
    context.add_output_metadata(totals)


def function_environment(cloud: CloudResource, pipeline: PipelineConfig) -> dict[str, str]:
    """The environment of the deployed streaming function, so that a replay follows its settings."""
    name = f"{pipeline.name.replace('_', '-')}-stream-to-firehose"
    configuration = cloud.client("lambda").get_function_configuration(FunctionName=name)
    environment: dict[str, str] = configuration.get("Environment", {}).get("Variables", {})
    return environment


def pseudonym_key(cloud: CloudResource, settings: StreamSettings) -> bytes:
    if not settings.pseudonym_key_secret:
        return settings.pseudonym_key.encode("utf-8")
    secrets = cloud.client("secretsmanager")
    answer = secrets.get_secret_value(SecretId=settings.pseudonym_key_secret)
    return str(answer["SecretString"]).encode("utf-8")
