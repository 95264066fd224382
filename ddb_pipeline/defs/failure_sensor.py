"""The sensor that has those batches replayed which the event source mapping has given up.

A message of the failure queue names a batch by shard and sequence numbers; the stream holds its
records for 24 hours. A message is deleted only when a run has delivered the batch, or when the
loss of the batch is in Dagster's event log.
"""

import json
import time
from collections.abc import Mapping
from dataclasses import dataclass
from enum import Enum
from typing import Any

import dagster as dg

from ddb_pipeline.config.choices import StreamReader
from ddb_pipeline.config.names import failure_queue
from ddb_pipeline.config.pipeline import PipelineConfig
from ddb_pipeline.config.settings import Settings
from ddb_pipeline.defs.asset_keys import ATTEMPT_TAG, DYNAMODB_TABLE, asset_key, run_tags
from ddb_pipeline.defs.automation import sensor_interval, sensor_name, sensor_status
from ddb_pipeline.defs.replay import REPLAY_STREAM, TRIMMED_TAG, failed_batch_config
from ddb_pipeline.defs.run_requests import (
    SHOWN_REASONS,
    RunState,
    retry_delay,
    run_state,
    runs_by_key,
)
from ddb_pipeline.defs.turns import MAX_RUNS_PER_TICK, Turns
from ddb_pipeline.dynamodb.stream_read import StreamReadError, parse_failure
from ddb_pipeline.lake.gaps import Span, report_gap
from ddb_pipeline.queues import Message, Queue
from ddb_pipeline.resources.cloud import CloudResource

STAGE = "replay"
MAX_MESSAGES = 100
"""Messages of a pipeline that the cursor stores; further ones stay in the queue until then."""
MAX_RECEIVES_PER_TICK = 20
MAX_REQUESTS_PER_TICK = 10
FIRST = "/first"
"""The cursor's entry for the pipeline with which the next tick begins; no pipeline's name."""
STREAM_SECONDS = 86_400.0
"""How long a stream holds a record (DynamoDB developer guide, "Change data capture")."""


class Step(Enum):
    """What a tick does about a batch."""

    REQUEST = "request a run"
    WAIT = "wait"
    DELETE = "delete the message"
    REPORT = "report the loss"


@dataclass(frozen=True, slots=True)
class Replay:
    """The replay of a batch.

    Attributes:
        attempt: how many runs were requested before the last one.
        at: when the last run was requested, epoch seconds.
        seen_at: when the message was first received, epoch seconds.
        lost: whether the loss of the batch was reported by an earlier tick.
    """

    attempt: int
    at: float
    seen_at: float
    lost: bool = False


def next_step(last: Replay | None, state: RunState, *, trimmed: bool, now: float) -> Step:
    """What to do about a batch.

    Args:
        last: the replay so far.
        state: the state of its last run.
        trimmed: whether that run found that the stream no longer holds the records.
        now: epoch seconds.
    """
    if last is None:
        return Step.REQUEST
    if last.lost or state is RunState.SUCCEEDED:
        return Step.DELETE
    if state is RunState.IN_PROGRESS:
        return Step.WAIT
    if trimmed or now >= last.seen_at + STREAM_SECONDS:
        return Step.REPORT
    return Step.REQUEST if now >= last.at + retry_delay(last.attempt) else Step.WAIT


def parse_cursor(text: str | None) -> tuple[dict[str, dict[str, Replay]], str]:
    """The replays by pipeline and message id, and the pipeline with which the tick begins.

    None where the text is not a cursor.
    """
    try:
        data: Any = json.loads(text or "{}")
        first = str(data.pop(FIRST, ""))
        replays_by_name = {
            pipeline: {
                message_id: Replay(int(attempt), float(at), float(seen_at), bool(lost))
                for message_id, (attempt, at, seen_at, lost) in replays.items()
            }
            for pipeline, replays in data.items()
        }
    except (ValueError, TypeError, AttributeError):
        return {}, ""
    return replays_by_name, first


def render_cursor(replays: Mapping[str, Mapping[str, Replay]], first: str = "") -> str:
    """The cursor as text."""
    data: dict[str, Any] = {
        pipeline: {
            message_id: [replay.attempt, replay.at, replay.seen_at, int(replay.lost)]
            for message_id, replay in found.items()
        }
        for pipeline, found in replays.items()
    }
    return json.dumps({**data, FIRST: first}, separators=(",", ":"))


def failed_batches_sensor(settings: Settings) -> dg.SensorDefinition:
    """Requests a run of ``replay_stream`` for each message, and more of them where runs fail."""
    pipelines = mapped(settings)

    @dg.sensor(
        name=sensor_name(settings, "failed_batches_sensor"),
        job_name=REPLAY_STREAM,
        description=(
            "Runs replay_stream for the batches that the streaming Lambda's event source mapping "
            "has given up, while the stream still holds their records. A batch that is lost is "
            "an observation of dynamodb_table."
        ),
        minimum_interval_seconds=sensor_interval(settings, embedded=15, aws=60),
        default_status=sensor_status(settings),
    )
    def sensor(context: dg.SensorEvaluationContext, cloud: CloudResource) -> dg.SensorResult:
        stored, first = parse_cursor(context.cursor)
        turns = Turns(first)
        batches = [
            FailedBatches(context.instance, pipeline, stored.get(pipeline.name, {}))
            for pipeline in pipelines
        ]
        turns.visit(
            {each.pipeline.name: each for each in batches},
            lambda each: handle(cloud.for_pipeline(each.pipeline), each),
            context.log,
            is_full=lambda: sum(len(each.runs) for each in batches) >= MAX_RUNS_PER_TICK,
        )
        for observation in (each for found in batches for each in found.losses):
            context.log.error("%s: %s", observation.asset_key, observation.description)
        runs = [run for each in batches for run in each.runs]
        replays = sum(len(each.replays) for each in batches)
        waiting = f"{replays} failed batch(es) are being replayed."
        return dg.SensorResult(
            run_requests=runs,
            cursor=render_cursor(
                {each.pipeline.name: each.replays for each in batches}, turns.first
            ),
            asset_events=[loss for each in batches for loss in each.losses],
            skip_reason=None if runs else "; ".join([*turns.reasons()[:SHOWN_REASONS], waiting]),
        )

    return sensor


