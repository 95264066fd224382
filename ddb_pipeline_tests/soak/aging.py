"""Simulates years of a pipeline and prints what a tick of its sensors costs at each age.

    python -m ddb_pipeline_tests.soak.aging [--days 400] [--objects 60] [--exports 3000]

The real sensors run on an ephemeral Dagster instance, with a virtual clock and a counting S3. Up
to each printed age, hours and exports are written and recorded as processed; then a day passes in
ticks at the sensors' intervals on AWS, in which objects land in this hour and, late, in older ones,
with and without an event; some runs fail, and some exports never finish. Printed are, for each
sensor, LIST requests of a tick (mean and most), other requests (most), bytes of the cursor (most),
and CPU milliseconds of a tick; all are to be flat. The command fails if a run is requested twice
without a change or a failure between, or if a change is not requested within a day.
"""

import argparse
import random
import sys
import time
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import datetime, timezone
from typing import Any, ClassVar
from unittest import mock

import dagster as dg

from ddb_pipeline.config.names import object_change_queue
from ddb_pipeline.config.pipeline import PipelineConfig
from ddb_pipeline.config.settings import Settings, Target
from ddb_pipeline.config.spark import RelevanceConfig
from ddb_pipeline.defs import partition_requests, relevance, run_requests
from ddb_pipeline.defs.asset_keys import PARQUET_SNAPSHOT, PARQUET_STREAM, asset_key
from ddb_pipeline.defs.export_sensor import export_sensor
from ddb_pipeline.defs.landing_sensor import landing_sensor
from ddb_pipeline.defs.partition_requests import recorded
from ddb_pipeline.defs.relevance import relevance_sensor
from ddb_pipeline.export.finished import first_id
from ddb_pipeline.lake.content import NO_CONTENT, hour_version
from ddb_pipeline.lake.layout import DeliveryHour
from ddb_pipeline.resources.cloud import CloudResource
from ddb_pipeline_tests.support.counting_s3 import CountingS3, CountingSQS
from ddb_pipeline_tests.support.sensor_ticks import FAILURE, SUCCESS, Clock, Ticks

DAY = 86_400
START = datetime(2026, 1, 1, tzinfo=timezone.utc)
AGES = (2, 20, 100, 400)
FAILING = 0.02
UNFINISHED = 0.05


class SimulatedCloud(CloudResource):
    """The clients of a simulation."""

    clients: ClassVar[dict[str, Any]] = {}

    def client(self, service: str) -> Any:
        """The simulation's client of a service."""
        return self.clients[service]


@dataclass
class Cost:
    """What the ticks of one sensor cost in a day."""

    ticks: int = 0
    lists: Counter[int] = field(default_factory=Counter)
    other_requests: int = 0
    cursor_bytes: int = 0
    cpu_seconds: float = 0.0
    runs: int = 0

    @property
    def most_lists(self) -> int:
        """The LIST requests of the most expensive tick."""
        return max(self.lists)

    def line(self) -> str:
        """The cost as columns of the table."""
        mean = sum(count * ticks for count, ticks in self.lists.items()) / self.ticks
        cpu = 1000 * self.cpu_seconds / self.ticks
        return (
            f"{mean:6.2f} {self.most_lists:5} {self.other_requests:6} {self.cursor_bytes:7} "
            f"{cpu:7.1f} {self.runs:5}"
        )


