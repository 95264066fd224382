"""The consumer job: reads the DynamoDB stream in Dagster, in place of the streaming Lambda."""

import json
import time
from collections.abc import Collection, Mapping, Sequence
from typing import Any

import dagster as dg
from pydantic import Field

from ddb_pipeline.config.choices import GapPolicy, StreamReader
from ddb_pipeline.config.names import checkpoint_table
from ddb_pipeline.config.pipeline import PipelineConfig
from ddb_pipeline.config.settings import Settings
from ddb_pipeline.defs.asset_keys import run_tags
from ddb_pipeline.defs.automation import sensor_interval, sensor_name, sensor_status
from ddb_pipeline.defs.failures import readable_failures
from ddb_pipeline.defs.run_requests import pipelines_in_progress, runs_by_key
from ddb_pipeline.defs.stream_delivery import StreamDelivery
from ddb_pipeline.dynamodb.stream_checkpoints import Checkpoints
from ddb_pipeline.dynamodb.stream_consumer import Consumption, Limits, consume
from ddb_pipeline.dynamodb.stream_read import lambda_event
from ddb_pipeline.dynamodb.tables import describe_table
from ddb_pipeline.lake.gaps import report_gap
from ddb_pipeline.lake.reconciliation_state import RETENTION_SECONDS
from ddb_pipeline.resources.cloud import CloudResource

STAGE = "consume"
JOB = "consume_stream"
OP = "consume_stream_records"
RECORDS_TAG = "ddb_pipeline/records"
"""The number of records that a run delivered."""
TRIM_MARGIN_SECONDS = 3600.0
"""Seconds before its end of retention at which a record may be trimmed, with some to spare."""
LONGEST_GAP_SECONDS = 35 * 86_400.0
"""Length of a gap whose beginning is not known: as far as point-in-time recovery reaches."""


class ConsumeConfig(dg.Config):
    """Which stream a run reads, and its limits."""

    pipeline: str = Field(description="The pipeline's name.")
    max_records: int = Field(default=100_000, gt=0, description="Limit of records for a run.")
    max_seconds: float = Field(default=300.0, gt=0, description="Limit of seconds for a run.")
    skip_trimmed: bool = Field(
        default=False,
        description=(
            "Continue with the oldest record of the stream where the next one has been trimmed "
            "(after 24 hours). With gap_policy = heal a run always does, and healed_gaps fills the "
            "gap."
        ),
    )


def consume_job(settings: Settings) -> dg.JobDefinition:
    """``consume_stream``: continues where the last run ended; several runs share the shards."""

    @dg.op(name=OP, description="Delivers the stream's records after the checkpoints to Firehose.")
    @readable_failures
    def consume_stream_records(
        context: dg.OpExecutionContext, cloud: CloudResource, config: ConsumeConfig
    ) -> None:
        pipeline = settings.pipeline(config.pipeline)
        cloud = cloud.for_pipeline(pipeline)
        arn = describe_table(cloud.dynamodb, pipeline.dynamodb_table).stream_arn
        delivery = StreamDelivery(context, cloud, pipeline)

        def deliver(records: Sequence[Mapping[str, Any]]) -> str:
            left, _ = delivery.attempt(lambda_event(records, arn))
            return left

        def on_trimmed(shard_id: str, delivered_until: float) -> None:
            now = time.time()
            end = now - RETENTION_SECONDS + TRIM_MARGIN_SECONDS
            start = delivered_until or end - LONGEST_GAP_SECONDS
            cause = f"The stream trimmed records of shard {shard_id} before they were read."
            report_gap(cloud.s3, pipeline.lake, (min(start, end), end), cause, now=now)

        done = consume(
            cloud.dynamodb_streams,
            arn,
            Checkpoints(cloud.dynamodb, checkpoint_table(pipeline), arn, context.run_id),
            deliver,
            Limits(records=config.max_records, seconds=config.max_seconds),
            skip_trimmed=config.skip_trimmed or pipeline.gap_policy is GapPolicy.HEAL,
            on_trimmed=on_trimmed,
        )
        metadata = {**delivery.totals, **consumption_metadata(done)}
        if done.stopped or done.trimmed:
            raise dg.Failure(failure_text(done), metadata=metadata)
        context.add_output_metadata(metadata)
        context.instance.add_run_tags(context.run_id, {RECORDS_TAG: str(done.records)})

    @dg.job(
        name=JOB,
        description=(
            "Reads a table's stream without the streaming Lambda, from where the last run ended."
        ),
    )
    def consume_stream() -> None:
        consume_stream_records()

    return consume_stream