def handle(cloud: CloudResource, batches: "FailedBatches") -> None:
    """Take the next step for a pipeline's batches, and store the gaps that lost ones leave."""
    batches.handle(Queue(cloud.sqs, failure_queue(batches.pipeline)))
    for span, cause in batches.gaps:
        report_gap(cloud.s3, batches.pipeline.lake, span, cause, now=batches.now)


def mapped(settings: Settings) -> list[PipelineConfig]:
    """The pipelines whose stream an event source mapping reads."""
    return [p for p in settings.pipelines if p.stream_reader is StreamReader.LAMBDA]


class FailedBatches:
    """The failed batches of a pipeline in one tick.

    Attributes:
        pipeline: the pipeline.
        replays: what the cursor stores, by message id.
        runs: the runs to request.
        losses: observations of lost batches.
        gaps: the times of these batches, each with the cause.
    """

    def __init__(
        self,
        instance: dg.DagsterInstance,
        pipeline: PipelineConfig,
        replays: Mapping[str, Replay],
    ) -> None:
        self.pipeline = pipeline
        self.now = round(time.time(), 3)
        # A message that somebody else deleted is forgotten once its records are.
        self.replays = {
            message_id: replay
            for message_id, replay in replays.items()
            if self.now < replay.seen_at + 2 * STREAM_SECONDS
        }
        self.runs: list[dg.RunRequest] = []
        self.losses: list[dg.AssetObservation] = []
        self.gaps: list[tuple[Span, str]] = []
        keys = [self._run_key(message_id, each) for message_id, each in self.replays.items()]
        self._found = runs_by_key(instance, keys)

    def handle(self, queue: Queue) -> None:
        """Take the next step for each message that the queue shows now."""
        handled: set[str] = set()
        for _ in range(MAX_RECEIVES_PER_TICK):
            messages = [m for m in queue.receive() if m.message_id not in handled]
            if not messages:
                return
            handled.update(message.message_id for message in messages)
            queue.delete(message for message in messages if self._is_done(message))

    def _is_done(self, message: Message) -> bool:
        """Take the next step for a message; True where it is to be deleted."""
        last = self.replays.get(message.message_id)
        run = self._found.get(self._run_key(message.message_id, last)) if last else None
        state = run_state(run) if run else RunState.UNKNOWN
        trimmed = run is not None and TRIMMED_TAG in run.tags
        step = next_step(last, state, trimmed=trimmed, now=self.now)
        if step is Step.DELETE:
            del self.replays[message.message_id]
            return True
        if step is Step.REPORT and last is not None:
            self.replays[message.message_id] = Replay(last.attempt, last.at, last.seen_at, True)
            self.losses.append(loss(self.pipeline, message))
            self.gaps += batch_gap(message.body, last.seen_at)
        elif step is Step.REQUEST:
            self._request(message, last)
        return False

    def _request(self, message: Message, last: Replay | None) -> None:
        has_room = last is not None or len(self.replays) < MAX_MESSAGES
        if len(self.runs) == MAX_REQUESTS_PER_TICK or not has_room:
            return
        replay = Replay(
            last.attempt + 1 if last else 0, self.now, last.seen_at if last else self.now
        )
        self.replays[message.message_id] = replay
        tags = {ATTEMPT_TAG: str(replay.attempt), **run_tags(self.pipeline.name, STAGE)}
        self.runs.append(
            dg.RunRequest(
                run_key=self._run_key(message.message_id, replay),
                run_config=failed_batch_config(self.pipeline, message.body),
                tags=tags,
            )
        )

    def _run_key(self, message_id: str, replay: Replay) -> str:
        return f"{self.pipeline.name}:{STAGE}:{message_id}:{replay.attempt}"


def batch_gap(body: str, seen_at: float) -> list[tuple[Span, str]]:
    """The time of a lost batch, and the cause; none where the message names no batch.

    Args:
        body: of an on-failure message.
        seen_at: when it was received, epoch seconds.
    """
    try:
        batch = parse_failure(body)
    except StreamReadError:
        return []
    first, last = batch.arrived or (seen_at - STREAM_SECONDS, seen_at)
    cause = (
        f"The stream trimmed a failed batch of {batch.size} record(s) of shard {batch.shard_id} "
        f"({batch.reason or 'no reason stated'}) before it could be replayed."
    )
    return [((first, last + 1), cause)]


def loss(pipeline: PipelineConfig, message: Message) -> dg.AssetObservation:
    """The observation of a batch that can no longer be replayed."""
    return dg.AssetObservation(
        asset_key=asset_key(pipeline, DYNAMODB_TABLE),
        description=(
            "A failed batch was not delivered before the stream trimmed its records. healed_gaps "
            "shows what makes up for it."
        ),
        metadata={"lost_batch": dg.MetadataValue.text(message.body)},
    )
