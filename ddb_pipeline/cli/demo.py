"""``ddb-pipeline demo``: the whole flow without the UI, counted and checked."""

import json
import shutil
import sys
import time
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass, field
from datetime import datetime, timezone
from pathlib import Path

import click
import dagster as dg
from rich.console import Console
from rich.progress import (
    BarColumn,
    MofNCompleteColumn,
    Progress,
    TaskID,
    TextColumn,
    TimeElapsedColumn,
)

from ddb_pipeline.cli.sensor_loop import SensorLoop
from ddb_pipeline.config.names import crawled_table, delivery_table
from ddb_pipeline.config.pipeline import DeliverySchema, PipelineConfig
from ddb_pipeline.config.settings import Settings, load_settings
from ddb_pipeline.definitions import build_defs
from ddb_pipeline.demo.search_logs import SearchLogs, demo_pseudonym_key
from ddb_pipeline.demo.traffic import write_items
from ddb_pipeline.embedded.process import status
from ddb_pipeline.errors import DdbPipelineError
from ddb_pipeline.firehose.error_objects import read_error_object
from ddb_pipeline.firehose.held import UNDECLARED_CODE
from ddb_pipeline.glue.catalog import find_table, read_table
from ddb_pipeline.glue.crawler import run_crawler
from ddb_pipeline.lake.layout import ERROR_PREFIX, STREAM_PREFIX
from ddb_pipeline.lake.objects import StoredObject, list_objects
from ddb_pipeline.lake.parquet_objects import count_rows, file_columns
from ddb_pipeline.resources.cloud import CloudResource

FIRST_SHARE = 0.02
REFINED_SHARE = 0.1
DEADLINE_SECONDS = 300.0
POLL_SECONDS = 0.3
DEMO_BUFFER_SECONDS = 5
SETTLING_SENSORS = (
    "glue_table_change_sensor",
    "crawl_sensor",
    "failed_records_sensor",
    "landing_sensor",
)


class DemoError(DdbPipelineError):
    """The demo cannot run as asked; the message says why."""


class DemoTimeoutError(DemoError):
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

    @property
    def held(self) -> int:
        """Records that wait for columns, so as not to be cut short."""
        return self.codes.get(UNDECLARED_CODE, 0)

    @property
    def refused(self) -> int:
        """Records that Firehose could not convert."""
        return self.failed - self.held


@dataclass(frozen=True, slots=True)
class DemoResult:
    """The demo's summary; the names are those of its JSON.

    Attributes:
        failed_before_fix: records that Firehose refused to convert.
        redelivered: those of them that are rows now.
        held: records that waited for a column instead of losing an attribute; rows now.
        lost: items written that are no row.
        duplicated: rows beyond one an item.
    """

    items_written: int
    rows: int
    failed_before_fix: int
    redelivered: int
    held: int
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
        logs = SearchLogs(self.seed, demo_pseudonym_key(self.settings.home))
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
        table = read_table(self.cloud.glue, crawled_table(self.pipeline))
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
        for table in file_columns(
            self.cloud.filesystem(), self.pipeline.bucket, keys, [self.pipeline.partition_key]
        ):
            found.update(table.column(self.pipeline.partition_key).to_pylist())
        rows = sum(found.values())
        return DemoResult(
            items_written=items,
            rows=rows,
            failed_before_fix=failed.refused,
            redelivered=rows - failed.rows - failed.held,
            held=failed.held,
            lost=items - len(found),
            duplicated=rows - len(found),
            schema_before=before,
            schema_after=self.schema(),
            parquet_paths=local_paths(self.settings.home, self.pipeline.bucket, keys),
            failure_codes=failed.codes,
            recrawled=self.pipeline.delivery_schema is DeliverySchema.LAKE,
            runs=runs,
            seconds=self.seconds,
        )


def demo_settings(settings: Settings, delivery_schema: str) -> Settings:
    """A pipeline of its own in a home of its own, so that every record there is the demo's."""
    (pipeline,) = load_settings({}, settings.home).pipelines
    chosen = pipeline.model_copy(
        update={
            "delivery_schema": DeliverySchema(delivery_schema),
            "start": datetime.now(timezone.utc).replace(minute=0, second=0, microsecond=0),
            "buffer_seconds": DEMO_BUFFER_SECONDS,
        }
    )
    return Settings(home=settings.home / "demo", pipelines=(chosen,))


