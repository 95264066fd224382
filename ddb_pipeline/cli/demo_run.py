"""One run of the demo: items written, delivered, repaired, redelivered and counted."""

import shutil
import time
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import datetime, timezone
from pathlib import Path

import dagster as dg
from filelock import FileLock, Timeout

from ddb_pipeline.cli.sensor_loop import SensorLoop
from ddb_pipeline.config.choices import DeliverySchema
from ddb_pipeline.config.names import crawled_table, delivery_table
from ddb_pipeline.config.pipeline import PipelineConfig
from ddb_pipeline.config.settings import Settings, load_settings
from ddb_pipeline.definitions import build_defs
from ddb_pipeline.demo.search_logs import SearchLogs, demo_pseudonym_key
from ddb_pipeline.demo.traffic import write_items
from ddb_pipeline.embedded.process import status
from ddb_pipeline.errors import DdbPipelineError
from ddb_pipeline.firehose.error_objects import read_error_object
from ddb_pipeline.firehose.held import HELD_CODE
from ddb_pipeline.glue.catalog import find_table, read_table
from ddb_pipeline.glue.crawler import run_crawler
from ddb_pipeline.lake.layout import ERROR_PREFIX, STREAM_PREFIX
from ddb_pipeline.lake.objects import StoredObject, list_objects, read_object
from ddb_pipeline.lake.parquet_objects import count_rows, file_columns
from ddb_pipeline.lake.root import LakeRoot
from ddb_pipeline.resources.cloud import CloudResource

FIRST_SHARE = 0.02
"""Share of the items that is written before the first crawl."""
REFINED_SHARE = 0.1
"""Share of the items that is written last, with values of wider types."""
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
    """The demo cannot run; the message says why."""


class DemoTimeoutError(DemoError):
    """A stage of the demo did not end in time; the message names it."""


@dataclass(frozen=True, slots=True)
class Counts:
    """Numbers of records in the lake's bucket.

    Attributes:
        rows: in Parquet.
        failed: in error objects, held records included.
        codes: failed records by error code.
    """

    rows: int
    failed: int
    codes: dict[str, int]

    @property
    def total(self) -> int:
        """All records that were delivered."""
        return self.rows + self.failed

    @property
    def held(self) -> int:
        """Records held because an attribute of theirs has no column yet."""
        return self.codes.get(HELD_CODE, 0)

    @property
    def refused(self) -> int:
        """Records that Firehose could not convert."""
        return self.failed - self.held


