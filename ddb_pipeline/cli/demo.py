"""``ddb-pipeline demo``: the whole flow without the UI, counted and checked."""

import json
import shutil
import time
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import dagster as dg

from ddb_pipeline.cli.sensor_loop import SensorLoop
from ddb_pipeline.config import DeliverySchema, PipelineConfig, Settings
from ddb_pipeline.definitions import build_defs
from ddb_pipeline.defs.crawl import crawled_reference
from ddb_pipeline.defs.redelivery import delivery_table
from ddb_pipeline.demo.search_logs import SearchLogs, pseudonym_key
from ddb_pipeline.demo.traffic import write_items
from ddb_pipeline.firehose.failed import read_error_object
from ddb_pipeline.glue.catalog import find_table, read_table
from ddb_pipeline.glue.crawler import run_crawler
from ddb_pipeline.lake.layout import ERROR_PREFIX, STREAM_PREFIX
from ddb_pipeline.lake.stats import StoredObject, count_rows, list_objects, read_columns
from ddb_pipeline.resources.cloud import CloudResource

FIRST_SHARE = 0.02
REFINED_SHARE = 0.1
DEADLINE_SECONDS = 300.0
POLL_SECONDS = 0.3
SETTLING_SENSORS = (
    "glue_table_change_sensor",
    "crawl_sensor",
    "failed_records_sensor",
    "landing_sensor",
)


class DemoTimeoutError(Exception):
    """A stage of the demo did not come to its end; the message says which and what was there."""


@dataclass(frozen=True, slots=True)
class Counts:
    """What lies in the lake and what waits, in records."""

    rows: int
    failed: int
    codes: dict[str, int]

    @property
    def total(self) -> int:
        return self.rows + self.failed


@dataclass(frozen=True, slots=True)
class DemoResult:
    """The demo's summary; the names are those of its JSON."""

    items_written: int
    rows: int
    failed_before_fix: int
    redelivered: int
    lost: int
    duplicated: int
    schema_before: dict[str, str]
    schema_after: dict[str, str]
    parquet_paths: list[str]
    failure_codes: dict[str, int]
    recrawled: bool
    runs: int
    seconds: dict[str, float] = field(default_factory=dict)