def consumption_metadata(done: Consumption) -> dict[str, Any]:
    """What a run read and what it left, for the run's page."""
    return {
        "records": done.records,
        "shards_read": done.shards,
        "shards_finished": done.finished,
        "shards_leased_by_others": len(done.leased),
        "shards_behind_parents": len(done.blocked),
        "caught_up": done.caught_up,
    }


def failure_text(done: Consumption) -> str:
    """Which records a run left and why, for a reader."""
    sentences = [
        f"Shard {shard}: records from sequence number {left} on were not delivered; the next run "
        "tries them again."
        for shard, left in done.stopped.items()
    ]
    sentences += [f"{r} Then run the job with skip_trimmed." for r in done.trimmed.values()]
    return " ".join(sentences)


def consumed(settings: Settings) -> list[PipelineConfig]:
    """The pipelines whose stream this job reads."""
    return [p for p in settings.pipelines if p.stream_reader is StreamReader.CONSUMER]


def consume_sensor(settings: Settings) -> dg.SensorDefinition:
    """Requests a run for each of these pipelines whenever none is queued or running.

    Each run is an entry of Dagster's event log for good. After a run that found no record, the
    next one follows after a longer pause.
    """
    idle_pause = sensor_interval(settings, embedded=30, aws=300)

    @dg.sensor(
        name=sensor_name(settings, "stream_consumer_sensor"),
        job_name=JOB,
        description=(
            "Runs consume_stream again and again for the pipelines with "
            'stream_reader = "consumer", one run at a time for each.'
        ),
        minimum_interval_seconds=sensor_interval(settings, embedded=5, aws=30),
        default_status=sensor_status(settings),
    )
    def sensor(context: dg.SensorEvaluationContext) -> dg.SensorResult:
        now = int(time.time())
        running = pipelines_in_progress(context.instance, STAGE)
        last = last_requests(context.cursor, [p.name for p in consumed(settings)])
        runs = runs_by_key(context.instance, [run_key(name, at) for name, at in last.items()])
        requests: list[dg.RunRequest] = []
        for pipeline in consumed(settings):
            at = last.get(pipeline.name, 0)
            run = runs.get(run_key(pipeline.name, at))
            is_idle = run is not None and run.tags.get(RECORDS_TAG) == "0"
            if pipeline.name not in running and now > at + (idle_pause if is_idle else 0):
                requests.append(consume_request(pipeline, now))
                last[pipeline.name] = now
        return dg.SensorResult(
            run_requests=requests,
            cursor=json.dumps(last),
            skip_reason=None if requests else "Every stream is being read, or had no new record.",
        )

    return sensor


def last_requests(cursor: str | None, pipelines: Collection[str]) -> dict[str, int]:
    """When a run was last requested for each of these pipelines, epoch seconds."""
    try:
        stored = json.loads(cursor or "{}")
        return {name: int(at) for name, at in stored.items() if name in pipelines}
    except (ValueError, TypeError, AttributeError):
        return {}


def run_key(pipeline: str, at: int) -> str:
    """The key of a run; each run has new records to read."""
    return f"{pipeline}:{STAGE}:{at}"


def consume_request(pipeline: PipelineConfig, now: int) -> dg.RunRequest:
    """A run for one pipeline, requested at ``now``."""
    config = dg.RunConfig(ops={OP: ConsumeConfig(pipeline=pipeline.name)})
    tags = run_tags(pipeline.name, STAGE)
    return dg.RunRequest(run_key=run_key(pipeline.name, now), run_config=config, tags=tags)
