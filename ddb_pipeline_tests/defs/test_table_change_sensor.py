"""The table-change sensor: the schema fix where a crawled table needs it."""

import time
from collections.abc import Callable

import dagster as dg
import pytest

from ddb_pipeline.config.names import crawled_table
from ddb_pipeline.config.pipeline import PipelineConfig
from ddb_pipeline.defs import table_change_sensor as module
from ddb_pipeline.defs.table_change_sensor import glue_table_change_sensor, schema_version
from ddb_pipeline.defs.turns import MAX_RUNS_PER_TICK
from ddb_pipeline.glue.watch import TableStates
from ddb_pipeline.hive.type_decisions import NO_DECISIONS
from ddb_pipeline.queues import QueueMissingError
from ddb_pipeline_tests.support.sensor_ticks import (
    FAILURE,
    STARTED,
    SUCCESS,
    Clock,
    MockAccount,
    Ticks,
)

RETRY_SECONDS = 10


@pytest.fixture
def ticks(account: MockAccount, instance: dg.DagsterInstance, clock: Clock) -> Ticks:
    return Ticks(glue_table_change_sensor(account.settings), instance, account.cloud, clock)


def test_no_table_is_nothing_to_do(ticks: Ticks) -> None:
    assert ticks.tick() == []
    assert ticks.skipped == "Compared 0 table(s): no schema has changed."


def test_a_table_with_sets_is_one_run_however_many_events(
    account: MockAccount, ticks: Ticks
) -> None:
    account.write_table("logs", "set<string>")
    for _ in range(25):
        account.send_event()
    request = ticks.one()
    assert [key.to_user_string() for key in request.asset_selection or ()] == [
        "logs/normalized_schema",
        "logs/lake_table",
    ]
    assert request.tags["ddb_pipeline/table_version"] == read_version(account)
    ticks.record(request, STARTED)
    account.send_event()
    assert ticks.tick() == []


def read_version(account: MockAccount) -> str:
    table = account.cloud.glue.get_table(DatabaseName="logs", Name="logs")["Table"]
    return str(table["VersionId"])


def test_a_crawl_outside_of_dagster_is_reported_once(account: MockAccount, ticks: Ticks) -> None:
    account.write_table("logs", "set<string>")
    request = ticks.one()
    (event,) = ticks.events
    assert event.asset_key == dg.AssetKey(["logs", "crawled_catalog_table"])
    ticks.instance.report_runless_asset_event(event)
    ticks.record(request, FAILURE)
    ticks.later(RETRY_SECONDS)
    assert len(ticks.tick()) == 1
    assert ticks.events == []


def test_a_valid_table_is_brought_to_the_lake_once(account: MockAccount, ticks: Ticks) -> None:
    account.write_table("logs", "array<string>")
    ticks.record(ticks.one(), SUCCESS)
    assert ticks.events == []
    account.send_event()
    assert ticks.tick() == []


def test_the_repairs_own_update_requests_no_further_run(account: MockAccount, ticks: Ticks) -> None:
    account.write_table("logs", "set<string>")
    request = ticks.one()
    account.write_table("logs", "array<string>")
    ticks.record(request, SUCCESS)
    account.send_event()
    assert ticks.tick() == []
    assert ticks.skipped == "Compared 1 table(s): no schema has changed."


def test_another_valid_schema_is_brought_to_the_lake(account: MockAccount, ticks: Ticks) -> None:
    account.write_table("logs", "array<string>")
    ticks.record(ticks.one(), SUCCESS)
    account.write_table("logs", "array<bigint>")
    account.send_event()
    assert len(ticks.tick()) == 1


def test_a_change_while_a_run_is_on_is_requested_afterwards(
    account: MockAccount, ticks: Ticks
) -> None:
    account.write_table("logs", "set<string>")
    request = ticks.one()
    ticks.record(request, STARTED)
    account.write_table("logs", "array<bigint>")
    account.send_event()
    assert ticks.tick() == []
    (run,) = ticks.instance.get_runs()
    ticks.instance.delete_run(run.run_id)
    ticks.record(request, SUCCESS)
    ticks.later(module.RECONCILE_AWS_SECONDS)
    assert len(ticks.tick()) == 1


def test_a_lost_event_is_found_within_an_interval(account: MockAccount, ticks: Ticks) -> None:
    account.write_table("logs", "array<string>")
    ticks.record(ticks.one(), SUCCESS)
    account.write_table("logs", "set<string>")
    assert ticks.tick() == []
    assert ticks.skipped == "No table-change event since the last comparison."
    ticks.later(module.RECONCILE_AWS_SECONDS)
    assert len(ticks.tick()) == 1


