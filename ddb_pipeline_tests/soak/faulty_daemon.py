"""Dagster's daemon in the run through faults: the real sensors and their runs, killed at random.

The daemon loads the definitions below. A kill takes the daemon, or also its children, which are the
code server and the runs that it executes, as the end of their machine does.
"""

import os
import signal
import subprocess
import sys
import threading
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import dagster as dg
from botocore.config import Config

from ddb_pipeline.config.choices import DeliverySchema, StreamReader
from ddb_pipeline.config.pipeline import PipelineConfig
from ddb_pipeline.config.settings import Settings
from ddb_pipeline.definitions import build_defs
from ddb_pipeline.defs import lost_runs
from ddb_pipeline.resources.cloud import CloudResource

HOME_VARIABLE = "FAULTY_DELIVERY_HOME"
PROXY_VARIABLE = "FAULTY_DELIVERY_PROXY"
LOST_SECONDS = 45.0
"""A killed run is requested again after this time: shorter than a user's six hours."""
SENSORS = (
    "landing_sensor",
    "failed_records_sensor",
    "failed_batches_sensor",
    "crawl_sensor",
    "glue_table_change_sensor",
)
INSTANCE = """
telemetry: {enabled: false}
nux: {enabled: false}
run_coordinator:
  module: dagster.core.run_coordinator
  class: QueuedRunCoordinator
  config: {max_concurrent_runs: 2, dequeue_interval_seconds: 1}
"""

PIPELINES = (
    PipelineConfig(
        name="by_lambda",
        bucket="by-lambda-lake",
        buffer_seconds=5,
        delivery_schema=DeliverySchema.CRAWLED,
    ),
    PipelineConfig(
        name="by_consumer",
        bucket="by-consumer-lake",
        buffer_seconds=5,
        delivery_schema=DeliverySchema.CRAWLED,
        stream_reader=StreamReader.CONSUMER,
    ),
)


@dg.definitions
def faulty_definitions() -> dg.Definitions:
    """The code location, of which the requests go through the proxy."""
    requests_through(os.environ[PROXY_VARIABLE])
    setattr(lost_runs, "LOST_SECONDS", LOST_SECONDS)  # noqa: B010
    definitions = build_defs(Settings(home=Path(os.environ[HOME_VARIABLE]), pipelines=PIPELINES))
    sensors = [s for s in definitions.sensors or () if s.name in SENSORS]
    return dg.Definitions(
        assets=definitions.assets,
        jobs=definitions.jobs,
        sensors=sensors,
        resources=definitions.resources,
        executor=definitions.executor,
    )


def requests_through(proxy: str) -> None:
    """Let the Dagster resource's boto3 clients of this process use the proxy."""
    original = CloudResource.client_arguments

    def with_proxy(self: CloudResource) -> dict[str, Any]:
        arguments = dict(original(self))
        arguments["config"] = arguments["config"].merge(Config(proxies={"http": proxy}))
        return arguments

    CloudResource.client_arguments = with_proxy  # type: ignore[method-assign]


class Daemon:
    """The daemon's process, started again whenever it ends.

    Attributes:
        home: Dagster's home folder.
    """

    def __init__(self, home: Path, proxy: str) -> None:
        self.home = home / "dagster"
        self.home.mkdir(parents=True, exist_ok=True)
        (self.home / "dagster.yaml").write_text(INSTANCE, "utf-8")
        self._environment = {
            **os.environ,
            "DAGSTER_HOME": str(self.home),
            HOME_VARIABLE: str(home),
            PROXY_VARIABLE: proxy,
        }
        self._ended = threading.Event()
        self._process: subprocess.Popen[bytes] | None = None
        self._thread = threading.Thread(target=self._run)
        self._thread.start()

    def kill(self, *, children: bool = True) -> bool:
        """Kill the daemon, with its children or without; returns whether it ran."""
        process = self._process
        if process is None or process.poll() is not None:
            return False
        if children:
            os.killpg(process.pid, signal.SIGKILL)
        else:
            process.kill()
        return True

    def end(self) -> None:
        """Kill the daemon for good."""
        self._ended.set()
        while self._thread.is_alive():
            # Once more where it was just started.
            self.kill()
            self._thread.join(1.0)

    def runs(self) -> Sequence[dg.DagsterRun]:
        """All runs so far."""
        with dg.DagsterInstance.from_config(str(self.home)) as instance:
            return instance.get_runs()

    def _run(self) -> None:
        command = [str(Path(sys.executable).parent / "dagster-daemon"), "run"]
        command += ["-m", __spec__.name]
        while not self._ended.is_set():
            with (self.home / "daemon.log").open("ab") as output:
                self._process = subprocess.Popen(
                    command,
                    env=self._environment,
                    stdin=subprocess.DEVNULL,
                    stdout=output,
                    stderr=output,
                    start_new_session=True,
                )
            self._process.wait()
            # The code server and the runs are in the daemon's session.
            self._ended.wait(1.0)
