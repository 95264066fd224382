"""The check ``nothing_lost``: what it expects of a change, and what it shows."""

import json
import time
from pathlib import Path
from typing import Any

import dagster as dg
import pytest

from ddb_pipeline.config.choices import DeliverySchema
from ddb_pipeline.config.names import stream_function
from ddb_pipeline.config.pipeline import PipelineConfig
from ddb_pipeline.config.settings import Settings
from ddb_pipeline.definitions import build_defs
from ddb_pipeline.defs import checks
from ddb_pipeline.demo.search_logs import SearchLogs
from ddb_pipeline.demo.traffic import write_items
from ddb_pipeline.dynamodb.stream import StreamRecord, read_record
from ddb_pipeline.embedded.process import stop
from ddb_pipeline.functions.stream_settings import StreamSettings, read_settings
from ddb_pipeline.lake.change_identity import of_change
from ddb_pipeline.lake.identity_partitions import Expected
from ddb_pipeline.lake.objects import list_objects
from ddb_pipeline.lake.reconcile import Reconciliation, reconcile
from ddb_pipeline.lake.reconciliation_state import STATE_KEY
from ddb_pipeline.resources.cloud import CloudResource
from ddb_pipeline_tests.support.polling import wait_until
from ddb_pipeline_tests.support.sensor_ticks import MockAccount

ENVIRONMENT = {
    "DELIVERY_STREAM": "s",
    "PSEUDONYMISE_ATTRIBUTES": "log_id",
    "PSEUDONYM_KEY": "k" * 32,
    "EVENT_NAMES": "INSERT,REMOVE",
}
MARKER = "somebody@example.org"


def record(name: str = "INSERT") -> StreamRecord:
    item = {"log_id": {"S": MARKER}}
    return read_record(
        {
            "eventID": "event-1",
            "eventName": name,
            "dynamodb": {
                "ApproximateCreationDateTime": 1_780_000_000,
                "Keys": item,
                "SequenceNumber": "1",
                ("OldImage" if name == "REMOVE" else "NewImage"): item,
            },
        }
    )


@pytest.fixture
def account(account_of: Any, monkeypatch: pytest.MonkeyPatch) -> MockAccount:
    """An account with a pipeline that delivers pseudonyms of the items' keys."""

    def settings(*_: Any) -> StreamSettings:
        return read_settings(ENVIRONMENT)

    monkeypatch.setattr(checks, "function_settings", settings)
    found: MockAccount = account_of(
        PipelineConfig(name="logs", delivery_schema=DeliverySchema.CRAWLED)
    )
    return found


def test_keys_are_compared_as_they_are_delivered(account: MockAccount) -> None:
    source = checks.source(account.cloud, account.pipeline)
    assert source.columns == ["log_id"]
    delivered = source.delivered(record())
    assert delivered is not None
    (key,) = of_change(delivered, source.columns) or ()
    assert len(key) == 64
    assert MARKER not in str(delivered)


def test_changes_that_the_settings_filter_out_are_not_expected(account: MockAccount) -> None:
    source = checks.source(account.cloud, account.pipeline)
    assert source.delivered(record("MODIFY")) is None
    delete = source.delivered(record("REMOVE"))
    assert delete is not None
    assert of_change(delete, source.columns) is None


def test_event_ids_need_no_pseudonyms(
    account: MockAccount, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delattr(checks, "delivery_rules")
    pipeline = account.pipeline.model_copy(update={"delivery_schema": DeliverySchema.LAKE})
    source = checks.source(account.cloud, pipeline)
    assert source.columns == ["ddb_event_id"]
    delivered = source.delivered(record())
    assert delivered is not None
    assert of_change(delivered, source.columns) == ("event-1",)


def test_the_metadata_name_changes_by_their_event_ids() -> None:
    missing = (Expected("digest", 2.0, "event-2"), Expected("digest", 1.0, "event-1"))
    found = Reconciliation(expected=5, rows=3, lost=2, missing=missing, gaps=["a reason"])
    metadata = checks.reconciliation_metadata(found)
    values = {name: value.value for name, value in metadata.items()}
    assert values["lost_events"] == ["event-1", "event-2"]
    assert values["not_reconciled"] == ["a reason"]
    assert (values["stream_records"], values["rows"], values["lost"]) == (5, 3, 2)
    assert json.dumps(values)


def test_the_schedule_runs_the_check_without_its_asset(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    settings = Settings(home=tmp_path, pipelines=(PipelineConfig(name="logs"),))
    definitions = build_defs(settings)
    schedule = definitions.resolve_schedule_def("logs_nothing_lost")
    assert str(schedule.cron_schedule).endswith(" */8 * * *")
    assert schedule.default_status is dg.DefaultScheduleStatus.RUNNING
    (request,) = schedule.evaluate_tick(dg.build_schedule_context()).run_requests or ()
    assert request.tags["ddb_pipeline/pipeline"] == "logs"
    monkeypatch.setattr(checks, "source", lambda cloud, pipeline: None)
    monkeypatch.setattr(checks, "reconcile", lambda source, now, on_gap: Reconciliation(until=1.0))
    job = definitions.get_repository_def().get_job(schedule.job_name)
    (checked,) = request.asset_check_keys or ()
    assert checked == dg.AssetCheckKey(dg.AssetKey(["logs", "parquet_stream"]), "nothing_lost")
    done = job.execute_in_process(resources={"cloud": CloudResource.of(settings)})
    assert [evaluation.check_name for evaluation in done.get_asset_check_evaluations()] == [
        "nothing_lost"
    ]
    assert not done.get_asset_materialization_events()


@pytest.mark.embedded
def test_with_pseudonymised_keys_nothing_is_lost(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(checks, "ARRIVAL_SECONDS", 0.0)
    pipeline = PipelineConfig(
        name="pseudonyms", delivery_schema=DeliverySchema.CRAWLED, buffer_seconds=0
    )
    settings = Settings(home=tmp_path, pipelines=(pipeline,))
    cloud = CloudResource.of(settings)
    try:
        set_environment(cloud, stream_function(pipeline), ENVIRONMENT)
        items = SearchLogs(1, b"k" * 32).items(30, time.time())
        write_items(cloud.dynamodb, pipeline.dynamodb_table, items)
        found = Reconciliation()
        expected = 0

        def arrived() -> bool:
            nonlocal found, expected
            found = reconcile(checks.source(cloud, pipeline), time.time)
            expected += found.expected
            return expected == 30 and not found.lost

        wait_until(arrived, "all changes to be somewhere")
        bodies = [
            cloud.s3.get_object(Bucket=pipeline.bucket, Key=stored.key)["Body"].read()
            for stored in list_objects(cloud.s3, pipeline.lake, "errors/")
        ]
        assert bodies
        for stored in list_objects(cloud.s3, pipeline.lake, "errors/"):
            cloud.s3.delete_object(Bucket=pipeline.bucket, Key=stored.key)
        cloud.s3.delete_object(Bucket=pipeline.bucket, Key=STATE_KEY)
        assert reconcile(checks.source(cloud, pipeline), time.time).lost == 30
    finally:
        stop(tmp_path / "embedded")


def set_environment(cloud: CloudResource, function: str, changes: dict[str, str]) -> None:
    """Change the environment of a function."""
    client = cloud.client("lambda")
    configuration = client.get_function_configuration(FunctionName=function)
    variables = configuration["Environment"]["Variables"] | {
        name: value for name, value in changes.items() if name != "DELIVERY_STREAM"
    }
    client.update_function_configuration(
        FunctionName=function, Environment={"Variables": variables}
    )
