"""Replay: what both Lambda functions do, as jobs on a given event or on a window of the stream."""

from collections.abc import Iterator, Mapping
from typing import Any

import dagster as dg
from pydantic import Field

from ddb_pipeline.config.names import crawled_table
from ddb_pipeline.config.pipeline import PipelineConfig
from ddb_pipeline.config.settings import Settings
from ddb_pipeline.defs.failures import readable_failures
from ddb_pipeline.defs.stream_delivery import StreamDelivery
from ddb_pipeline.dynamodb.stream_read import RecordsTrimmedError
from ddb_pipeline.dynamodb.stream_window import StreamWindow, failed_batch_event, window_events
from ddb_pipeline.dynamodb.tables import describe_table
from ddb_pipeline.functions.stream_settings import StreamSettings
from ddb_pipeline.glue.repair import changed_tables, fix_table, watched
from ddb_pipeline.lake.dead_letters import redeliver_letters
from ddb_pipeline.lake.objects import list_objects
from ddb_pipeline.lake.root import LakeRoot
from ddb_pipeline.resources.cloud import CloudResource

REPLAY_STREAM = "replay_stream"
REPLAY_STREAM_OP = "deliver_stream_records"
TRIMMED_TAG = "ddb_pipeline/trimmed"
"""Marks a run that found that the stream no longer holds its records."""


class FixEventConfig(dg.Config):
    """The event of a schema fix."""

    event: dict[str, Any] = Field(
        description="A Glue table-change event, as EventBridge sends it to the schema-fix Lambda."
    )


class StreamEventConfig(dg.Config):
    """The event of a delivery."""

    pipeline: str = Field(description="The pipeline's name.")
    event: dict[str, Any] = Field(description="A saved event of the streaming Lambda.")


class StreamWindowConfig(dg.Config):
    """A window of a table's stream, which holds records for 24 hours."""

    pipeline: str = Field(description="The pipeline's name.")
    failure_message: str = Field(
        default="",
        description=(
            "The body of an on-failure message of the event source mapping. It contains the shard "
            "and the sequence numbers; the members below are then ignored."
        ),
    )
    shard_id: str = Field(default="", description="The shard; all shards by default.")
    first_sequence_number: str = Field(
        default="", description="The first record; the oldest of the stream by default."
    )
    last_sequence_number: str = Field(
        default="", description="The last record; the newest of the stream by default."
    )

    @property
    def window(self) -> StreamWindow:
        """The window with its numbers as integers."""
        first, last = self.first_sequence_number, self.last_sequence_number
        return StreamWindow(
            self.shard_id, int(first) if first else None, int(last) if last else None
        )


class DeadLettersConfig(dg.Config):
    """Dead letters of a pipeline."""

    pipeline: str = Field(description="The pipeline's name.")
    prefix: str = Field(
        default="",
        description="The prefix of the objects in the lake; by default that of all dead letters.",
    )


def replay_jobs(settings: Settings) -> list[dg.JobDefinition]:
    """The jobs of this module, each with one op."""
    return [
        fix_schema_job(settings),
        replay_event_job(settings),
        replay_stream_job(settings),
        replay_dead_letters_job(settings),
    ]


def fix_schema_job(settings: Settings) -> dg.JobDefinition:
    """``fix_schema_on_event``: what the schema-fix function does on an event."""

    @dg.op(description="Repairs the catalog tables that a table-change event names.")
    @readable_failures
    def fix_schema(
        context: dg.OpExecutionContext, cloud: CloudResource, config: FixEventConfig
    ) -> None:
        known = {
            crawled_table(each): each
            for each in settings.pipelines
            if is_of_its_catalog(config.event, each)
        }
        tables = watched(changed_tables(config.event), tuple(known))
        if not tables:
            context.log.info("The event names no table of these pipelines.")
        for table in tables:
            pipeline = known[table]
            glue = cloud.for_pipeline(pipeline).glue
            repair = fix_table(glue, table, pipeline.type_decisions)
            context.log.info("%s: %d change(s).", table, len(repair.changes))

    @dg.job(
        description="Repairs the schema as the schema-fix Lambda does, for a table-change event."
    )
    def fix_schema_on_event() -> None:
        fix_schema()

    return fix_schema_on_event


def is_of_its_catalog(event: Mapping[str, Any], pipeline: PipelineConfig) -> bool:
    """Whether an event may be of a pipeline's catalog, by the region and the account in it."""
    region, account = str(event.get("region", "")), str(event.get("account", ""))
    if pipeline.catalog_id and account != pipeline.catalog_id:
        return False
    return region in ("", pipeline.region)


