"""When a sensor requests a run: for new content once, and again after a failure.

Terms: a *version* names the content that a run would process. An *attempt* is one of several runs
for the same version.

A sensor finds the present version of each pipeline's asset and compares it with what it last
requested, which its cursor stores: one entry for each pipeline. The state of the requested run is
looked up in the Dagster instance. Nothing here depends on what a sensor watches. For assets with
partitions see ``partition_requests``.
"""

import json
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from enum import Enum
from typing import Any

import dagster as dg

from ddb_pipeline.config.pipeline import PipelineConfig
from ddb_pipeline.defs.asset_keys import (
    ATTEMPT_TAG,
    PIPELINE_TAG,
    RUN_KEY_TAG,
    STAGE_TAG,
    asset_key,
    run_tags,
)
from ddb_pipeline.defs.lost_runs import STARTED, checked_runs
from ddb_pipeline.defs.turns import MAX_RUNS_PER_TICK, Turns

FIRST_RETRY_SECONDS = 10.0
LONGEST_RETRY_SECONDS = 1800.0
CURSOR_FORMAT = 1
SHOWN_REASONS = 10
KEYS_PER_QUERY = 200
"""Under what the databases of Dagster's instances take in one statement."""
UNFINISHED = (
    dg.DagsterRunStatus.QUEUED,
    dg.DagsterRunStatus.NOT_STARTED,
    *STARTED,
)


class RunState(Enum):
    """The state of a requested run; UNKNOWN where the instance has no run of its key."""

    UNKNOWN = "unknown"
    IN_PROGRESS = "in progress"
    SUCCEEDED = "succeeded"
    FAILED = "failed"


@dataclass(frozen=True, slots=True)
class Requested:
    """The run that was last requested for an asset or a partition.

    Attributes:
        version: the content that the run was requested for.
        attempt: how many runs were requested for this version before it.
        at: when it was requested, epoch seconds.
        succeeded: whether it is known to have succeeded; its state is then not looked up again.
    """

    version: str
    attempt: int
    at: float
    succeeded: bool = False


def retry_delay(attempt: int) -> float:
    """Seconds from a failed attempt to the next one: doubling, up to half an hour."""
    return min(LONGEST_RETRY_SECONDS, FIRST_RETRY_SECONDS * 2.0 ** min(attempt, 20))


def next_request(
    last: Requested | None,
    version: str,
    run_state: RunState,
    *,
    now: float,
    pause_seconds: float = 0.0,
) -> Requested | None:
    """The run to request now; None where there is nothing to request yet.

    Args:
        last: the run last requested for this asset or partition.
        version: the content found now.
        run_state: the state of ``last``. A run that the instance does not know was never started,
            and is requested again as a failed one is.
        now: epoch seconds.
        pause_seconds: the shortest time between requests for two versions.
    """
    if last is None:
        return Requested(version, 0, now)
    if run_state is RunState.IN_PROGRESS:
        return None
    if last.version != version:
        return Requested(version, 0, now) if now >= last.at + pause_seconds else None
    if run_state is RunState.SUCCEEDED or now < last.at + retry_delay(last.attempt):
        return None
    return Requested(version, last.attempt + 1, now)


@dataclass(frozen=True, slots=True)
class Cursor:
    """What a sensor stores from one tick to the next.

    Attributes:
        requested: the run last requested for each pipeline's asset, by the pipeline's name.
        compared_at: when the sensor last compared each pipeline, epoch seconds, where it
            distinguishes.
        first: the pipeline with which the next tick begins; see ``turns``.
    """

    requested: Mapping[str, Requested]
    compared_at: Mapping[str, float] = field(default_factory=dict)
    first: str = ""

    @classmethod
    def parse(cls, text: str | None) -> "Cursor":
        """The cursor as text; an empty one where the text is not a cursor.

        Cursors from before ``format`` was written are read as well: ``{pipeline: [version,
        attempt, at]}`` of the failed-records and relevance sensors. Their run keys had another
        form, so that the runs cannot be looked up: they count as succeeded, and only new versions
        are requested. The table-change sensor's former cursor reads as empty: each table gets one
        run, which changes nothing where nothing is wrong.
        """
        try:
            data: Any = json.loads(text or "{}")
            if not isinstance(data, dict):
                return cls({})
            if data.get("format") != CURSOR_FORMAT:
                return cls(_former_requests(data))
            requested = {name: entry[""] for name, entry in data["requested"].items()}
            return cls(
                {
                    name: Requested(str(version), int(attempt), float(at), bool(done))
                    for name, (version, attempt, at, done) in requested.items()
                },
                _moments(data["compared_at"]),
                str(data.get("first", "")),
            )
        except (ValueError, TypeError, KeyError, AttributeError):
            return cls({})

    def render(self) -> str:
        """The cursor as text."""
        requested = {
            name: {"": [r.version, r.attempt, r.at, int(r.succeeded)]}
            for name, r in self.requested.items()
        }
        data = {
            "format": CURSOR_FORMAT,
            "requested": requested,
            "compared_at": dict(self.compared_at),
            "first": self.first,
        }
        return json.dumps(data, separators=(",", ":"))