@dataclass(frozen=True, slots=True)
class DemoResult:
    """The result of the demo, and the members of its JSON output.

    Attributes:
        failed_before_fix: records that Firehose could not convert.
        redelivered: records that failed first and are rows now.
        held: records that were held until a column existed, and are rows now.
        lost: items without a row.
        duplicated: rows beyond the first of an item.
        recrawled: whether the table was crawled again after wider values were written.
        runs: Dagster runs that repaired and redelivered.
        seconds: duration of each stage.
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
    """One run of the demo, in a home directory of its own.

    ``on_stage`` is called with a stage's name, what is done, and the total (0: unknown).
    """

    def __init__(
        self,
        settings: Settings,
        *,
        seed: int,
        on_stage: Callable[[str, int, int], None],
        deadline_seconds: float = DEADLINE_SECONDS,
    ) -> None:
        self.settings = settings
        self.pipeline: PipelineConfig = settings.pipelines[0]
        self.cloud = CloudResource.of(settings).for_pipeline(self.pipeline)
        self.seed = seed
        self.on_stage = on_stage
        self.seconds: dict[str, float] = {}
        self.deadline_seconds = deadline_seconds

    def run(self, items: int, instance: dg.DagsterInstance) -> DemoResult:
        """Write ``items`` search logs, let records fail, repair, redeliver and count them.

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
            self.until(lambda: loop.tick("crawl_sensor") > 0, "The first crawl")
            before = self.schema()
            if self.pipeline.delivery_schema is DeliverySchema.LAKE:
                self.repair(loop)
        with self.stage("write"):
            self.write(logs, items - first - refined, first)
            if self.pipeline.delivery_schema is DeliverySchema.LAKE:
                run_crawler(self.cloud.glue, self.pipeline.crawler, poll_seconds=POLL_SECONDS)
            logs.with_refinements = True
            self.write(logs, refined, items - refined)
        with self.stage("deliver"):
            failed = self.delivered(items)
        with self.stage("repair and redeliver"):
            runs_before = loop.runs
            self.settled(loop, items)
        with self.stage("check"):
            return self.result(items, failed, before, loop.runs - runs_before)

    @contextmanager
    def stage(self, name: str) -> Iterator[None]:
        """Report that a stage starts, and measure it."""
        self.on_stage(name, 0, 0)
        started = time.monotonic()
        yield
        self.seconds[name] = round(time.monotonic() - started, 2)

    def write(self, logs: SearchLogs, count: int, already: int = 0) -> None:
        """Write ``count`` items to the DynamoDB table, after ``already`` others."""
        write_items(
            self.cloud.dynamodb,
            self.pipeline.dynamodb_table,
            logs.items(count, time.time()),
            on_progress=lambda written: self.on_stage("write", already + written, 0),
        )

    def schema(self) -> dict[str, str]:
        """Column types of the crawled table."""
        table = read_table(self.cloud.glue, crawled_table(self.pipeline))
        return dict(table.columns)

    def repair(self, loop: SensorLoop) -> None:
        """Repair the crawled table and wait for the table that Firehose reads."""
        self.until(
            lambda: (
                loop.tick("glue_table_change_sensor") >= 0
                and find_table(self.cloud.glue, delivery_table(self.pipeline)) is not None
            ),
            "The creation of the lake table",
        )

    def until(self, done: Callable[[], bool], what: str) -> None:
        """Wait until ``done`` returns True.

        Raises:
            DemoTimeoutError: it did not within ``deadline_seconds``.
        """
        deadline = time.monotonic() + self.deadline_seconds
        while not done():
            if time.monotonic() > deadline:
                raise DemoTimeoutError(
                    f"{what} did not end within {self.deadline_seconds:.0f} s. Log of the embedded "
                    f"AWS: {self.settings.home / 'embedded' / 'server.log'}"
                )
            time.sleep(POLL_SECONDS)

    def counts(self) -> Counts:
        """Count the rows and the failed records in the bucket."""
        s3, lake = self.cloud.s3, self.pipeline.lake
        codes: Counter[str] = Counter()
        for stored in list_objects(s3, lake, ERROR_PREFIX):
            body = read_object(s3, lake, stored.key)
            codes.update(record.error_code for record in read_error_object(body).records)
        keys = [stored.key for stored in self.parquet()]
        rows = count_rows(self.cloud.filesystem(), lake, keys)
        return Counts(rows, sum(codes.values()), dict(codes))

    def parquet(self) -> list[StoredObject]:
        """The Parquet objects that Firehose delivered."""
        return list(list_objects(self.cloud.s3, self.pipeline.lake, STREAM_PREFIX))

    def delivered(self, items: int) -> Counts:
        """Wait until every item is a row or a failed record, and return the counts."""
        found = Counts(0, 0, {})

        def arrived() -> bool:
            nonlocal found
            found = self.counts()
            self.on_stage("deliver", found.total, items)
            return found.total >= items

        self.until(arrived, f"The delivery of {items} items ({found})")
        return found

    def settled(self, loop: SensorLoop, items: int) -> None:
        """Evaluate the sensors until no failed record is left."""

        def none_failed() -> bool:
            for sensor in SETTLING_SENSORS:
                loop.tick(sensor)
            found = self.counts()
            self.on_stage("repair and redeliver", found.rows, items)
            return found.failed == 0

        self.until(none_failed, "The redelivery of the failed records")

    def result(self, items: int, failed: Counts, before: dict[str, str], runs: int) -> DemoResult:
        """Compare the rows with the items that were written."""
        keys = [stored.key for stored in self.parquet()]
        found: Counter[str] = Counter()
        for table in file_columns(
            self.cloud.filesystem(), self.pipeline.lake, keys, [self.pipeline.partition_key]
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
            parquet_paths=local_paths(self.settings.home, self.pipeline.lake, keys),
            failure_codes=failed.codes,
            recrawled=self.pipeline.delivery_schema is DeliverySchema.LAKE,
            runs=runs,
            seconds=self.seconds,
        )


def demo_settings(settings: Settings, delivery_schema: str) -> Settings:
    """Settings with a home directory and a pipeline that only the demo uses."""
    (pipeline,) = load_settings({}, settings.home).pipelines
    chosen = pipeline.model_copy(
        update={
            "delivery_schema": DeliverySchema(delivery_schema),
            "start": datetime.now(timezone.utc).replace(minute=0, second=0, microsecond=0),
            "buffer_seconds": DEMO_BUFFER_SECONDS,
        }
    )
    return Settings(home=settings.home / "demo", pipelines=(chosen,))


@contextmanager
def fresh_home(home: Path) -> Iterator[None]:
    """Empty the demo's home directory, so that the counts are exact, and keep other demos out.

    Raises:
        DemoError: a demo is running in it.
    """
    running = DemoError(f"A demo is running in {home}. Wait until it ends, or stop it.")
    home.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
    # Beside the directory, which is removed. The lock ends with the process, even if it is killed.
    lock = FileLock(home.with_name(f"{home.name}.lock"), timeout=0, mode=0o600)
    try:
        lock.acquire()
    except Timeout:
        raise running from None
    with lock:
        if status(home / "embedded") is not None:
            raise running
        shutil.rmtree(home, ignore_errors=True)
        home.mkdir(mode=0o700)
        yield


def local_paths(home: Path, lake: LakeRoot, keys: list[str]) -> list[str]:
    """Paths of the files in which the embedded AWS stores these objects; none of a real account."""
    by_key = {
        key: path
        for path in (home / "embedded" / "s3").rglob("*.parquet")
        for key in keys
        if path.as_posix().endswith(f"/{lake.path(key)}")
    }
    return [str(by_key[key]) for key in keys if key in by_key]