def replay_event_job(settings: Settings) -> dg.JobDefinition:
    """``replay_event``: what the streaming function does on an event."""

    @dg.op(description="Delivers the records of a saved event to Firehose.")
    @readable_failures
    def deliver_event(
        context: dg.OpExecutionContext, cloud: CloudResource, config: StreamEventConfig
    ) -> None:
        pipeline = settings.pipeline(config.pipeline)
        delivery = StreamDelivery(context, cloud.for_pipeline(pipeline), pipeline)
        delivery.deliver(config.event)
        context.add_output_metadata(delivery.totals)

    @dg.job(description="Delivers the records of a saved event of the streaming Lambda again.")
    def replay_event() -> None:
        deliver_event()

    return replay_event


def replay_stream_job(settings: Settings) -> dg.JobDefinition:
    """``replay_stream``: a window of the stream, or a failed batch."""

    @dg.op(
        name=REPLAY_STREAM_OP,
        description="Reads a window of the stream and delivers its records to Firehose.",
    )
    @readable_failures
    def deliver_stream_records(
        context: dg.OpExecutionContext, cloud: CloudResource, config: StreamWindowConfig
    ) -> None:
        pipeline = settings.pipeline(config.pipeline)
        cloud = cloud.for_pipeline(pipeline)
        delivery = StreamDelivery(context, cloud, pipeline)
        try:
            for event in requested_events(cloud, pipeline, config):
                delivery.deliver(event)
        except RecordsTrimmedError as error:
            context.instance.add_run_tags(context.run_id, {TRIMMED_TAG: "true"})
            raise dg.Failure(str(error), metadata=delivery.totals, allow_retries=False) from error
        context.add_output_metadata(delivery.totals)

    @dg.job(
        name=REPLAY_STREAM,
        description=(
            "Delivers a window of the stream again, or the batch of an on-failure message of the "
            "streaming Lambda."
        ),
    )
    def replay_stream() -> None:
        deliver_stream_records()

    return replay_stream


def requested_events(
    cloud: CloudResource, pipeline: PipelineConfig, config: StreamWindowConfig
) -> Iterator[Mapping[str, Any]]:
    """The events of a failed batch, or of a window of the stream.

    Raises:
        StreamReadError: the records cannot be read, or the stream no longer holds them.
    """
    streams = cloud.dynamodb_streams
    if config.failure_message:
        yield failed_batch_event(streams, config.failure_message)
    else:
        table = describe_table(cloud.dynamodb, pipeline.dynamodb_table)
        yield from window_events(streams, table.stream_arn, config.window)


def failed_batch_config(pipeline: PipelineConfig, message: str) -> dg.RunConfig:
    """Configures a run of ``replay_stream`` for the batch of an on-failure message."""
    config = StreamWindowConfig(pipeline=pipeline.name, failure_message=message)
    return dg.RunConfig(ops={REPLAY_STREAM_OP: config})


def replay_dead_letters_job(settings: Settings) -> dg.JobDefinition:
    """``replay_dead_letters``: changes that could not be delivered, tried again."""

    @dg.op(description="Delivers dead letters with the streaming function's current settings.")
    @readable_failures
    def deliver_dead_letters(
        context: dg.OpExecutionContext, cloud: CloudResource, config: DeadLettersConfig
    ) -> None:
        pipeline = settings.pipeline(config.pipeline)
        cloud = cloud.for_pipeline(pipeline)
        delivery = StreamDelivery(context, cloud, pipeline)
        lake = letters_lake(delivery.settings, pipeline)
        prefix = config.prefix or lake.key_of(delivery.settings.dead_letter_prefix) or ""
        # Listed page by page: objects whose letters cannot be delivered yet hide no others.
        removed = sum(
            redeliver_letters(
                cloud.s3,
                lake,
                stored,
                lambda event: lake.key_of(delivery.deliver(event).dead_letter_key) or "",
            )
            for stored in list_objects(cloud.s3, lake, prefix)
        )
        context.add_output_metadata({**delivery.totals, "objects": removed})

    @dg.job(
        description=(
            "Delivers dead letters again, after the streaming Lambda's settings have been changed."
        )
    )
    def replay_dead_letters() -> None:
        deliver_dead_letters()

    return replay_dead_letters


def letters_lake(settings: StreamSettings, pipeline: PipelineConfig) -> LakeRoot:
    """Where a function with these settings stores dead letters.

    Raises:
        dg.Failure: not in the pipeline's lake.
    """
    lake = LakeRoot(settings.dead_letter_bucket, pipeline.lake.prefix)
    if lake.key_of(settings.dead_letter_prefix) is None:
        raise dg.Failure(
            f"The function of {pipeline.name!r} stores dead letters under "
            f"{settings.dead_letter_prefix!r}, which is not under lake_prefix "
            f"{pipeline.lake_prefix!r}. Deploy the pipeline, then run again.",
            allow_retries=False,
        )
    return lake