def _moments(stored: Any) -> dict[str, float]:
    """Moments by pipeline; none of the form that cursors had before, one for all pipelines."""
    return {name: float(at) for name, at in stored.items()} if isinstance(stored, dict) else {}


def _former_requests(data: Mapping[str, Any]) -> dict[str, Requested]:
    return {
        name: Requested(str(entry[0]), 0, float(entry[-1]), succeeded=True)
        for name, entry in data.items()
        if isinstance(entry, list) and len(entry) == 3
    }


class RunRequests:
    """The runs that one tick of a sensor requests, and the cursor that it leaves.

    Attributes:
        now: the time of the tick, epoch seconds.
    """

    def __init__(
        self,
        context: dg.SensorEvaluationContext,
        stage: str,
        pipelines: Sequence[PipelineConfig],
    ) -> None:
        """Read the cursor and look up those requested runs that are not known to have succeeded.

        Args:
            context: the tick's.
            stage: what the runs do, as their tag names it.
            pipelines: those that the sensor watches; the cursor forgets others.
        """
        self._stage = stage
        self._runs: list[dg.RunRequest] = []
        self._reasons: list[str] = []
        cursor = Cursor.parse(context.cursor)
        self._log = context.log
        self._turns = Turns(cursor.first)
        self._pipelines = {pipeline.name: pipeline for pipeline in pipelines}
        self._compared_at = {
            name: at for name, at in cursor.compared_at.items() if name in self._pipelines
        }
        # As exact as the cursor stores it: run keys contain it.
        self.now = round(time.time(), 3)
        known = {p.name: cursor.requested[p.name] for p in pipelines if p.name in cursor.requested}
        self._states = _states(context.instance, stage, known)
        self._requested = {
            name: replace(requested, succeeded=self._states[name] is RunState.SUCCEEDED)
            for name, requested in known.items()
        }

    def visit(self, action: Callable[[PipelineConfig], None]) -> None:
        """Call ``action`` for the pipelines in turn; see ``turns``."""
        self._turns.visit(
            self._pipelines,
            action,
            self._log,
            is_full=lambda: len(self._runs) >= MAX_RUNS_PER_TICK,
        )

    def succeeded(self, pipeline: PipelineConfig) -> bool:
        """Whether no run requested for a pipeline by earlier ticks is without success."""
        return self._states.get(pipeline.name, RunState.SUCCEEDED) is RunState.SUCCEEDED

    def compared_at(self, pipeline: PipelineConfig) -> float:
        """When a pipeline was last compared, epoch seconds; 0 where it never was."""
        return self._compared_at.get(pipeline.name, 0.0)

    def compared(self, pipeline: PipelineConfig) -> None:
        """Note that this tick has compared a pipeline."""
        self._compared_at[pipeline.name] = self.now

    def compare_soon(self, pipeline: PipelineConfig) -> None:
        """Note that a pipeline is to be compared, by this tick or the next one."""
        self._compared_at.pop(pipeline.name, None)

    def last(self, pipeline: PipelineConfig) -> Requested | None:
        """The run last requested for a pipeline's asset."""
        return self._requested.get(pipeline.name)

    def in_progress(self, pipeline: PipelineConfig) -> bool:
        """Whether the run last requested for a pipeline's asset is queued or running."""
        return self._states.get(pipeline.name) is RunState.IN_PROGRESS

    def request(
        self,
        pipeline: PipelineConfig,
        version: str,
        *assets: str,
        pause_seconds: float = 0.0,
        unresolved: bool = False,
        tags: Mapping[str, str] | None = None,
    ) -> bool:
        """Request a run of a pipeline's assets, if :func:`next_request` returns one.

        Args:
            unresolved: this very version shows that a run is needed, so that a successful earlier
                run for it counts as failed.
            tags: further tags of the run.

        Returns whether a run is requested.
        """
        requested = self._next(pipeline, version, pause_seconds, unresolved=unresolved)
        if requested is None:
            return False
        assets_of_run = [asset_key(pipeline, asset) for asset in assets]
        self._add(pipeline, requested, tags or {}, asset_selection=assets_of_run)
        return True

    def request_job(self, pipeline: PipelineConfig, version: str, run_config: dg.RunConfig) -> bool:
        """Request a run of the sensor's job, which is needed as long as this version is found.

        Returns whether a run is requested.
        """
        requested = self._next(pipeline, version, 0.0, unresolved=True)
        if requested is None:
            return False
        self._add(pipeline, requested, {}, run_config=run_config)
        return True

    def _next(
        self, pipeline: PipelineConfig, version: str, pause_seconds: float, *, unresolved: bool
    ) -> Requested | None:
        """The run to request now, as the cursor stores it."""
        if self.in_progress(pipeline):
            self.skip(pipeline, "a run is in progress")
        state = self._states.get(pipeline.name, RunState.UNKNOWN)
        if unresolved and state is RunState.SUCCEEDED:
            state = RunState.FAILED
        last = self._requested.get(pipeline.name)
        requested = next_request(last, version, state, now=self.now, pause_seconds=pause_seconds)
        if requested is not None:
            self._requested[pipeline.name] = requested
        return requested

    def _add(
        self,
        pipeline: PipelineConfig,
        requested: Requested,
        tags: Mapping[str, str],
        **target: Any,
    ) -> None:
        attempt = {ATTEMPT_TAG: str(requested.attempt)}
        self._runs.append(
            dg.RunRequest(
                run_key=run_key(self._stage, pipeline.name, requested),
                tags={**run_tags(pipeline.name, self._stage), **attempt, **tags},
                **target,
            )
        )

    def skip(self, pipeline: PipelineConfig, reason: str) -> None:
        """Note why no run is requested for a pipeline."""
        self._reasons.append(f"{pipeline.name}: {reason}")

    def result(self, otherwise: str, **members: Any) -> dg.SensorResult:
        """The tick's result; ``otherwise`` is the skip reason where none was noted.

        Args:
            otherwise: why no run is requested.
            members: further members of ``SensorResult``.
        """
        cursor = Cursor(self._requested, self._compared_at, self._turns.first)
        noted = [*self._turns.reasons(), *self._reasons]
        reasons = "; ".join(noted[:SHOWN_REASONS]) or otherwise
        return dg.SensorResult(
            run_requests=self._runs,
            cursor=cursor.render(),
            skip_reason=None if self._runs else reasons,
            **members,
        )


