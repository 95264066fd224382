"""When a sensor requests runs for partitions: their content is not what Dagster recorded.

The truth about a partition is its latest materialization, whose data version names the content
that was processed. A partition is *settled* where the content found has that version. Nothing
needs to be remembered about settled partitions, so that a cursor stores only *open* ones: those
that are to be compared, or whose run has not led to a settled state yet. Their number is bounded:
where there is no room, a sensor requests no further runs and goes on later.

A run's key names the content, the materialization that it replaces and the attempt. The runs of a
partition that the cursor no longer stores are found by their keys.
"""

import json
import time
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from operator import eq
from typing import Any, NamedTuple

import dagster as dg

from ddb_pipeline.config.pipeline import PipelineConfig
from ddb_pipeline.defs.asset_keys import (
    ATTEMPT_TAG,
    CHECKS_OF_RUNS,
    DATA_VERSION_TAG,
    asset_key,
    run_tags,
)
from ddb_pipeline.defs.run_requests import (
    KEYS_PER_QUERY,
    Requested,
    RunState,
    next_request,
    retry_delay,
    run_states,
)
from ddb_pipeline.defs.turns import MAX_RUNS_PER_TICK, Turns

CURSOR_FORMAT = 2
PIPELINES = "pipelines"
"""The member of a cursor that stores the progress of a sensor's only or first asset."""
MAX_OPEN = 200
"""Open partitions of a pipeline. One query finds the states of all their runs."""
MAX_ATTEMPTS = 5
"""Runs for the same content over the same materialization."""


class Recorded(NamedTuple):
    """A partition's latest materialization: its data version and its position in the event log."""

    data_version: str
    storage_id: int


def recorded(
    instance: dg.DagsterInstance, key: dg.AssetKey, partitions: Iterable[str]
) -> dict[str, Recorded]:
    """The latest materialization of each of these partitions that has one."""
    names, found = sorted(set(partitions)), {}
    for start in range(0, len(names), KEYS_PER_QUERY):
        ids = instance.get_latest_storage_id_by_partition(
            key,
            dg.DagsterEventType.ASSET_MATERIALIZATION,
            set(names[start : start + KEYS_PER_QUERY]),
        )
        if not ids:
            continue
        latest = dg.AssetRecordsFilter(asset_key=key, storage_ids=list(ids.values()))
        for record in instance.fetch_materializations(latest, limit=len(ids)).records:
            materialization = record.asset_materialization
            tags = materialization.tags or {} if materialization else {}
            if record.partition_key is not None:
                found[record.partition_key] = Recorded(
                    tags.get(DATA_VERSION_TAG, ""), record.storage_id
                )
    return found


@dataclass(slots=True)
class Progress:
    """What the cursor stores of one pipeline.

    Attributes:
        open: the open partitions, with the run last requested; None where none was requested.
        position: the partition at which the pass over all partitions goes on; empty at its
            beginning.
        pass_at: when the pass began, epoch seconds.
    """

    open: dict[str, Requested | None] = field(default_factory=dict)
    position: str = ""
    pass_at: float = 0.0


def parse_cursor(text: str | None, member: str = PIPELINES) -> tuple[dict[str, Progress], str]:
    """The progress of each pipeline, and the one with which the tick begins (see ``turns``).

    Nothing where the text is not a cursor of this format.

    Nothing is lost by that: Dagster's records show which partitions are settled. A cursor stores
    the progress of one asset for each of its members.
    """
    try:
        data: Any = json.loads(text or "{}")
        if not isinstance(data, dict) or data.get("format") != CURSOR_FORMAT:
            return {}, ""
        progress_by_name = {
            name: Progress(
                {
                    partition: entry and Requested(str(entry[0]), int(entry[1]), float(entry[2]))
                    for partition, entry in progress["open"].items()
                },
                str(progress["position"]),
                float(progress["pass_at"]),
            )
            for name, progress in data.get(member, {}).items()
        }
        return progress_by_name, str(data.get("first", ""))
    except (ValueError, TypeError, KeyError, IndexError, AttributeError):
        return {}, ""


def render_cursor(
    pipelines: Mapping[str, Progress], first: str = "", **others: Mapping[str, Progress]
) -> str:
    """The cursor as text; ``others`` are its further members."""
    members = {PIPELINES: pipelines, **others}
    data: dict[str, Any] = {"format": CURSOR_FORMAT, "first": first}
    data |= {
        member: {name: _rendered(progress) for name, progress in stored.items()}
        for member, stored in members.items()
    }
    return json.dumps(data, separators=(",", ":"))


