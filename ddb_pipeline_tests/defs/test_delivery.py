"""Hours of the stream as Dagster materialises them: open ones registered, closed ones compacted."""

import time
from collections.abc import Iterator
from typing import Any

import dagster as dg
import pytest

from ddb_pipeline.config.choices import DeliverySchema
from ddb_pipeline.config.lake import CompactionConfig, RetentionConfig
from ddb_pipeline.config.names import lake_table, stream_location
from ddb_pipeline.config.pipeline import PipelineConfig
from ddb_pipeline.config.settings import Settings
from ddb_pipeline.config.spark import RelevanceConfig
from ddb_pipeline.definitions import build_defs
from ddb_pipeline.defs.delivery import is_closed, wanted_version
from ddb_pipeline.defs.vacuum import needed_since
from ddb_pipeline.embedded.process import stop
from ddb_pipeline.glue.lake_table import widen_lake_table
from ddb_pipeline.glue.partitions import CatalogPartition, find_partition
from ddb_pipeline.hive.types import Column
from ddb_pipeline.lake.content import NO_CONTENT, hour_version, is_processed
from ddb_pipeline.lake.identity_partitions import Expected
from ddb_pipeline.lake.layout import DeliveryHour
from ddb_pipeline.lake.objects import list_objects
from ddb_pipeline.lake.reconciliation_state import ReconciliationState, read_state, write_state
from ddb_pipeline.resources.cloud import CloudResource
from ddb_pipeline_tests.support.delivered_hours import DeliveredHours

CLOSED = DeliveryHour.of(time.time()).plus(-3)
PIPELINE = PipelineConfig(
    name="delivered",
    bucket="delivered-lake",
    lake_prefix="sales/delivered",
    retention=RetentionConfig(raw_days=1e-9, replaced_days=1e-9),
)
CRAWLED = [Column("log_id", "string"), Column("n", "int")]


class Account(DeliveredHours):
    """The account of the pipeline."""

    def vacuum(self, *, dry_run: bool) -> dict[str, Any]:
        """The metadata of a run of the job."""
        config = {"pipeline": PIPELINE.name, "dry_run": dry_run}
        job = build_defs(self.settings).resolve_job_def("vacuum")
        result = job.execute_in_process(
            run_config={"ops": {"remove_replaced_objects": {"config": config}}},
            instance=self.instance,
        )
        (output,) = (event for event in result.all_events if event.is_successful_output)
        metadata = output.step_output_data.metadata
        return {name: value.value for name, value in metadata.items()}

    def wanted(self, hour: DeliveryHour) -> str:
        content = hour_version(self.cloud.s3, PIPELINE.lake, hour)
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
    present = DeliveryHour.of(time.time())
    for hour in (present, CLOSED):
        for number in range(3):
            document = b'{"log_id":"a","n":%d}' % number
            account.land(hour, f"part-{number}", document, CRAWLED)
        account.materialize(present)
    landed, compacted = account.materialize(present), account.materialize(CLOSED)
    assert (landed["files"], landed["dagster/partition_row_count"]) == (3, 3)
    assert (compacted["files"], compacted["dagster/partition_row_count"]) == (1, 3)
    assert (compacted["raw_objects"], compacted["compacted_objects"]) == (3, 3)
    for hour, found in ((present, landed), (CLOSED, compacted)):
        partition = account.partition(hour)
        assert partition is not None
        assert partition.location == found["dagster/uri"]
        assert found["version"] == account.wanted(hour)
    assert "stream-compacted/" in compacted["dagster/uri"]


@pytest.mark.embedded
def test_a_closed_hour_that_cannot_be_compacted_is_registered_as_it_is(account: Account) -> None:
    hour = CLOSED.plus(-1)
    account.land(hour, "part", b'{"log_id":"a","n":1}', CRAWLED)
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


@pytest.mark.embedded
def test_the_vacuum_removes_the_raw_objects_of_a_compacted_hour(account: Account) -> None:
    """And the landing sensor requests no run for it."""
    hour = CLOSED.plus(-30)
    account.land(hour, "part", b'{"log_id":"a","n":1}', CRAWLED)
    version = account.materialize(hour)["version"]
    found = [account.vacuum(dry_run=dry_run) for dry_run in (True, False, False)]
    assert [(each["dry_run"], each["objects"]) for each in found] == [
        (True, 1),
        (False, 1),
        (False, 0),
    ]
    assert f"| raw objects | {hour.partition_key} | 1 |" in found[1]["removals"]
    assert list(list_objects(account.cloud.s3, PIPELINE.lake, hour.prefix)) == []
    assert account.wanted(hour) == NO_CONTENT
    assert is_processed(account.wanted(hour), version)
    again = account.materialize(hour)
    assert (again["files"], again["dagster/partition_row_count"]) == (1, 1)
    assert again["version"] == NO_CONTENT


@pytest.mark.embedded
def test_since_when_raw_objects_are_needed(account: Account) -> None:
    now, cloud = time.time(), account.cloud
    assert needed_since(cloud, PIPELINE, now) == now - 26 * 3600
    scored = PIPELINE.model_copy(update={"relevance": RelevanceConfig(window_days=9)})
    assert needed_since(cloud, scored, now) == now - 26 * 3600
    crawled = scored.model_copy(update={"delivery_schema": DeliverySchema.CRAWLED})
    assert needed_since(cloud, crawled, now) == now - 10 * 86_400
    arn = cloud.dynamodb.describe_table(TableName="delivered")["Table"]["LatestStreamArn"]
    missing = (Expected("digest", now - 3 * 86_400, "event"),)
    _, etag = read_state(cloud.s3, PIPELINE.lake, arn)
    write_state(cloud.s3, PIPELINE.lake, ReconciliationState(arn, missing=missing), etag)
    assert needed_since(cloud, PIPELINE, now) == now - 3 * 86_400 - 7_200


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
    assert is_closed(pipeline, CLOSED, CLOSED.ends_at + after) is closed
