"""The crawl sensor: a crawl where the scheduled one would come too late."""

import time
from datetime import datetime, timezone

import dagster as dg
import pytest

from ddb_pipeline.defs import crawl as module
from ddb_pipeline.defs.crawl import STARTED_AT, crawl_sensor
from ddb_pipeline.lake.layout import HELD_PREFIX
from ddb_pipeline_tests.support.sensor_ticks import (
    FAILURE,
    STARTED,
    SUCCESS,
    Clock,
    MockAccount,
    Ticks,
)

PAUSE_SECONDS = 600
CRAWLED = dg.AssetKey(["logs", "crawled_catalog_table"])


@pytest.fixture
def ticks(account: MockAccount, instance: dg.DagsterInstance, clock: Clock) -> Ticks:
    return Ticks(crawl_sensor(account.settings), instance, account.cloud, clock)


def put_item(account: MockAccount) -> None:
    account.cloud.dynamodb.put_item(TableName="logs", Item={"log_id": {"S": "a"}})


def crawled(ticks: Ticks, started_at: float) -> None:
    """Report a crawl that began at this time."""
    started = dg.MetadataValue.timestamp(started_at)
    ticks.instance.report_runless_asset_event(
        dg.AssetMaterialization(CRAWLED, metadata={STARTED_AT: started})
    )


def test_an_empty_table_needs_no_crawl(ticks: Ticks) -> None:
    assert ticks.tick() == []
    assert ticks.skipped == "Every table is crawled, and no record is held for a column."


def test_the_first_items_are_crawled(account: MockAccount, ticks: Ticks) -> None:
    put_item(account)
    request = ticks.one()
    assert request.asset_selection == [CRAWLED]
    assert ticks.tick() == []


def test_one_crawl_at_a_time_scheduled_ones_included(account: MockAccount, ticks: Ticks) -> None:
    put_item(account)
    tags = {"ddb_pipeline/pipeline": "logs", "ddb_pipeline/stage": "crawl"}
    ticks.instance.add_run(dg.DagsterRun("scheduled", status=STARTED, tags=tags))
    assert ticks.tick() == []
    assert ticks.skipped == "logs: a crawl is in progress"


def test_a_failed_crawl_is_requested_again(account: MockAccount, ticks: Ticks) -> None:
    put_item(account)
    ticks.record(ticks.one(), FAILURE)
    assert ticks.tick() == []
    ticks.later(10)
    assert ticks.one().tags["ddb_pipeline/attempt"] == "1"


def test_held_records_are_crawled_for_once(account: MockAccount, ticks: Ticks) -> None:
    account.write_table("logs", "string")
    assert ticks.tick() == []
    account.put(f"{HELD_PREFIX}2026-09-21/object")
    (held,) = account.cloud.s3.list_objects_v2(Bucket="logs-lake")["Contents"]
    written_at = held["LastModified"].timestamp()
    request = ticks.one()
    ticks.record(request, SUCCESS)
    ticks.later(PAUSE_SECONDS)
    assert ticks.tick() == []
    # A crawl that began before the record was written may have missed its attributes.
    crawled(ticks, written_at + 1)
    assert ticks.tick() == []
    assert ticks.skipped == "Every table is crawled, and no record is held for a column."


def test_held_records_that_never_convert_hide_no_later_ones(
    account: MockAccount, ticks: Ticks, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "MAX_HELD_OBJECTS", 3)
    account.write_table("logs", "string")
    for number in range(4):
        account.put(f"{HELD_PREFIX}2026-09-21/{number}")
    crawled(ticks, time.time() + 1 - 86_400)
    account.put(f"{HELD_PREFIX}{datetime.now(timezone.utc):%Y-%m-%d}/object")
    assert len(ticks.tick()) == 1


def test_a_table_dropped_after_a_crawl_is_crawled_again(account: MockAccount, ticks: Ticks) -> None:
    put_item(account)
    ticks.record(ticks.one(), SUCCESS)
    crawled(ticks, ticks.clock.now)
    account.write_table("logs", "string")
    assert ticks.tick() == []
    account.cloud.glue.delete_table(DatabaseName="logs", Name="logs")
    assert ticks.tick() == []
    ticks.later(PAUSE_SECONDS)
    assert len(ticks.tick()) == 1
