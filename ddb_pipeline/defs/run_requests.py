"""When a sensor requests a run: for new content once, and again after a failure.

Terms: a *subject* is an asset of a pipeline, or one partition of it. Its *version* names the
content that a run would process. An *attempt* is one of several runs for the same version.

A sensor finds the present version of each subject and compares it with what it last requested,
which its cursor stores; the state of the requested run is looked up in the Dagster instance.
Nothing here depends on what a sensor watches.
"""

import json
import time
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace
from enum import Enum
from typing import Any, NamedTuple

import dagster as dg

from ddb_pipeline.config.pipeline import PipelineConfig
from ddb_pipeline.defs.asset_keys import (
    ATTEMPT_TAG,
    PIPELINE_TAG,
    RUN_KEY_TAG,
    STAGE_TAG,
    asset_job_name,
    asset_key,
    run_tags,
)

FIRST_RETRY_SECONDS = 10.0
LONGEST_RETRY_SECONDS = 1800.0
CURSOR_FORMAT = 1
SHOWN_REASONS = 10
KEYS_PER_QUERY = 200
"""Under what the databases of Dagster's instances take in one statement."""
UNFINISHED = (
    dg.DagsterRunStatus.QUEUED,
    dg.DagsterRunStatus.NOT_STARTED,
    dg.DagsterRunStatus.STARTING,
    dg.DagsterRunStatus.STARTED,
)


class RunState(Enum):
    """The state of a requested run; UNKNOWN where the instance has no run of its key."""

    UNKNOWN = "unknown"
    IN_PROGRESS = "in progress"
    SUCCEEDED = "succeeded"
    FAILED = "failed"


class Subject(NamedTuple):
    """What runs are requested for; ``partition`` is empty for an asset without partitions."""

    pipeline: str
    partition: str = ""


