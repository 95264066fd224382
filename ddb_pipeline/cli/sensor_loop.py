"""Evaluates sensors and executes their run requests in this process, without Dagster's daemon."""

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any, cast

import dagster as dg

from ddb_pipeline.errors import DdbPipelineError
from ddb_pipeline.resources.cloud import CloudResource

QUIET = {"loggers": {"console": {"config": {"log_level": "CRITICAL"}}}}


class RunFailedError(DdbPipelineError):
    """A requested run failed; the message holds the error of the step."""


@dataclass
class SensorLoop:
    """The sensors of the definitions and their cursors, on one Dagster instance.

    Attributes:
        runs: number of runs executed so far.
    """

    definitions: dg.Definitions
    cloud: CloudResource
    instance: dg.DagsterInstance
    cursors: dict[str, str | None] = field(default_factory=dict)
    runs: int = 0

    def tick(self, sensor_name: str) -> int:
        """Evaluate one sensor and execute the runs that it requests; returns their number.

        Raises:
            RunFailedError: one of them failed.
        """
        sensor = self.definitions.get_repository_def().get_sensor_def(sensor_name)
        with dg.build_sensor_context(
            instance=self.instance,
            cursor=self.cursors.get(sensor_name),
            resources={"cloud": self.cloud},
            definitions=self.definitions,
            sensor_name=sensor_name,
        ) as context:
            # Its evaluate_tick does not find the partitions that the sensor adds.
            data = cast(dg.SensorResult, sensor(context))
        self.cursors[sensor_name] = data.cursor or self.cursors.get(sensor_name)
        for added in data.dynamic_partitions_requests or ():
            if isinstance(added, dg.AddDynamicPartitionsRequest):
                keys = list(added.partition_keys)
                self.instance.add_dynamic_partitions(added.partitions_def_name, keys)
        for event in data.asset_events:
            if isinstance(event, dg.AssetMaterialization):
                self.instance.report_runless_asset_event(event)
        for request in data.run_requests or ():
            # A request of assets names them; any other is of the sensor's own job.
            own_job = None if request.asset_selection else sensor.job_name
            self._execute(request, request.job_name or own_job)
        return len(data.run_requests or ())

    def _execute(self, request: dg.RunRequest, job_name: str | None) -> None:
        selection: Sequence[dg.AssetKey] = request.asset_selection or ()
        job = (
            self.definitions.resolve_job_def(job_name)
            if job_name
            else self.definitions.resolve_implicit_global_asset_job_def()
        )
        result = job.execute_in_process(
            instance=self.instance,
            asset_selection=list(selection) or None,
            partition_key=request.partition_key,
            tags={**request.tags, "dagster/run_key": request.run_key or ""},
            run_config={**request.run_config, **QUIET},
            raise_on_error=False,
        )
        self.runs += 1
        if not result.success:
            failures = [
                _root_message(event.step_failure_data.error)
                for event in result.all_events
                if event.is_step_failure and event.step_failure_data.error
            ]
            names = ", ".join(key.to_user_string() for key in selection) or job_name
            raise RunFailedError(f"Materialising {names} failed: {'; '.join(failures)}")


def _root_message(error: Any) -> str:
    """The message of the original error, without Dagster's errors that wrap it."""
    while error.cause is not None:
        error = error.cause
    return str(error.message).strip()
