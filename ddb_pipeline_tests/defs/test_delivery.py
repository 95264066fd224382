"""Hours of the stream as Dagster materialises them: open ones registered, closed ones compacted."""

import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import dagster as dg
import pytest

from ddb_pipeline.config.lake import CompactionConfig
from ddb_pipeline.config.names import lake_table, stream_location
from ddb_pipeline.config.pipeline import PipelineConfig
from ddb_pipeline.config.settings import Settings
from ddb_pipeline.conversion.convert import convert
from ddb_pipeline.defs.delivery import is_closed, stream_asset, wanted_version
from ddb_pipeline.embedded.process import stop
from ddb_pipeline.glue.lake_table import widen_lake_table
from ddb_pipeline.glue.partitions import CatalogPartition, find_partition
from ddb_pipeline.hive.types import Column
from ddb_pipeline.lake.content import NO_CONTENT, hour_version
from ddb_pipeline.lake.layout import DeliveryHour
from ddb_pipeline.resources.cloud import CloudResource

OPEN = DeliveryHour.of(time.time())
CLOSED = OPEN.plus(-3)
PIPELINE = PipelineConfig(name="delivered", bucket="delivered-lake")
CRAWLED = [Column("log_id", "string"), Column("n", "int")]


@dataclass(frozen=True)
class Account:
    settings: Settings
    cloud: CloudResource
    instance: dg.DagsterInstance

    def land(
        self,
        hour: DeliveryHour,
        name: str,
        document: bytes,
        columns: Sequence[Column] = CRAWLED,
    ) -> None:
        body = convert([document], columns).parquet
        assert body is not None
        key = f"{hour.prefix}{name}.parquet"
        self.cloud.s3.put_object(Bucket=PIPELINE.bucket, Key=key, Body=body)

    def materialize(self, hour: DeliveryHour) -> dict[str, Any]:
        """Metadata and data version of a run for an hour."""
        result = dg.materialize(
            [stream_asset(PIPELINE)],
            partition_key=hour.partition_key,
            resources={"cloud": self.cloud},
            instance=self.instance,
        )
        (event,) = result.get_asset_materialization_events()
        found = event.materialization
        version = (found.tags or {})["dagster/data_version"]
        return {**{k: v.value for k, v in found.metadata.items()}, "version": version}

    def wanted(self, hour: DeliveryHour) -> str:
        content = hour_version(self.cloud.s3, PIPELINE.bucket, hour)
        return wanted_version(PIPELINE, hour, content, time.time())

    def partition(self, hour: DeliveryHour) -> CatalogPartition | None:
        return find_partition(self.cloud.glue, lake_table(PIPELINE), (hour.date, hour.hour))


@pytest.fixture(scope="module")
def account(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Account]:
    home = tmp_path_factory.mktemp("delivered")
    settings = Settings(home=home, pipelines=(PIPELINE,))
    cloud = CloudResource.of(settings)
    widen_lake_table(cloud.glue, lake_table(PIPELINE), stream_location(PIPELINE), CRAWLED)
    with dg.DagsterInstance.ephemeral() as instance:
        yield Account(settings, cloud, instance)
    stop(home / "embedded")


@pytest.mark.embedded
def test_an_open_hour_is_registered_and_a_closed_one_compacted(account: Account) -> None:
    for hour in (OPEN, CLOSED):
        for number in range(3):
            document = b'{"log_id":"a","n":%d}' % number
            account.land(hour, f"part-{number}", document)
        account.materialize(OPEN)
    landed, compacted = account.materialize(OPEN), account.materialize(CLOSED)
    assert (landed["files"], landed["dagster/partition_row_count"]) == (3, 3)
    assert (compacted["files"], compacted["dagster/partition_row_count"]) == (1, 3)
    assert (compacted["raw_objects"], compacted["compacted_objects"]) == (3, 3)
    for hour, found in ((OPEN, landed), (CLOSED, compacted)):
        partition = account.partition(hour)
        assert partition is not None
        assert partition.location == found["dagster/uri"]
        assert found["version"] == account.wanted(hour)
    assert "stream-compacted/" in compacted["dagster/uri"]


@pytest.mark.embedded
def test_a_closed_hour_that_cannot_be_compacted_is_registered_as_it_is(account: Account) -> None:
    hour = CLOSED.plus(-1)
    account.land(hour, "part", b'{"log_id":"a","n":1}')
    account.land(hour, "other", b'{"log_id":[7]}', [Column("log_id", "array<int>")])
    found = account.materialize(hour)
    assert "log_id is list" in found["not_compacted"]
    assert (found["files"], found["version"]) == (2, account.wanted(hour))
    partition = account.partition(hour)
    assert partition is not None
    assert partition.location.endswith(hour.prefix)


@pytest.mark.embedded
def test_a_closed_hour_without_objects(account: Account) -> None:
    found = account.materialize(CLOSED.plus(-2))
    assert (found["files"], found["version"]) == (0, NO_CONTENT)
    assert account.partition(CLOSED.plus(-2)) is None


@pytest.mark.parametrize(
    ("minutes", "buffer", "enabled", "after", "closed"),
    [
        (15, 60, True, 15 * 60 + 59, False),
        (15, 60, True, 16 * 60, True),
        (0, 0, True, 0, True),
        (0, 0, True, -1, False),
        (40, 900, True, 55 * 60 - 1, False),
        (15, 60, False, 1e9, False),
    ],
)
def test_when_an_hour_is_closed(
    minutes: float, buffer: int, enabled: bool, after: float, closed: bool
) -> None:
    settings = CompactionConfig(after_minutes=minutes, enabled=enabled)
    pipeline = PipelineConfig(name="logs", buffer_seconds=buffer, compaction=settings)
    assert is_closed(pipeline, OPEN, OPEN.ends_at + after) is closed