@dataclass(frozen=True, slots=True)
class Requested:
    """The run that was last requested for a subject.

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
    max_attempts: int | None = None,
) -> Requested | None:
    """The run to request now; None where there is nothing to request yet.

    Args:
        last: the run last requested for this subject.
        version: the content found now.
        run_state: the state of ``last``. A run that the instance does not know was never started,
            and is requested again as a failed one is.
        now: epoch seconds.
        pause_seconds: the shortest time between requests for two versions.
        max_attempts: the number of runs for one version, without limit by default.
    """
    if last is None:
        return Requested(version, 0, now)
    if run_state is RunState.IN_PROGRESS:
        return None
    if last.version != version:
        return Requested(version, 0, now) if now >= last.at + pause_seconds else None
    exhausted = max_attempts is not None and last.attempt + 1 >= max_attempts
    if run_state is RunState.SUCCEEDED or exhausted or now < last.at + retry_delay(last.attempt):
        return None
    return Requested(version, last.attempt + 1, now)


@dataclass(frozen=True, slots=True)
class Cursor:
    """What a sensor stores from one tick to the next.

    Attributes:
        requested: the run last requested for each subject.
        compared_at: when the sensor last compared everything, epoch seconds; 0 where it never did
            or does not distinguish.
    """

    requested: Mapping[Subject, Requested]
    compared_at: float = 0.0

    @classmethod
    def parse(cls, text: str | None) -> "Cursor":
        """The cursor as text; an empty one where the text is not a cursor.

        Cursors from before ``format`` was written are read as well: the landing sensor's
        ``{pipeline: {hour: [version, at]}}``, the export sensor's
        ``{pipeline: {export: [version, attempt, at]}}``, and ``{pipeline: [version, attempt, at]}``
        of the failed-records and relevance sensors. Their run keys had another form, so that the
        runs cannot be looked up: they count as succeeded, and only new versions are requested.
        The table-change sensor's former cursor reads as empty: each table gets one run, which
        changes nothing where nothing is wrong.
        """
        try:
            data: Any = json.loads(text or "{}")
            if not isinstance(data, dict):
                return cls({})
            if data.get("format") != CURSOR_FORMAT:
                return cls(_former_requests(data))
            return cls(_requests(data["requested"]), float(data["compared_at"]))
        except (ValueError, TypeError, KeyError, AttributeError):
            return cls({})

    def render(self) -> str:
        """The cursor as text."""
        requested: dict[str, dict[str, list[Any]]] = {}
        for (pipeline, partition), r in self.requested.items():
            entry = [r.version, r.attempt, r.at, int(r.succeeded)]
            requested.setdefault(pipeline, {})[partition] = entry
        data = {"format": CURSOR_FORMAT, "requested": requested, "compared_at": self.compared_at}
        return json.dumps(data, separators=(",", ":"))

    def bounded(self, pipelines: Iterable[str], partitions: int) -> "Cursor":
        """The cursor without other pipelines, with the newest ``partitions`` of each of these.

        Partition keys sort by time: hours do, and so do ids of exports.
        """
        subjects: dict[str, list[Subject]] = {pipeline: [] for pipeline in pipelines}
        for subject in sorted(self.requested):
            if subject.pipeline in subjects:
                subjects[subject.pipeline].append(subject)
        newest = [each for found in subjects.values() for each in found[-partitions:]]
        return replace(self, requested={subject: self.requested[subject] for subject in newest})


def _requests(data: Mapping[str, Mapping[str, Any]]) -> dict[Subject, Requested]:
    return {
        Subject(pipeline, partition): Requested(str(version), int(attempt), float(at), bool(done))
        for pipeline, entries in data.items()
        for partition, (version, attempt, at, done) in entries.items()
    }


def _former_requests(data: Mapping[str, Any]) -> dict[Subject, Requested]:
    return {
        Subject(pipeline, partition): Requested(str(entry[0]), 0, float(entry[-1]), succeeded=True)
        for pipeline, entries in data.items()
        for partition, entry in (entries if isinstance(entries, dict) else {"": entries}).items()
        if isinstance(entry, list) and len(entry) in (2, 3)
    }


class RunRequests:
    """The runs that one tick of a sensor requests, and the cursor that it leaves.

    Attributes:
        now: the time of the tick, epoch seconds.
        compared_at: as in the cursor that the tick began with.
    """

    def __init__(
        self,
        context: dg.SensorEvaluationContext,
        stage: str,
        pipelines: Iterable[PipelineConfig],
        *,
        stored_partitions: int = 1,
    ) -> None:
        """Read the cursor and look up those requested runs that are not known to have succeeded.

        Args:
            context: the tick's.
            stage: what the runs do, as their tag names it.
            pipelines: those that the sensor watches; the cursor forgets others.
            stored_partitions: how many partitions of a pipeline the cursor stores.
        """
        self._stage = stage
        self._pipelines = [pipeline.name for pipeline in pipelines]
        self._stored_partitions = stored_partitions
        self._runs: list[dg.RunRequest] = []
        self._reasons: list[str] = []
        cursor = Cursor.parse(context.cursor).bounded(self._pipelines, stored_partitions)
        self.compared_at = cursor.compared_at
        # As exact as the cursor stores it: run keys contain it.
        self.now = round(time.time(), 3)
        self._states = _states(context.instance, stage, cursor.requested)
        self._requested = {
            subject: replace(requested, succeeded=self._states[subject] is RunState.SUCCEEDED)
            for subject, requested in cursor.requested.items()
        }

    @property
    def all_succeeded(self) -> bool:
        """Whether each run requested by earlier ticks has succeeded."""
        return all(state is RunState.SUCCEEDED for state in self._states.values())

    def last(self, pipeline: PipelineConfig) -> Requested | None:
        """The run last requested for a pipeline's asset."""
        return self._requested.get(Subject(pipeline.name))

    def in_progress(self, pipeline: PipelineConfig) -> bool:
        """Whether the run last requested for a pipeline's asset is queued or running."""
        return self._states.get(Subject(pipeline.name)) is RunState.IN_PROGRESS

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
        target = {"asset_selection": [asset_key(pipeline, asset) for asset in assets]}
        if self.in_progress(pipeline):
            self.skip(pipeline, "a run is in progress")
        return self._request(
            Subject(pipeline.name),
            version,
            target,
            pause_seconds=pause_seconds,
            unresolved=unresolved,
            tags=tags,
        )

    def request_partitions(
        self,
        pipeline: PipelineConfig,
        asset: str,
        versions: Mapping[str, str],
        *,
        limit: int,
        pause_seconds: float = 0.0,
        max_attempts: int | None = None,
    ) -> list[str]:
        """Request runs of an asset's partitions, the newest first and at most ``limit``.

        Args:
            versions: the version found of each partition, by partition key.

        Returns the keys of the partitions for which a run is requested.
        """
        job = asset_job_name(pipeline, asset)
        chosen: list[str] = []
        for partition in sorted(versions, reverse=True):
            if len(chosen) == limit:
                break
            target = {"job_name": job, "partition_key": partition}
            subject, version = Subject(pipeline.name, partition), versions[partition]
            if self._request(
                subject, version, target, pause_seconds=pause_seconds, max_attempts=max_attempts
            ):
                chosen.append(partition)
        return chosen

    def skip(self, pipeline: PipelineConfig, reason: str) -> None:
        """Note why no run is requested for a pipeline."""
        self._reasons.append(f"{pipeline.name}: {reason}")

    def result(self, otherwise: str, *, compared: bool = False, **members: Any) -> dg.SensorResult:
        """The tick's result; ``otherwise`` is the skip reason where none was noted.

        Args:
            otherwise: why no run is requested.
            compared: store this tick's time as the cursor's ``compared_at``.
            members: further members of ``SensorResult``.
        """
        cursor = Cursor(self._requested, self.now if compared else self.compared_at)
        reasons = "; ".join(self._reasons[:SHOWN_REASONS]) or otherwise
        return dg.SensorResult(
            run_requests=self._runs,
            cursor=cursor.bounded(self._pipelines, self._stored_partitions).render(),
            skip_reason=None if self._runs else reasons,
            **members,
        )

    def _request(
        self,
        subject: Subject,
        version: str,
        target: Mapping[str, Any],
        *,
        tags: Mapping[str, str] | None = None,
        unresolved: bool = False,
        **limits: Any,
    ) -> bool:
        state = self._states.get(subject, RunState.UNKNOWN)
        if unresolved and state is RunState.SUCCEEDED:
            state = RunState.FAILED
        last = self._requested.get(subject)
        requested = next_request(last, version, state, now=self.now, **limits)
        if requested is None:
            return False
        self._requested[subject] = requested
        attempt = {ATTEMPT_TAG: str(requested.attempt)}
        all_tags = {**run_tags(subject.pipeline, self._stage), **attempt, **(tags or {})}
        key = run_key(self._stage, subject, requested)
        self._runs.append(dg.RunRequest(run_key=key, tags=all_tags, **target))
        return True


