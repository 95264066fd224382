"""Incremental exports one after another, and the rows that they become, in an embedded AWS."""

from collections.abc import Callable, Iterator
from datetime import datetime, timedelta, timezone
from typing import Any

import dagster as dg
import pyarrow.dataset
import pytest

from ddb_pipeline.config.choices import CurrentView
from ddb_pipeline.config.names import changes_table
from ddb_pipeline.config.pipeline import PipelineConfig
from ddb_pipeline.config.settings import Settings
from ddb_pipeline.definitions import build_defs
from ddb_pipeline.defs.asset_keys import PARQUET_CHANGES, asset_key
from ddb_pipeline.defs.change_exports import JOB, change_exports_sensor
from ddb_pipeline.defs.changes import change_exports
from ddb_pipeline.defs.export_sensor import export_sensor
from ddb_pipeline.demo.search_logs import SearchLogs
from ddb_pipeline.demo.traffic import write_items
from ddb_pipeline.embedded.process import stop
from ddb_pipeline.glue.catalog import read_table
from ddb_pipeline.lake.change_chain import (
    STATE_KEY,
    ChangeChain,
    ChangeChainError,
    begin_chain,
    extend_chain,
    read_chain,
)
from ddb_pipeline.lake.root import LakeRoot
from ddb_pipeline.resources.cloud import CloudResource
from ddb_pipeline_tests.support.polling import wait_until
from ddb_pipeline_tests.support.sensor_ticks import SUCCESS, Clock, MockAccount, Ticks

HOUR = timedelta(hours=1)
NOON = datetime(2026, 11, 24, 12, tzinfo=timezone.utc)


@pytest.fixture(scope="module")
def settings(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Settings]:
    home = tmp_path_factory.mktemp("changes")
    pipeline = PipelineConfig(
        name="changing", current=CurrentView.EXPORTS, current_every=timedelta(minutes=15)
    )
    yield Settings(home=home, pipelines=(pipeline,))
    stop(home / "embedded")


def run(
    settings: Settings, instance: dg.DagsterInstance, job: str, **options: Any
) -> dg.ExecuteInProcessResult:
    definition = build_defs(settings).resolve_job_def(job)
    return definition.execute_in_process(instance=instance, raise_on_error=False, **options)


def export_changes(settings: Settings, instance: dg.DagsterInstance) -> dict[str, Any]:
    result = run(settings, instance, JOB)
    assert result.success
    [event] = result.filter_events(lambda event: event.is_successful_output)
    metadata = event.step_output_data.metadata
    return {name: value.value for name, value in metadata.items()}


def end_of_second() -> datetime:
    """Wait until all that was written is in an export, whose times are whole seconds."""
    end = datetime.now(timezone.utc).replace(microsecond=0) + timedelta(seconds=1)
    wait_until(lambda: datetime.now(timezone.utc) >= end, "the end of the second")
    return end


@pytest.mark.embedded
def test_windows_follow_one_another_and_become_rows(
    settings: Settings, instance: dg.DagsterInstance
) -> None:
    [pipeline] = settings.pipelines
    cloud = CloudResource.of(settings)
    logs = list(SearchLogs(1, b"key").items(50, 1_700_000_000.0))
    write_items(cloud.dynamodb, pipeline.dynamodb_table, logs)
    end_of_second()
    # Nothing is exported yet: the chain begins with a full export.
    begun = export_changes(settings, instance)
    assert begun["began_with_full_export"]
    assert (begun["windows"], begun["items"]) == ([], 50)
    chain = read_chain(cloud.s3, pipeline.lake)
    assert chain is not None
    assert chain.since == chain.until
    again = export_changes(settings, instance)
    assert not again["began_with_full_export"]
    assert again["windows"] == []
    # The pipeline was stopped for thirty hours.
    key = {"log_id": logs[0]["log_id"]}
    cloud.dynamodb.delete_item(TableName=pipeline.dynamodb_table, Key=key)
    end = end_of_second()
    behind = ChangeChain(chain.full_export, end - 30 * HOUR, end - 30 * HOUR)
    begin_chain(cloud.s3, pipeline.lake, behind)
    done = export_changes(settings, instance)
    assert len(done["windows"]) == 2
    extended = read_chain(cloud.s3, pipeline.lake)
    assert extended is not None
    assert extended.until >= end
    assert export_changes(settings, instance)["windows"] == []
    requests = [
        request
        for request in tick(settings, cloud, instance).run_requests or ()
        if request.asset_selection == [asset_key(pipeline, PARQUET_CHANGES)]
    ]
    assert len(requests) == 2
    rows: list[dict[str, Any]] = []
    for request in requests:
        result = run(
            settings,
            instance,
            "__ASSET_JOB",
            asset_selection=request.asset_selection,
            partition_key=request.partition_key,
        )
        assert result.success
        assert all(check.passed for check in result.get_asset_check_evaluations())
        [event] = result.get_asset_materialization_events()
        assert event.materialization.metadata["to_time"].value
        path = f"{pipeline.bucket}/changes/export_id={request.partition_key}"
        dataset = pyarrow.dataset.dataset(path, filesystem=cloud.filesystem())
        rows += dataset.to_table().to_pylist()
    # The deleted item was created within the same window.
    assert {row["log_id"] for row in rows} == {item["log_id"]["S"] for item in logs[1:]}
    assert {row["ddb_event_name"] for row in rows} == {"UPSERT"}
    table = read_table(cloud.glue, changes_table(pipeline))
    assert {"log_id", "ddb_keys", "ddb_write_time"} <= {column.name for column in table.columns}
    assert change_exports(pipeline).name == "changing_change_exports"