def fresh_home(home: Path) -> None:
    """An empty folder: the counts are exact only where nothing was before.

    Raises:
        DemoError: a demo is running there.
    """
    if status(home / "embedded") is not None:
        raise DemoError(f"A demo is running in {home}. Wait for its end, or stop it.")
    shutil.rmtree(home, ignore_errors=True)
    home.mkdir(parents=True)


def local_paths(home: Path, bucket: str, keys: list[str]) -> list[str]:
    """Where the embedded AWS keeps these objects on disk."""
    by_key = {
        key: path
        for path in (home / "embedded" / "s3").rglob("*.parquet")
        for key in keys
        if path.as_posix().endswith(f"/{bucket}/{key}")
    }
    return [str(by_key[key]) for key in keys]


@click.command()
@click.option("--items", default=5000, show_default=True, type=click.IntRange(min=50))
@click.option("--seed", default=1, show_default=True, help="Equal seeds give equal searches.")
@click.option(
    "--delivery-schema",
    type=click.Choice(["crawled", "lake"]),
    default="crawled",
    show_default=True,
    help="crawled shows failure and cure; with lake a recrawl fails nothing.",
)
@click.option("--json", "as_json", is_flag=True, help="Print one JSON object.")
def demo(items: int, seed: int, delivery_schema: str, as_json: bool) -> None:
    """Run the whole flow on the embedded AWS and count every record.

    Exit status 1 if anything was lost.
    """
    settings = demo_settings(load_settings(), delivery_schema)
    fresh_home(settings.home)
    console = Console(stderr=True)
    with progress(console, quiet=as_json) as on_stage, dg.DagsterInstance.ephemeral() as instance:
        result = Demo(settings, seed=seed, on_stage=on_stage).run(items, instance)
    click.echo(json.dumps(asdict(result)) if as_json else summary(result, settings))
    if result.lost:
        sys.exit(1)


@contextmanager
def progress(console: Console, *, quiet: bool) -> Iterator[Callable[[str, int, int], None]]:
    """A bar per stage on a terminal; a line per stage elsewhere; nothing where quiet."""
    if quiet:
        yield lambda stage, done, total: None
    elif console.is_terminal:
        with Progress(
            TextColumn("{task.description:<20}"),
            BarColumn(),
            MofNCompleteColumn(),
            TimeElapsedColumn(),
            console=console,
        ) as bars:
            yield StageBars(bars)
    else:
        seen: set[str] = set()

        def line(stage: str, done: int, total: int) -> None:
            if stage not in seen:
                seen.add(stage)
                console.print(f"{stage} ...")

        yield line


class StageBars:
    """One bar for each stage, the one before it complete when the next begins."""

    def __init__(self, bars: Progress) -> None:
        self._bars = bars
        self._tasks: dict[str, TaskID] = {}

    def __call__(self, stage: str, done: int, total: int) -> None:
        if stage not in self._tasks:
            for task in self._bars.tasks:
                self._bars.update(task.id, completed=task.total or task.completed)
                self._bars.stop_task(task.id)
            self._tasks[stage] = self._bars.add_task(stage, total=None)
        self._bars.update(self._tasks[stage], completed=done, total=total or None)


def summary(result: DemoResult, settings: Settings) -> str:
    """The result for a reader."""
    sets = {name: text for name, text in result.schema_before.items() if "set<" in text}
    lines = [
        f"{result.items_written} items written, {result.rows} rows in Parquet, "
        f"{result.lost} lost, {result.duplicated} duplicated.",
        f"{result.failed_before_fix} records failed before the fix, {result.redelivered} of them "
        "are rows now;",
        f"{result.held} were held until a column declared all their attributes.",
        *(f"  {count:>8} {code}" for code, count in sorted(result.failure_codes.items())),
        f"Mended and redelivered by {result.runs} Dagster run(s).",
        "The crawler wrote, and the fix made of it:",
    ]
    for name, text in sorted(sets.items()):
        lines += [f"  - {name}: {text}", f"  + {name}: {result.schema_after[name]}"]
    stages = ", ".join(f"{stage} {seconds:.1f} s" for stage, seconds in result.seconds.items())
    lines.append(f"Seconds: {stages}.")
    folder = Path(result.parquet_paths[0]).parents[2] if result.parquet_paths else settings.home
    lines.append(f"Parquet: {folder} ({len(result.parquet_paths)} files)")
    return "\n".join(lines)