def _rendered(progress: Progress) -> dict[str, Any]:
    return {
        "open": {
            partition: last and [last.version, last.attempt, last.at]
            for partition, last in progress.open.items()
        },
        "position": progress.position,
        "pass_at": progress.pass_at,
    }


class PartitionRequests:
    """The runs that one tick of a sensor requests for one asset of each pipeline.

    Attributes:
        instance: the Dagster instance.
        stage: what the runs do, as their tag names it.
        asset: the asset's name.
        member: the member of the cursor that stores the asset's progress.
        now: the time of the tick, epoch seconds.
        pause_seconds: the shortest time between two runs of a partition.
    """

    def __init__(
        self,
        context: dg.SensorEvaluationContext,
        stage: str,
        asset: str,
        pipelines: Iterable[PipelineConfig],
        *,
        limit: int,
        pause_seconds: float = 0.0,
        member: str = PIPELINES,
    ) -> None:
        """Read the cursor and look up the runs that it names.

        Args:
            limit: bounds the requests of a tick.
            member: the member of the cursor that stores the progress of the asset.
        """
        self.instance = context.instance
        self.stage = stage
        self.asset = asset
        # As exact as the cursor stores it.
        self.now = round(time.time(), 3)
        self.pause_seconds = pause_seconds
        self._log = context.log
        stored, first = parse_cursor(context.cursor, member)
        self._turns = Turns(first)
        self.member = member
        self.pipelines = [
            PipelinePartitions(self, pipeline, stored.get(pipeline.name) or Progress(), limit)
            for pipeline in pipelines
        ]

    def visit(self, action: Callable[["PipelinePartitions"], None]) -> None:
        """Call ``action`` for the pipelines in turn; see ``turns``."""
        self._turns.visit(
            {each.pipeline.name: each for each in self.pipelines},
            action,
            self._log,
            is_full=lambda: sum(len(each.runs) for each in self.pipelines) >= MAX_RUNS_PER_TICK,
        )

    def result(
        self, otherwise: str, *others: "PartitionRequests", **members: Any
    ) -> dg.SensorResult:
        """The tick's result, which includes those of ``others``.

        Args:
            otherwise: the skip reason.
            others: requests for further assets, with members of the cursor of their own.
            members: further members of the result.
        """
        found = [each for requests in (self, *others) for each in requests.pipelines]
        runs = [run for each in found for run in each.runs]
        reasons = [*self._turns.reasons(), *(reason for each in found for reason in each.given_up)]
        return dg.SensorResult(
            run_requests=runs,
            cursor=render_cursor(
                self.progress,
                self._turns.first,
                **{other.member: other.progress for other in others},
            ),
            skip_reason=None if runs else "; ".join(reasons[:10]) or otherwise,
            **members,
        )

    @property
    def progress(self) -> dict[str, Progress]:
        """What the cursor stores of each pipeline."""
        return {each.pipeline.name: each.progress for each in self.pipelines}


