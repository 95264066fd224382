"""Replay: what both Lambda functions do, as ops on a given event or on a window of the stream."""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from itertools import islice
from typing import Any

import dagster as dg

from ddb_pipeline.config.names import crawled_table
from ddb_pipeline.config.pipeline import PipelineConfig
from ddb_pipeline.config.settings import Settings
from ddb_pipeline.defs.stream_delivery import StreamDelivery
from ddb_pipeline.dynamodb.stream_read import (
    Shard,
    describe_shards,
    lambda_event,
    parse_failure,
    read_failed_batch,
    read_shard,
)
from ddb_pipeline.glue.repair import changed_tables, fix_table, watched
from ddb_pipeline.lake.dead_letters import archive, read_dead_letters, settle
from ddb_pipeline.lake.objects import StoredObject, list_objects
from ddb_pipeline.resources.cloud import CloudResource

BATCH_RECORDS = 500
MAX_OBJECTS = 10_000


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
    shard and sequence numbers itself. Without it and without ``shard_id`` every shard is read, as
    far as the sequence numbers reach into it.
    """

    pipeline: str
    failure_message: str = ""
    shard_id: str = ""
    first_sequence_number: str = ""
    last_sequence_number: str = ""


class DeadLettersConfig(dg.Config):
    """Dead letters of a pipeline: all of them, or those under a prefix of the bucket."""

    pipeline: str
    prefix: str = ""


def replay_jobs(settings: Settings) -> list[dg.JobDefinition]:
    """Jobs over the ops of this module, one op each."""

    @dg.op(description="Runs the schema-fix function's logic on an event.")
    def fix_schema(
        context: dg.OpExecutionContext, cloud: CloudResource, config: FixEventConfig
    ) -> None:
        known = [crawled_table(pipeline) for pipeline in settings.pipelines]
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
        delivery = StreamDelivery(context, cloud, settings.pipeline(config.pipeline))
        delivery.deliver(config.event)
        context.add_output_metadata(delivery.totals)

    @dg.op(description="Reads a window of the stream again and delivers it.")
    def deliver_stream_records(
        context: dg.OpExecutionContext, cloud: CloudResource, config: StreamWindowConfig
    ) -> None:
        pipeline = settings.pipeline(config.pipeline)
        delivery = StreamDelivery(context, cloud, pipeline)
        for event in window_events(cloud, pipeline, config):
            delivery.deliver(event)
        context.add_output_metadata(delivery.totals)

    @dg.op(description="Tries dead letters again under the function's present settings.")
    def deliver_dead_letters(
        context: dg.OpExecutionContext, cloud: CloudResource, config: DeadLettersConfig
    ) -> None:
        delivery = StreamDelivery(context, cloud, settings.pipeline(config.pipeline))
        objects = redeliver_letters(cloud, delivery, config.prefix)
        context.add_output_metadata({**delivery.totals, "objects": objects})

    @dg.job(description="Fix the schema as the Lambda does, on a given table-change event.")
    def fix_schema_on_event() -> None:
        fix_schema()

    @dg.job(description="Deliver the records of a saved Lambda event again.")
    def replay_event() -> None:
        deliver_event()

    @dg.job(description="Deliver a window of the stream again, or a batch that failed for good.")
    def replay_stream() -> None:
        deliver_stream_records()

    @dg.job(description="Deliver dead letters again, after a change of settings or of the item.")
    def replay_dead_letters() -> None:
        deliver_dead_letters()

    return [fix_schema_on_event, replay_event, replay_stream, replay_dead_letters]


def redeliver_letters(cloud: CloudResource, delivery: StreamDelivery, prefix: str) -> int:
    """Try the dead letters under a prefix again; answers with how many objects were settled.

    Letters that still cannot be delivered are dead letters again, of the same name where all of
    an object's are. Safe to run twice.

    Raises:
        dagster.Failure: a delivery stream does not take records now.
    """
    bucket = delivery.settings.dead_letter_bucket
    chosen = prefix or delivery.settings.dead_letter_prefix
    stored_objects = list(list_objects(cloud.s3, bucket, chosen, limit=MAX_OBJECTS))
    return sum(_redelivered(cloud, delivery, bucket, stored) for stored in stored_objects)


def _redelivered(
    cloud: CloudResource, delivery: StreamDelivery, bucket: str, stored: StoredObject
) -> bool:
    s3 = cloud.s3
    found = read_dead_letters(s3.get_object(Bucket=bucket, Key=stored.key)["Body"].read())
    if not found.letters:
        return False
    # First of all, for the delivery itself may write an object of the same name.
    archive(s3, bucket, stored)
    report = delivery.deliver(found.event)
    if report.dead_letter_key == stored.key:
        return False
    settle(s3, bucket, stored, found.unreadable)
    return True


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
    first = int(config.first_sequence_number) if config.first_sequence_number else None
    last = int(config.last_sequence_number) if config.last_sequence_number else None
    windows = (
        [(config.shard_id, first)]
        if config.shard_id
        else shard_windows(describe_shards(streams, arn), first, last)
    )
    for shard_id, begin in windows:
        records = read_shard(streams, arn, shard_id, first=begin, last=last)
        for batch_records in _batches(records):
            yield lambda_event(batch_records, arn)


def shard_windows(
    shards: Iterable[Shard], first: int | None, last: int | None
) -> list[tuple[str, int | None]]:
    """Shards that a window of sequence numbers reaches, each with where to begin in it.

    None begins with the shard's oldest record: a number outside of a shard is no place in it.
    """
    reached = [
        shard
        for shard in shards
        if (last is None or shard.first <= last)
        and (first is None or shard.last is None or shard.last >= first)
    ]
    return [
        (shard.shard_id, first if first is not None and first > shard.first else None)
        for shard in reached
    ]


def _batches(records: Iterable[Mapping[str, Any]]) -> Iterator[Sequence[Mapping[str, Any]]]:
    iterator = iter(records)
    while batch := list(islice(iterator, BATCH_RECORDS)):
        yield batch