def tick(settings: Settings, cloud: CloudResource, instance: dg.DagsterInstance) -> dg.SensorResult:
    context = dg.build_sensor_context(instance=instance, resources={"cloud": cloud})
    result = export_sensor(settings)(context)
    assert isinstance(result, dg.SensorResult)
    for added in result.dynamic_partitions_requests or ():
        instance.add_dynamic_partitions(added.partitions_def_name, list(added.partition_keys))
    return result


@pytest.fixture
def changing(account_of: Callable[..., MockAccount]) -> MockAccount:
    account = account_of(PipelineConfig(name="logs", current=CurrentView.EXPORTS))
    account.cloud.dynamodb.update_continuous_backups(
        TableName=account.pipeline.dynamodb_table,
        PointInTimeRecoverySpecification={"PointInTimeRecoveryEnabled": True},
    )
    return account


def test_a_run_is_requested_when_a_window_is_due(
    changing: MockAccount, instance: dg.DagsterInstance, clock: Clock
) -> None:
    ticks = Ticks(change_exports_sensor(changing.settings), instance, changing.cloud, clock)
    now = datetime.fromtimestamp(clock.now, timezone.utc)
    request = ticks.one()
    assert request.run_config["ops"]["export_changes_to_s3"]["config"] == {"pipeline": "logs"}
    ticks.record(request, SUCCESS)
    begin_chain(changing.cloud.s3, changing.pipeline.lake, ChangeChain("e", now, now))
    ticks.later(3599)
    assert ticks.tick() == []
    ticks.later(1)
    request = ticks.one()
    assert ticks.tick() == []
    ticks.record(request, SUCCESS)
    # The run changed nothing: it is requested again, after a pause.
    assert ticks.tick() == []
    ticks.later(10)
    assert ticks.one().tags["ddb_pipeline/attempt"] == "1"
    assert extend_chain(changing.cloud.s3, changing.pipeline.lake, now, now + HOUR)
    assert ticks.tick() == []
    assert ticks.skipped == "No window is due."


def test_the_chain_has_no_gap_and_goes_on_only(changing: MockAccount) -> None:
    s3, bucket = changing.cloud.s3, changing.pipeline.bucket
    assert not extend_chain(s3, LakeRoot(bucket), NOON, NOON + HOUR)
    begin_chain(s3, LakeRoot(bucket), ChangeChain("e", NOON, NOON))
    for start, end, stored, until in (
        (1, 2, False, 0),
        (0, 1, True, 1),
        (0, 1, True, 1),
        (0, 3, True, 3),
        (1, 2, True, 3),
        (4, 5, False, 3),
        (-1, 5, False, 3),
        (3, 5, True, 5),
    ):
        assert extend_chain(s3, LakeRoot(bucket), NOON + HOUR * start, NOON + HOUR * end) is stored
        assert read_chain(s3, LakeRoot(bucket)) == ChangeChain("e", NOON, NOON + HOUR * until)


@pytest.mark.parametrize(
    "text", [b"", b"[]", b'{"full_export": "e", "since": "2026-01-01", "until": "2026-01-01"}']
)
def test_a_damaged_chain_says_what_to_do(changing: MockAccount, text: bytes) -> None:
    changing.put(STATE_KEY, text)
    with pytest.raises(ChangeChainError, match="Delete it"):
        read_chain(changing.cloud.s3, changing.pipeline.lake)