class Demo:
    """One run of the demo in a home of its own."""

    def __init__(
        self,
        settings: Settings,
        *,
        seed: int,
        on_stage: Callable[[str, int, int], None],
    ) -> None:
        self.settings = settings
        self.pipeline: PipelineConfig = settings.pipelines[0]
        self.cloud = CloudResource.of(settings)
        self.seed = seed
        self.on_stage = on_stage
        self.seconds: dict[str, float] = {}

    def run(self, items: int, instance: dg.DagsterInstance) -> DemoResult:
        """Write ``items`` log items, see them fail and come back, and count them.

        Raises:
            DemoTimeoutError: records did not arrive in time.
            RunFailedError: a Dagster run failed.
        """
        loop = SensorLoop(build_defs(self.settings), self.cloud, instance)
        first = max(1, int(items * FIRST_SHARE))
        refined = int(items * REFINED_SHARE)
        logs = SearchLogs(self.seed, pseudonym_key(self.settings.home / "demo-pseudonym.key"))
        with self.stage("start"):
            self.cloud.glue.get_databases()
        with self.stage("first items"):
            self.write(logs, first)
        with self.stage("crawl"):
            self.until(lambda: loop.tick("crawl_sensor") > 0, "the first crawl")
            before = self.schema()
            if self.pipeline.delivery_schema is DeliverySchema.LAKE:
                self.mend(loop)
        with self.stage("write"):
            self.write(logs, items - first - refined, first)
            if self.pipeline.delivery_schema is DeliverySchema.LAKE:
                run_crawler(self.cloud.glue, self.pipeline.crawler, poll_seconds=POLL_SECONDS)
            logs.with_refinements = True
            self.write(logs, refined, items - refined)
        with self.stage("deliver"):
            failed = self.delivered(items)
        with self.stage("mend and redeliver"):
            runs_before = loop.runs
            self.settled(loop, items)
        with self.stage("check"):
            return self.result(items, failed, before, loop.runs - runs_before)

    @contextmanager
    def stage(self, name: str) -> Iterator[None]:
        """Measures a stage in seconds and tells that it began and ended."""
        self.on_stage(name, 0, 0)
        started = time.monotonic()
        yield
        self.seconds[name] = round(time.monotonic() - started, 2)

    def write(self, logs: SearchLogs, count: int, already: int = 0) -> None:
        write_items(
            self.cloud.dynamodb,
            self.pipeline.dynamodb_table,
            logs.items(count, time.time()),
            on_progress=lambda written: self.on_stage("write", already + written, 0),
        )

    def schema(self) -> dict[str, str]:
        table = read_table(self.cloud.glue, crawled_reference(self.pipeline))
        return dict(table.columns)

    def mend(self, loop: SensorLoop) -> None:
        self.until(
            lambda: (
                loop.tick("glue_table_change_sensor") >= 0
                and find_table(self.cloud.glue, delivery_table(self.pipeline)) is not None
            ),
            "the lake table",
        )

    def until(self, done: Callable[[], bool], what: str) -> None:
        deadline = time.monotonic() + DEADLINE_SECONDS
        while not done():
            if time.monotonic() > deadline:
                raise DemoTimeoutError(
                    f"{what} did not come within {DEADLINE_SECONDS:.0f} s. The embedded AWS's "
                    f"log: {self.settings.home / 'embedded' / 'server.log'}"
                )
            time.sleep(POLL_SECONDS)

    def counts(self) -> Counts:
        """Rows and failed records as they lie in the bucket now."""
        s3, bucket = self.cloud.s3, self.pipeline.bucket
        codes: Counter[str] = Counter()
        for stored in list_objects(s3, bucket, ERROR_PREFIX):
            body = s3.get_object(Bucket=bucket, Key=stored.key)["Body"].read()
            codes.update(record.error_code for record in read_error_object(body).records)
        keys = [stored.key for stored in self.parquet()]
        rows = count_rows(self.cloud.filesystem(), bucket, keys)
        return Counts(rows, sum(codes.values()), dict(codes))

    def parquet(self) -> list[StoredObject]:
        return list(list_objects(self.cloud.s3, self.pipeline.bucket, STREAM_PREFIX))

    def delivered(self, items: int) -> Counts:
        """Wait until every item is a row or a failed record."""
        found = Counts(0, 0, {})

        def arrived() -> bool:
            nonlocal found
            found = self.counts()
            self.on_stage("deliver", found.total, items)
            return found.total >= items

        self.until(arrived, f"delivery of {items} items ({found})")
        return found

    def settled(self, loop: SensorLoop, items: int) -> None:
        """Tick the sensors until nothing waits any more."""

        def nothing_waits() -> bool:
            for sensor in SETTLING_SENSORS:
                loop.tick(sensor)
            found = self.counts()
            self.on_stage("mend and redeliver", found.rows, items)
            return found.failed == 0

        self.until(nothing_waits, "redelivery of the failed records")

    def result(self, items: int, failed: Counts, before: dict[str, str], runs: int) -> DemoResult:
        keys = [stored.key for stored in self.parquet()]
        found: Counter[str] = Counter()
        for table in read_columns(
            self.cloud.filesystem(), self.pipeline.bucket, keys, [self.pipeline.partition_key]
        ):
            found.update(table.column(self.pipeline.partition_key).to_pylist())
        rows = sum(found.values())
        return DemoResult(
            items_written=items,
            rows=rows,
            failed_before_fix=failed.failed,
            redelivered=rows - failed.rows,
            lost=items - len(found),
            duplicated=rows - len(found),
            schema_before=before,
            schema_after=self.schema(),
            parquet_paths=[],
            failure_codes=failed.codes,
            recrawled=self.pipeline.delivery_schema is DeliverySchema.LAKE,
            runs=runs,
            seconds=self.seconds,
        )
