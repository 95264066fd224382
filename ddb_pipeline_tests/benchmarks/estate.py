"""What a code location with many pipelines costs: loading it, and the ticks of its sensors.

    python -m ddb_pipeline_tests.benchmarks.estate [PIPELINES...]

Printed are, for each number of pipelines: CPU seconds beyond importing Dagster, to import this
package, to build the definitions and the repository, and to make the snapshot that Dagster's web
server and daemon load; its size; the process's memory. The seconds of Dagster's own import show how
fast the machine is. Then, for each sensor of pipelines that have all parts (consumer, current view,
relevance scores), on tables without changes that moto imitates: the ticks that visit every
pipeline, the CPU seconds and AWS requests of the largest tick, and the delay of the pipeline that
waits longest, which is the sensor's interval, or the ticks' time if that is more.
"""

import argparse
import itertools
import os
import re
import resource
import subprocess
import sys
import time
from collections.abc import Mapping, Sequence
from typing import Any

DEFAULT = (1, 200, 500)
ALL_PARTS: Mapping[str, Any] = {
    "current": "exports",
    "relevance": {},
    "stream_reader": "consumer",
}
PROGRAM = "from ddb_pipeline_tests.benchmarks.estate import measure; measure({count}, {ticks})"


def main() -> None:
    """Measure each number of pipelines in a process of its own."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else "")
    parser.add_argument("pipelines", type=int, nargs="*", default=DEFAULT)
    parser.add_argument("--no-ticks", action="store_true", help="loading only")
    arguments = parser.parse_args()
    for count in arguments.pipelines:
        program = PROGRAM.format(count=count, ticks=not arguments.no_ticks)
        subprocess.run([sys.executable, "-c", program], check=True, env=dict(os.environ))


def measure(count: int, ticks: bool) -> None:
    """Print what ``count`` pipelines cost. Imports are part of what is measured."""
    start = time.process_time()
    import dagster as dg

    dagster_seconds = time.process_time() - start
    moments = [time.process_time()]
    from ddb_pipeline.config.settings import Settings
    from ddb_pipeline.definitions import build_defs

    moments.append(time.process_time())
    definitions = build_defs(Settings.model_validate(configuration(count)))
    moments.append(time.process_time())
    repository = definitions.get_repository_def()
    moments.append(time.process_time())
    size = snapshot_size(repository)
    moments.append(time.process_time())
    imported, built, resolved, stored = (
        f"{end - start:.2f}" for start, end in itertools.pairwise(moments)
    )
    beyond = moments[3] - moments[0]
    write(
        f"{count} pipelines: {beyond:.2f} s beyond importing Dagster, which takes "
        f"{dagster_seconds:.2f} (import {imported}, definitions {built}, repository {resolved}); "
        f"snapshot {stored} s, {size / 1e6:.1f} MB; memory {memory():.0f} MB"
    )
    if ticks:
        settings = Settings.model_validate(configuration(count, **ALL_PARTS))
        sensors = build_defs(settings).get_repository_def().sensor_defs
        with dg.DagsterInstance.ephemeral() as instance:
            measure_ticks(settings, instance, sensors)


def configuration(count: int, **options: Any) -> dict[str, Any]:
    """The configuration of so many pipelines with these options."""
    pipelines = [
        {
            "name": f"table_{number:04}",
            "bucket": f"lake-{number:04}",
            "export_schedule": "@daily",
            **options,
        }
        for number in range(count)
    ]
    return {"target": "aws", "region": "eu-west-1", "pipelines": pipelines}


def snapshot_size(repository: object) -> int:
    """Make the snapshot as the code server does; its bytes."""
    from dagster._core.remote_representation.external_data import RepositorySnap
    from dagster._serdes import serialize_value

    snapshot = RepositorySnap.from_def(repository, defer_snapshots=True)  # type: ignore[arg-type]
    return len(serialize_value(snapshot))


def measure_ticks(settings: object, instance: object, sensors: object) -> None:
    """Print what the sensors' ticks cost until each pipeline was visited once."""
    from moto import mock_aws

    from ddb_pipeline_tests.support.sensor_ticks import Clock, MockAccount, Ticks

    with mock_aws():
        account = MockAccount(*settings.pipelines)  # type: ignore[attr-defined]
        for sensor in sensors:  # type: ignore[attr-defined]
            ticks = Ticks(sensor, instance, account.cloud, Clock(time.time()))  # type: ignore[arg-type]
            account.cloud.requests.clear()
            seconds: list[float] = []
            calls: list[int] = []
            names = [pipeline.name for pipeline in settings.pipelines]  # type: ignore[attr-defined]
            visited = 0
            while visited < len(names):
                start, before = time.process_time(), account.cloud.requests.total()
                ticks.tick()
                seconds.append(time.process_time() - start)
                calls.append(account.cloud.requests.total() - before)
                visited = visited_so_far(names, ticks.cursor, visited)
            interval = float(sensor.minimum_interval_seconds or 30)
            delay = sum(max(interval, each) for each in seconds)
            requests = ", ".join(f"{n} {name}" for name, n in account.cloud.requests.items())
            write(
                f"  {sensor.name}: {len(seconds)} tick(s) of at most {max(seconds):.2f} s and "
                f"{max(calls)} requests; a pipeline waits {delay:.0f} s at most; "
                f"in all {requests or 'no request'}"
            )


def visited_so_far(names: Sequence[str], cursor: str | None, before: int) -> int:
    """How many pipelines were visited, of those before the one with which the next tick begins.

    A tick that ends early begins the next one where it stopped, so that this position passes over
    all pipelines again and again.
    """
    found = re.search(r'"/?first": ?"([^"]+)"', cursor or "")
    position = names.index(found[1]) if found else 0
    return position if position > before else len(names)


def memory() -> float:
    """The most memory that this process has had, in MB."""
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024


def write(line: str) -> None:
    """Print a line at once."""
    sys.stdout.write(f"{line}\n")
    sys.stdout.flush()


if __name__ == "__main__":
    main()