def run_key(stage: str, pipeline: str, requested: Requested) -> str:
    """The key of a requested run, unlike any other's.

    Dagster never runs one key twice, failed runs included, so that it names the attempt; and the
    time, since content may return to a version that it had before.
    """
    return f"{pipeline}:{stage}:{requested.version}:{requested.attempt}:{int(requested.at)}"


def _states(
    instance: dg.DagsterInstance, stage: str, requested: Mapping[str, Requested]
) -> dict[str, RunState]:
    keys = {name: run_key(stage, name, r) for name, r in requested.items() if not r.succeeded}
    found = run_states(instance, list(keys.values()))
    return {name: found[keys[name]] if name in keys else RunState.SUCCEEDED for name in requested}


def run_states(instance: dg.DagsterInstance, run_keys: Sequence[str]) -> dict[str, RunState]:
    """The state of the newest run of each run key."""
    runs = runs_by_key(instance, run_keys)
    return {key: run_state(runs[key]) if key in runs else RunState.UNKNOWN for key in run_keys}


def runs_by_key(instance: dg.DagsterInstance, run_keys: Sequence[str]) -> dict[str, dg.DagsterRun]:
    """The newest run of each run key that has one, by one query for 200 keys.

    A lost run counts as failed.
    """
    found: dict[str, dg.DagsterRun] = {}
    for start in range(0, len(run_keys), KEYS_PER_QUERY):
        tags = {RUN_KEY_TAG: run_keys[start : start + KEYS_PER_QUERY]}
        # Newest first.
        for run in checked_runs(instance, dg.RunsFilter(tags=tags)):
            found.setdefault(run.tags[RUN_KEY_TAG], run)
    return found


def run_state(run: dg.DagsterRun) -> RunState:
    """The state of a run that the instance knows."""
    if run.status is dg.DagsterRunStatus.SUCCESS:
        return RunState.SUCCEEDED
    return RunState.FAILED if run.is_failure_or_canceled else RunState.IN_PROGRESS


def pipelines_in_progress(instance: dg.DagsterInstance, stage: str) -> frozenset[str]:
    """The pipelines of which a run of this stage is queued or running, whoever requested it."""
    unfinished = dg.RunsFilter(tags={STAGE_TAG: stage}, statuses=list(UNFINISHED))
    return frozenset(
        run.tags.get(PIPELINE_TAG, "")
        for run in checked_runs(instance, unfinished)
        if run.status in UNFINISHED
    )
