"""The failed-records sensor: a redelivery where it can make progress."""

import dagster as dg
import pytest

from ddb_pipeline.defs.redelivery import failed_records_sensor
from ddb_pipeline_tests.support.sensor_ticks import (
    FAILURE,
    STARTED,
    SUCCESS,
    Clock,
    MockAccount,
    Ticks,
)

ERROR_KEY = "errors/format-conversion-failed/2026-09-21/object"
LAKE_TABLE = "logs_lake"


@pytest.fixture
def ticks(account: MockAccount, instance: dg.DagsterInstance, clock: Clock) -> Ticks:
    return Ticks(failed_records_sensor(account.settings), instance, account.cloud, clock)


@pytest.fixture
def failed(account: MockAccount) -> MockAccount:
    """The account with a failed record and a valid delivery table."""
    account.put(ERROR_KEY)
    account.write_table(LAKE_TABLE, "array<string>")
    return account


def test_no_failed_records(account: MockAccount, ticks: Ticks) -> None:
    account.write_table(LAKE_TABLE, "array<string>")
    assert ticks.tick() == []
    assert ticks.skipped == "logs: no failed records"


def test_it_waits_for_the_table_and_for_the_schema_fix(account: MockAccount, ticks: Ticks) -> None:
    account.put(ERROR_KEY)
    assert ticks.tick() == []
    assert ticks.skipped == "logs: there are error objects, but no table logs.logs_lake yet"
    account.write_table(LAKE_TABLE, "set<string>")
    assert ticks.tick() == []
    assert ticks.skipped == "logs: the error objects wait for the schema fix"
    account.write_table(LAKE_TABLE, "array<string>")
    request = ticks.one()
    assert request.asset_selection == [dg.AssetKey(["logs", "redelivered_records"])]


def test_records_that_still_fail_are_not_redelivered_again(
    failed: MockAccount, ticks: Ticks
) -> None:
    ticks.record(ticks.one(), SUCCESS)
    ticks.later(1e6)
    assert ticks.tick() == []


def test_new_error_objects_are_redelivered(failed: MockAccount, ticks: Ticks) -> None:
    ticks.record(ticks.one(), SUCCESS)
    failed.put(f"{ERROR_KEY}-2")
    assert len(ticks.tick()) == 1


def test_a_changed_table_is_tried_with_the_same_records(failed: MockAccount, ticks: Ticks) -> None:
    ticks.record(ticks.one(), SUCCESS)
    failed.write_table(LAKE_TABLE, "array<bigint>")
    assert len(ticks.tick()) == 1


def test_one_redelivery_at_a_time(failed: MockAccount, ticks: Ticks) -> None:
    ticks.record(ticks.one(), STARTED)
    failed.put(f"{ERROR_KEY}-2")
    assert ticks.tick() == []
    assert ticks.skipped == "logs: a run is in progress"


def test_a_failed_redelivery_is_requested_again(failed: MockAccount, ticks: Ticks) -> None:
    first = ticks.one()
    ticks.record(first, FAILURE)
    assert ticks.tick() == []
    ticks.later(10)
    second = ticks.one()
    assert second.tags["ddb_pipeline/attempt"] == "1"
    ticks.record(second, FAILURE)
    ticks.later(10)
    assert ticks.tick() == []
    ticks.later(10)
    assert ticks.one().tags["ddb_pipeline/attempt"] == "2"


def test_a_former_cursor_is_read(failed: MockAccount, ticks: Ticks) -> None:
    ticks.cursor = '{"logs": ["0123456789abcdef", 2, 1.5]}'
    assert len(ticks.tick()) == 1