def run_key(stage: str, subject: Subject, requested: Requested) -> str:
    """The key of a requested run, unlike any other's.

    Dagster never runs one key twice, failed runs included, so that it names the attempt; and the
    time, since content may return to a version that it had before.
    """
    pipeline, partition = subject
    parts = [pipeline, stage, partition, requested.version, requested.attempt, int(requested.at)]
    return ":".join(str(part) for part in parts if part != "")


def _states(
    instance: dg.DagsterInstance, stage: str, requested: Mapping[Subject, Requested]
) -> dict[Subject, RunState]:
    keys = {s: run_key(stage, s, r) for s, r in requested.items() if not r.succeeded}
    found = run_states(instance, list(keys.values()))
    return {
        subject: found[keys[subject]] if subject in keys else RunState.SUCCEEDED
        for subject in requested
    }


def run_states(instance: dg.DagsterInstance, run_keys: list[str]) -> dict[str, RunState]:
    """The state of the newest run of each run key, by one query for 200 keys."""
    states: dict[str, RunState] = {}
    for start in range(0, len(run_keys), KEYS_PER_QUERY):
        tags = {RUN_KEY_TAG: run_keys[start : start + KEYS_PER_QUERY]}
        # Newest first.
        for run in instance.get_runs(filters=dg.RunsFilter(tags=tags)):
            states.setdefault(run.tags[RUN_KEY_TAG], run_state(run))
    return {key: states.get(key, RunState.UNKNOWN) for key in run_keys}


def run_state(run: dg.DagsterRun) -> RunState:
    """The state of a run that the instance knows."""
    if run.status is dg.DagsterRunStatus.SUCCESS:
        return RunState.SUCCEEDED
    return RunState.FAILED if run.is_failure_or_canceled else RunState.IN_PROGRESS


def pipelines_in_progress(instance: dg.DagsterInstance, stage: str) -> frozenset[str]:
    """The pipelines of which a run of this stage is queued or running, whoever requested it."""
    unfinished = dg.RunsFilter(tags={STAGE_TAG: stage}, statuses=list(UNFINISHED))
    return frozenset(run.tags.get(PIPELINE_TAG, "") for run in instance.get_runs(unfinished))