class PipelinePartitions:
    """The partitions of one pipeline in one tick.

    Attributes:
        pipeline: the pipeline.
        key: the asset's key.
        progress: what the cursor stores of it.
        runs: the runs requested so far.
        given_up: sentences about partitions whose last attempt has failed.
    """

    def __init__(
        self,
        tick: PartitionRequests,
        pipeline: PipelineConfig,
        progress: Progress,
        limit: int,
    ) -> None:
        self.pipeline = pipeline
        self.progress = progress
        self.runs: list[dg.RunRequest] = []
        self.given_up: list[str] = []
        self._tick = tick
        self._limit = limit
        self.key = asset_key(pipeline, tick.asset)
        keys = {p: self._run_key(p, last) for p, last in progress.open.items() if last}
        states = run_states(tick.instance, list(keys.values()))
        self._states = {partition: states[key] for partition, key in keys.items()}

    @property
    def room(self) -> int:
        """How many further partitions can become open."""
        return max(0, MAX_OPEN - len(self.progress.open))

    def open(self, partitions: Iterable[str]) -> None:
        """Have these partitions compared, at this tick or a later one, as far as there is room."""
        for partition in partitions:
            if partition in self.progress.open or self.room:
                self.progress.open.setdefault(partition, None)

    def ready(self, limit: int) -> list[str]:
        """The open partitions to compare now: their run has ended and the pause is over."""
        found = [
            p for p, last in self.progress.open.items() if last is None or self._is_over(p, last)
        ]
        return found[:limit]

    def compare(
        self,
        versions: Mapping[str, str],
        *,
        absent: str = "",
        is_processed: Callable[[str, str], bool] = eq,
    ) -> str | None:
        """Request runs of those partitions whose content is not what Dagster recorded.

        Args:
            versions: the content found of each partition, by partition key; earlier ones first.
            absent: the version of a partition without content, which needs no first run.
            is_processed: whether content found needs no run, given the recorded version.

        Returns the first partition that needs a run for which this tick has no room; None where
        all were compared.
        """
        known = recorded(self._tick.instance, self.key, versions)
        needed = {}
        for partition, content in versions.items():
            record = known.get(partition)
            if is_processed(content, record.data_version if record else absent):
                self.settle(partition)
            else:
                needed[partition] = f"{content}.{record.storage_id if record else 0}"
        former = self._former_runs(needed)
        for partition, version in needed.items():
            if not self._request(partition, version, former.get(partition)):
                return partition
        return None

    def _request(self, partition: str, version: str, former: Requested | None) -> bool:
        """Request a run if one is needed now; False where there is no room for it."""
        is_open = partition in self.progress.open
        last = self.progress.open.get(partition) or former
        state = self._states.get(partition, RunState.UNKNOWN)
        same = last is not None and last.version == version
        if state is RunState.SUCCEEDED and same:
            # The run did not record the content that it was requested for.
            state = RunState.FAILED
        if last and same and last.attempt + 1 >= MAX_ATTEMPTS and state is RunState.FAILED:
            self.progress.open.pop(partition, None)
            self.given_up.append(f"{self.pipeline.name}: {partition} failed {MAX_ATTEMPTS} times")
            return True
        if not is_open and not self.room:
            return False
        requested = next_request(
            last, version, state, now=self._tick.now, pause_seconds=self._tick.pause_seconds
        )
        if requested and len(self.runs) == self._limit:
            return False
        self.progress.open[partition] = requested or last
        if requested:
            self.runs.append(self._run(partition, requested))
        return True

    def _run(self, partition: str, requested: Requested) -> dg.RunRequest:
        attempt = {ATTEMPT_TAG: str(requested.attempt)}
        return dg.RunRequest(
            run_key=self._run_key(partition, requested),
            asset_selection=[self.key],
            asset_check_keys=[
                dg.AssetCheckKey(self.key, name) for name in CHECKS_OF_RUNS[self._tick.asset]
            ],
            partition_key=partition,
            tags={**run_tags(self.pipeline.name, self._tick.stage), **attempt},
        )

    def _run_key(self, partition: str, requested: Requested) -> str:
        parts = (self.pipeline.name, self._tick.stage, partition, requested.version)
        return ":".join((*parts, str(requested.attempt)))

    def _former_runs(self, needed: Mapping[str, str]) -> dict[str, Requested]:
        """The last runs for these versions, of those partitions of which the cursor has no run."""
        attempts = {
            partition: [Requested(version, attempt, 0.0) for attempt in range(MAX_ATTEMPTS)]
            for partition, version in needed.items()
            if not self.progress.open.get(partition)
        }
        keys = [self._run_key(p, each) for p, found in attempts.items() for each in found]
        states = run_states(self._tick.instance, keys)
        former: dict[str, Requested] = {}
        for partition, requests in attempts.items():
            for requested in requests:
                state = states[self._run_key(partition, requested)]
                if state is not RunState.UNKNOWN:
                    former[partition], self._states[partition] = requested, state
        return former

    def settle(self, partition: str) -> None:
        """Forget an open partition, after the pause if a run was requested for it."""
        last = self.progress.open.get(partition)
        if last is None or (
            self._states[partition] is not RunState.IN_PROGRESS
            and self._tick.now >= last.at + self._tick.pause_seconds
        ):
            self.progress.open.pop(partition, None)

    def _is_over(self, partition: str, last: Requested) -> bool:
        """Whether the last requested run has ended and the next one may follow."""
        state = self._states[partition]
        if state is RunState.IN_PROGRESS:
            return False
        succeeded = state is RunState.SUCCEEDED
        pause = self._tick.pause_seconds if succeeded else retry_delay(last.attempt)
        return self._tick.now >= last.at + pause
