"""Everything that Dagster does for pipelines in the embedded AWS, with requests of its own.

Dagster has an access key id of its own, so that its requests differ, in the log of the embedded
AWS, from those of the functions, of Firehose, of a deployment and of this module.
"""

import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import boto3
import dagster as dg
import pytest

from ddb_pipeline.cli.sensor_loop import QUIET, SensorLoop
from ddb_pipeline.config.lake import TableFormat
from ddb_pipeline.config.names import iceberg_database, lake_table
from ddb_pipeline.config.pipeline import PipelineConfig
from ddb_pipeline.config.settings import Settings
from ddb_pipeline.conversion.convert import convert
from ddb_pipeline.definitions import build_defs
from ddb_pipeline.defs.asset_keys import PARQUET_CURRENT, PARQUET_SNAPSHOT, asset_key
from ddb_pipeline.demo.search_logs import SearchLogs
from ddb_pipeline.demo.traffic import write_items
from ddb_pipeline.embedded.clients import client_arguments
from ddb_pipeline.embedded.process import Endpoint, connect, stop
from ddb_pipeline.embedded.request_log import REQUESTS_VARIABLE
from ddb_pipeline.glue.catalog import read_table
from ddb_pipeline.lake.layout import COMPACTED_PREFIX, DeliveryHour
from ddb_pipeline.lake.objects import list_objects
from ddb_pipeline.resources import cloud as cloud_module
from ddb_pipeline.resources.cloud import CloudResource

DAGSTERS_KEY_ID = "DAGSTERSROLE"
SECONDS = 600.0
LOG = "requests.jsonl"


@contextmanager
def recorded_aws(home: Path, patch: pytest.MonkeyPatch) -> Iterator[Endpoint]:
    """An embedded AWS that logs its requests, in which Dagster has its own access key id."""
    patch.setenv(REQUESTS_VARIABLE, str(home / LOG))
    arguments = cloud_module._embedded_arguments
    patch.setattr(
        cloud_module,
        "_embedded_arguments",
        lambda *settings: {**arguments(*settings), "aws_access_key_id": DAGSTERS_KEY_ID},
    )
    try:
        yield connect(home / "embedded")
    finally:
        stop(home / "embedded")


def client(endpoint: Endpoint, service: str) -> Any:
    """A client that is not Dagster's."""
    create: Any = boto3.session.Session().client
    return create(service, **client_arguments(endpoint))


