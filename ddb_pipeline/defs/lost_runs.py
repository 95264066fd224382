"""Runs that Dagster takes for running although their process was killed.

Such a run would count as in progress for ever, and would keep its place among the runs that the
queue allows at a time. Dagster's own monitoring finds it with launchers that can check a run's
process, which the default launcher cannot.
"""

import time
from collections.abc import Iterator, Sequence

import dagster as dg

from ddb_pipeline.config.pipeline import PipelineConfig
from ddb_pipeline.defs.asset_keys import PIPELINE_TAG

LOST_SECONDS = 6 * 3600.0
"""A started run that has logged nothing for so long is lost: its process was killed, or its machine
ended, before it could report that. The longest steps log their progress more often."""
STARTED = (dg.DagsterRunStatus.STARTING, dg.DagsterRunStatus.STARTED)
NAMES_PER_QUERY = 200
"""Under what the databases of Dagster's instances take in one statement."""


def report_lost_runs(instance: dg.DagsterInstance, pipelines: Sequence[PipelineConfig]) -> int:
    """Report the lost runs of these pipelines as failed; returns their number."""
    names = [pipeline.name for pipeline in pipelines]
    lost = 0
    for start in range(0, len(names), NAMES_PER_QUERY):
        tags = {PIPELINE_TAG: names[start : start + NAMES_PER_QUERY]}
        filters = dg.RunsFilter(tags=tags, statuses=list(STARTED))
        lost += sum(run.status not in STARTED for run in checked_runs(instance, filters))
    return lost


def checked_runs(instance: dg.DagsterInstance, filters: dg.RunsFilter) -> Iterator[dg.DagsterRun]:
    """The runs, newest first. A lost run is reported as failed, and has this status."""
    lost_before = time.time() - LOST_SECONDS
    for record in instance.get_run_records(filters):
        run = record.dagster_run
        if (
            run.status in STARTED
            and record.create_timestamp.timestamp() < lost_before
            and _last_event_at(instance, run.run_id) < lost_before
        ):
            hours = LOST_SECONDS / 3600
            message = f"It has logged nothing for {hours:g} hours: its process was killed."
            instance.report_run_failed(run, message)
            run = run.with_status(dg.DagsterRunStatus.FAILURE)
        yield run


def _last_event_at(instance: dg.DagsterInstance, run_id: str) -> float:
    """When a run last logged something, epoch seconds; 0 where it has not."""
    records = instance.get_records_for_run(run_id, limit=1, ascending=False).records
    return records[0].timestamp if records else 0.0