class Simulation:
    """A pipeline that grows older.

    Attributes:
        repeated: run requests without a change or a failure since the former one.
    """

    def __init__(self, instance: dg.DagsterInstance, clock: Clock, objects: int) -> None:
        self.pipeline = PipelineConfig(name="logs", start=START, relevance=RelevanceConfig())
        settings = Settings(target=Target.AWS, region="eu-west-1", pipelines=(self.pipeline,))
        self.s3, self.sqs = CountingS3(), CountingSQS()
        SimulatedCloud.clients.update({"s3": self.s3, "sqs": self.sqs})
        cloud = SimulatedCloud(region_name="eu-west-1")
        self.instance = instance
        self.clock = clock
        self.objects = objects
        self.repeated: list[str] = []
        self._random = random.Random(1)
        self._processed: dict[str, str] = {}
        self._sensors = {
            sensor.name: Ticks(sensor, instance, cloud, clock)
            for sensor in (
                landing_sensor(settings),
                export_sensor(settings),
                relevance_sensor(settings),
            )
        }

    def fill(self, until: float, exports: int) -> None:
        """Write hours and exports up to a time, all of them processed."""
        begin = self.clock.now
        for hour in DeliveryHour.of(begin).until(DeliveryHour.of(until)):
            for number in range(self.objects):
                self.s3.put(f"{hour.prefix}{number:06}.parquet")
            self._record(PARQUET_STREAM, hour.partition_key, self._content(hour))
        for number in range(exports):
            export_id = f"{first_id(begin + (until - begin) * number / exports)}-{number:08x}"
            if self._put_export(export_id):
                self._record(PARQUET_SNAPSHOT, export_id, export_id)
        self.clock.now = until

    def day(self, step_seconds: int = 60) -> dict[str, Cost]:
        """Let a day pass by steps, in each of which a sensor ticks once at most; the costs."""
        costs = {name: Cost() for name in self._sensors}
        next_at = dict.fromkeys(self._sensors, self.clock.now)
        end = self.clock.now + DAY
        objects_at = self.clock.now
        while self.clock.now < end:
            while self.clock.now >= objects_at:
                objects_at += 3600 / self.objects
                self._land()
            for name, ticks in self._sensors.items():
                if self.clock.now >= next_at[name]:
                    next_at[name] += ticks.sensor.minimum_interval_seconds or 30
                    self._tick(ticks, costs[name])
            self.clock.now += step_seconds
        return costs

    def unprocessed(self) -> list[str]:
        """The hours whose content is not the recorded one after a day without new objects."""
        landing, cost = self._sensors["landing_sensor"], Cost()
        for _ in range(DAY // 120):
            self.clock.now += 120
            self._tick(landing, cost)
        start, end = DeliveryHour.of(START.timestamp()), DeliveryHour.of(self.clock.now - DAY)
        hours = {hour.partition_key: self._content(hour) for hour in start.until(end)}
        known = recorded(self.instance, asset_key(self.pipeline, PARQUET_STREAM), hours)
        processed = {key: each.data_version for key, each in known.items()}
        return [k for k, found in hours.items() if found != processed.get(k, NO_CONTENT)]

    def _tick(self, ticks: Ticks, cost: Cost) -> None:
        self.s3.requests.clear()
        self.sqs.requests.clear()
        began = time.process_time()
        requests = ticks.tick()
        cost.cpu_seconds += time.process_time() - began
        cost.ticks += 1
        cost.lists[self.s3.requests["ListObjectsV2"]] += 1
        cost.other_requests = max(cost.other_requests, self.sqs.requests.total())
        cost.cursor_bytes = max(cost.cursor_bytes, len(ticks.cursor or ""))
        cost.runs += len(requests)
        for request in requests:
            self._run(ticks, request)

    def _run(self, ticks: Ticks, request: dg.RunRequest) -> None:
        partition = request.partition_key or ""
        content = (request.run_key or "").rsplit(":", 2)[1].partition(".")[0]
        if partition and self._processed.get(partition) == content:
            self.repeated.append(request.run_key or "")
        if self._random.random() < FAILING:
            ticks.record(request, FAILURE)
        else:
            ticks.record(request, SUCCESS)
            self._processed[partition] = content

    def _land(self) -> None:
        """Write an object to this hour, and now and then one to an older hour."""
        now = self.clock.now
        self._put(DeliveryHour.of(now), with_event=True)
        if self._random.random() < 0.005:
            self._put(DeliveryHour.of(now - self._random.randrange(2, 24) * 3600), with_event=True)
        if self._random.random() < 0.002:
            ago = self._random.randrange(2, int((now - START.timestamp()) / 3600))
            self._put(DeliveryHour.of(now - ago * 3600), with_event=False)
        if self._random.random() < 0.005:
            self._put_export(f"{first_id(now)}-{self._random.randrange(16**8):08x}")

    def _put(self, hour: DeliveryHour, *, with_event: bool) -> None:
        key = f"{hour.prefix}{self._random.randrange(16**12):012x}.parquet"
        self.s3.put(key)
        if with_event:
            self.sqs.send_object_event(object_change_queue(self.pipeline), key)

    def _put_export(self, export_id: str) -> bool:
        folder = f"exports/AWSDynamoDB/{export_id}/"
        finished = self._random.random() >= UNFINISHED
        self.s3.put(f"{folder}_started")
        if finished:
            self.s3.put(f"{folder}manifest-summary.json")
        return finished

    def _content(self, hour: DeliveryHour) -> str:
        return hour_version(self.s3, self.pipeline.lake, hour)  # type: ignore[arg-type]

    def _record(self, asset: str, partition: str, version: str) -> None:
        tags = {"dagster/data_version": version}
        self.instance.report_runless_asset_event(
            dg.AssetMaterialization(asset_key(self.pipeline, asset), partition=partition, tags=tags)
        )


@contextmanager
def simulation(objects: int) -> Iterator[Simulation]:
    """A simulation that begins at ``START``, with ``objects`` an hour."""
    clock = Clock(START.timestamp())
    with (
        dg.DagsterInstance.ephemeral() as instance,
        mock.patch.object(run_requests, "time", clock),
        mock.patch.object(partition_requests, "time", clock),
        mock.patch.object(relevance, "require_pyspark", return_value=None),
    ):
        yield Simulation(instance, clock, objects)


def costs_by_age(
    simulated: Simulation, ages: Sequence[int], exports_per_day: float, step_seconds: int = 60
) -> Iterator[tuple[int, Mapping[str, Cost]]]:
    """The costs of a day at each age, in days."""
    for age in ages:
        until = START.timestamp() + age * DAY
        days = (until - simulated.clock.now) / DAY
        simulated.fill(until, int(days * exports_per_day))
        yield age, simulated.day(step_seconds)


def main() -> None:
    """Simulate and print the table."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else "")
    parser.add_argument("--days", type=int, default=400)
    parser.add_argument("--objects", type=int, default=60, help="an hour")
    parser.add_argument("--exports", type=int, default=3000)
    arguments = parser.parse_args()
    ages = [age for age in AGES if age <= arguments.days]
    rate = arguments.exports / arguments.days
    write("  days sensor             LIST  most  other  cursor  CPU ms  runs")
    with simulation(arguments.objects) as simulated:
        for age, costs in costs_by_age(simulated, ages, rate):
            for name, cost in costs.items():
                write(f"{age:6} {name:16} {cost.line()}")
            left = simulated.unprocessed()
            if left or simulated.repeated:
                raise SystemExit(f"unprocessed: {left[:5]}; repeated: {simulated.repeated[:5]}")
    write("Every change was processed within a day; nothing was requested twice without a change.")


def write(line: str) -> None:
    """Print a line at once."""
    sys.stdout.write(f"{line}\n")
    sys.stdout.flush()


if __name__ == "__main__":
    main()