@dataclass
class WholeFlow:
    """Pipelines from their first items to the vacuum of what was replaced.

    Attributes:
        endpoint: of the embedded AWS, for what is not Dagster's.
    """

    settings: Settings
    endpoint: Endpoint
    instance: dg.DagsterInstance

    def __post_init__(self) -> None:
        self.definitions = build_defs(self.settings, whole_location=False)
        cloud = CloudResource.of(self.settings)
        # The first client deploys the stacks.
        assert cloud.glue
        self.loop = SensorLoop(self.definitions, cloud, self.instance)
        self.logs = SearchLogs(1, b"0" * 32)

    def client(self, service: str) -> Any:
        """A client that is not Dagster's."""
        return client(self.endpoint, service)

    def run(self, items: int) -> None:
        """Every asset, check, sensor and job."""
        self.write(items)
        for pipeline in self.settings.pipelines:
            self.until(partial(self.has_table, pipeline), f"the lake table of {pipeline.name}")
        self.write(items, refined=True)
        for pipeline in self.settings.pipelines:
            self.export(pipeline)
            self.land_closed_hour(pipeline)
        for pipeline in self.settings.pipelines:
            key = asset_key(pipeline, PARQUET_CURRENT)
            self.until(partial(self.is_made, key), f"the view of {pipeline.name}")
            self.until(partial(self.is_compacted, pipeline), f"a compacted hour of {pipeline.name}")
        self.check()
        for pipeline in self.settings.pipelines:
            self.replay(pipeline)
        # A second snapshot, with which the first one need not stay.
        self.export(self.settings.pipelines[0], snapshots=2)
        for pipeline in self.settings.pipelines:
            config = {"pipeline": pipeline.name}
            self.job("vacuum", {"remove_replaced_objects": {"config": config}})

    def write(self, items: int, *, refined: bool = False) -> None:
        """Write items to each table, later ones with wider types."""
        self.logs.with_refinements = refined
        for pipeline in self.settings.pipelines:
            logs = self.logs.items(items, time.time())
            write_items(
                self.client("dynamodb"), pipeline.dynamodb_table, logs, on_progress=lambda _: None
            )

    def until(self, done: Callable[[], bool], what: str) -> None:
        """Evaluate all sensors until something is done."""
        deadline = time.monotonic() + SECONDS
        while not done():
            assert time.monotonic() < deadline, f"{what} was not there in {SECONDS} s"
            self.evaluate_sensors()
            time.sleep(0.3)

    def evaluate_sensors(self) -> None:
        """Evaluate each sensor once, and execute what it requests."""
        for sensor in self.definitions.get_repository_def().sensor_defs:
            if not isinstance(sensor, dg.AutomationConditionSensorDefinition):
                self.loop.tick(sensor.name)

    def has_table(self, pipeline: PipelineConfig) -> bool:
        """Whether the lake table exists."""
        found = self.client("glue").get_tables(DatabaseName=pipeline.database)["TableList"]
        return lake_table(pipeline).name in {each["Name"] for each in found}

    def is_compacted(self, pipeline: PipelineConfig) -> bool:
        """Whether an hour is compacted, and in the Iceberg table where there is one."""
        if pipeline.table_format is TableFormat.ICEBERG:
            database = iceberg_database(pipeline)
            found = self.client("glue").get_databases()["DatabaseList"]
            return database in {each["Name"] for each in found}
        return any(list_objects(self.client("s3"), pipeline.lake, COMPACTED_PREFIX, limit=1))

    def is_made(self, key: dg.AssetKey) -> bool:
        """Whether an asset was materialised."""
        return self.instance.get_latest_materialization_event(key) is not None

    def export(self, pipeline: PipelineConfig, snapshots: int = 1) -> None:
        """Export a table, and wait until there are so many snapshots."""
        self.job("export_table", {"export_to_s3": {"config": {"pipeline": pipeline.name}}})
        key = asset_key(pipeline, PARQUET_SNAPSHOT)
        self.until(
            lambda: len(self.instance.get_materialized_partitions(key)) >= snapshots,
            f"the snapshot of {pipeline.name}",
        )

    def land_closed_hour(self, pipeline: PipelineConfig) -> None:
        """Put two objects into an hour that is over, as a retried delivery of Firehose does."""
        table = read_table(self.client("glue"), lake_table(pipeline))
        hour = DeliveryHour.of(time.time()).plus(-2)
        for number in range(2):
            body = convert([b'{"log_id": "late-%d"}' % number], table.columns).parquet
            assert body is not None
            key = pipeline.lake.object_key(f"{hour.prefix}late-{number}.parquet")
            self.client("s3").put_object(Bucket=pipeline.bucket, Key=key, Body=body)

    def check(self) -> None:
        """Run every check, and the overview."""
        job = self.definitions.resolve_implicit_global_asset_job_def()
        graph = self.definitions.get_repository_def().asset_graph
        # Others run with their asset.
        alone = {key for each in graph.assets_defs if not each.keys for key in each.check_keys}
        checks = job.get_subset(asset_selection=set(), asset_check_selection=alone)
        assert checks.execute_in_process(instance=self.instance, run_config=QUIET).success
        overview = job.execute_in_process(
            instance=self.instance,
            asset_selection=[dg.AssetKey("pipelines_overview")],
            run_config=QUIET,
        )
        assert overview.success

    def replay(self, pipeline: PipelineConfig) -> None:
        """Deliver the stream's records once more."""
        config = {"config": {"pipeline": pipeline.name}}
        self.job("replay_stream", {"deliver_stream_records": config})

    def job(self, name: str, ops: dict[str, Any]) -> None:
        """Execute a job."""
        job = self.definitions.resolve_job_def(name)
        assert job.execute_in_process(
            instance=self.instance, run_config={"ops": ops, **QUIET}
        ).success
