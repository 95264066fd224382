"""The consumer job: reads the stream itself where no Lambda is wanted."""

from collections.abc import Mapping, Sequence
from typing import Any

import dagster as dg
from pydantic import Field

from ddb_pipeline.config.names import checkpoint_table
from ddb_pipeline.config.pipeline import PipelineConfig, StreamReader
from ddb_pipeline.config.settings import Settings
from ddb_pipeline.defs.asset_keys import (
    in_progress,
    run_tags,
    sensor_interval,
    sensor_status,
)
from ddb_pipeline.defs.stream_delivery import StreamDelivery
from ddb_pipeline.dynamodb.stream_checkpoints import Checkpoints
from ddb_pipeline.dynamodb.stream_consumer import Consumption, Limits, consume
from ddb_pipeline.dynamodb.stream_read import lambda_event
from ddb_pipeline.resources.cloud import CloudResource

STAGE = "consume"
JOB = "consume_stream"
OP = "consume_stream_records"


class ConsumeConfig(dg.Config):
    """What one run reads of a table's stream, at most."""

    pipeline: str
    max_records: int = Field(default=100_000, gt=0, description="Records delivered by a run.")
    max_seconds: float = Field(default=300.0, gt=0, description="Time a run takes.")
    skip_trimmed: bool = Field(
        default=False,
        description=(
            "Go on with the oldest record kept where the next one is gone (24 hours). Fill the "
            "gap from an export of the table."
        ),
    )


def consume_job(settings: Settings) -> dg.JobDefinition:
    """The job; a run goes on where the last one ended, and several may run side by side."""

    @dg.op(name=OP, description="Delivers what the stream has behind the checkpoints.")
    def consume_stream_records(
        context: dg.OpExecutionContext, cloud: CloudResource, config: ConsumeConfig
    ) -> None:
        pipeline = settings.pipeline(config.pipeline)
        table = cloud.dynamodb.describe_table(TableName=pipeline.dynamodb_table)["Table"]
        arn = table["LatestStreamArn"]
        delivery = StreamDelivery(context, cloud, pipeline)

        def deliver(records: Sequence[Mapping[str, Any]]) -> str:
            left, _ = delivery.attempt(lambda_event(records, arn))
            return left

        done = consume(
            cloud.dynamodb_streams,
            arn,
            Checkpoints(cloud.dynamodb, checkpoint_table(pipeline), arn, context.run_id),
            deliver,
            Limits(records=config.max_records, seconds=config.max_seconds),
            skip_trimmed=config.skip_trimmed,
        )
        metadata = {**delivery.totals, **consumption_metadata(done)}
        if done.stopped or done.trimmed:
            raise dg.Failure(failure_text(done), metadata=metadata)
        context.add_output_metadata(metadata)

    @dg.job(
        name=JOB, description="Read the stream without a Lambda, from where the last run ended."
    )
    def consume_stream() -> None:
        consume_stream_records()

    return consume_stream


def consumption_metadata(done: Consumption) -> dict[str, Any]:
    return {
        "records": done.records,
        "shards_read": done.shards,
        "shards_finished": done.finished,
        "shards_leased_by_others": len(done.leased),
        "shards_behind_parents": len(done.blocked),
        "caught_up": done.caught_up,
    }


def failure_text(done: Consumption) -> str:
    """What is left and why, for a person."""
    told = [
        f"Shard {shard}: records from sequence number {left} on were not delivered; the next run "
        "tries them again."
        for shard, left in done.stopped.items()
    ]
    told += [f"{reason} Then run the job with skip_trimmed." for reason in done.trimmed.values()]
    return " ".join(told)


def consumed(settings: Settings) -> list[PipelineConfig]:
    """The pipelines whose stream this job reads."""
    return [p for p in settings.pipelines if p.stream_reader is StreamReader.CONSUMER]


def consume_sensor(settings: Settings) -> dg.SensorDefinition:
    """Runs the job again and again for the pipelines that are configured so, one run at a time."""

    @dg.sensor(
        name="stream_consumer_sensor",
        job_name=JOB,
        description="Reads the streams of pipelines with stream_reader = consumer.",
        minimum_interval_seconds=sensor_interval(settings, embedded=5, aws=30),
        default_status=sensor_status(settings),
    )
    def sensor(context: dg.SensorEvaluationContext) -> dg.SensorResult:
        due = [p for p in consumed(settings) if not in_progress(context.instance, p, STAGE)]
        return dg.SensorResult(
            run_requests=[consume_request(pipeline) for pipeline in due],
            skip_reason=None if due else "Every consumer is running.",
        )

    return sensor


def consume_request(pipeline: PipelineConfig) -> dg.RunRequest:
    config = dg.RunConfig(ops={OP: ConsumeConfig(pipeline=pipeline.name)})
    return dg.RunRequest(run_config=config, tags=run_tags(pipeline, STAGE))