def test_a_revert_to_an_earlier_schema_is_repaired_again(
    account: MockAccount, ticks: Ticks
) -> None:
    keys = []
    for _ in range(3):
        account.write_table("logs", "set<string>")
        account.send_event()
        request = ticks.one()
        keys.append(request.run_key)
        account.write_table("logs", "array<string>")
        ticks.record(request, SUCCESS)
    assert len(set(keys)) == 3


def test_a_failed_run_is_requested_again_under_another_key(
    account: MockAccount, ticks: Ticks
) -> None:
    account.write_table("logs", "set<string>")
    first = ticks.one()
    ticks.record(first, FAILURE)
    assert ticks.tick() == []
    ticks.later(RETRY_SECONDS)
    second = ticks.one()
    assert second.run_key != first.run_key
    assert second.tags["ddb_pipeline/attempt"] == "1"


def test_a_run_that_repaired_the_table_and_then_failed_is_requested_again(
    account: MockAccount, ticks: Ticks
) -> None:
    account.write_table("logs", "set<string>")
    request = ticks.one()
    account.write_table("logs", "array<string>")
    ticks.record(request, FAILURE)
    assert ticks.tick() == []
    ticks.later(RETRY_SECONDS)
    assert ticks.one().tags["ddb_pipeline/attempt"] == "1"


def test_a_run_that_succeeded_and_left_the_table_as_it_was_is_requested_again(
    account: MockAccount, ticks: Ticks
) -> None:
    account.write_table("logs", "set<string>")
    ticks.record(ticks.one(), SUCCESS)
    account.send_event()
    assert ticks.tick() == []
    ticks.later(RETRY_SECONDS)
    account.send_event()
    assert ticks.one().tags["ddb_pipeline/attempt"] == "1"


def test_a_recreated_table_is_another_table(account: MockAccount, ticks: Ticks) -> None:
    account.write_table("logs", "set<string>")
    first = ticks.one()
    ticks.record(first, SUCCESS)
    account.cloud.glue.delete_table(DatabaseName="logs", Name="logs")
    # Glue's creation times have seconds.
    time.sleep(1.1)
    account.write_table("logs", "set<string>")
    account.send_event()
    second = ticks.one()
    assert second.run_key != first.run_key
    assert second.tags["ddb_pipeline/attempt"] == "0"


def test_a_missing_queue_is_named(account: MockAccount, ticks: Ticks) -> None:
    sqs = account.cloud.sqs
    sqs.delete_queue(QueueUrl=sqs.get_queue_url(QueueName="logs-table-changes")["QueueUrl"])
    with pytest.raises(QueueMissingError, match="'logs-table-changes' does not exist"):
        ticks.tick()


def test_a_former_cursor_reads_as_empty(account: MockAccount, ticks: Ticks) -> None:
    account.write_table("logs", "array<string>")
    ticks.cursor = (
        '{"seen": {"logs": {"version_key": "7.3", "fingerprint": "f", "attempt": 0, '
        '"requested_at": 5.0}}, "reconciled_at": 5.0}'
    )
    assert len(ticks.tick()) == 1


def test_a_schema_version_names_table_and_schema(account: MockAccount, ticks: Ticks) -> None:
    account.write_table("logs", "set<string>")
    table = crawled_table(account.pipeline)
    state = TableStates(account.cloud.glue, {table: NO_DECISIONS}).find(table)
    assert state is not None
    version = schema_version(state, None)
    assert version == f"{state.version_key}-{state.repaired_fingerprint}"


def test_a_tick_over_a_thousand_tables_makes_few_requests(
    account_of: Callable[..., MockAccount], instance: dg.DagsterInstance, clock: Clock
) -> None:
    account = account_of(PipelineConfig(name="logs"))
    names = [f"table{number}" for number in range(1000)]
    pipelines = tuple(
        PipelineConfig(name=name, database="logs", change_queue="logs-table-changes")
        for name in names
    )
    for name in names:
        account.write_table(name, "struct<tags:set<string>,when:bigint>")
    settings = account.settings.model_copy(update={"pipelines": pipelines})
    ticks = Ticks(glue_table_change_sensor(settings), instance, account.cloud, clock)
    requested: set[str] = set()
    for _ in range(10):
        requests = ticks.tick()
        assert len(requests) == MAX_RUNS_PER_TICK
        requested |= {request.tags["ddb_pipeline/pipeline"] for request in requests}
        for request in requests:
            ticks.record(request, SUCCESS)
    assert len(requested) == 1000
    account.send_event()
    account.cloud.requests.clear()
    assert ticks.tick() == []
    # Glue lists 100 tables in a page.
    assert account.cloud.requests["GetTables"] <= 11
    assert account.cloud.requests["GetQueueUrl"] == 1
    assert sum(account.cloud.requests.values()) < 20
