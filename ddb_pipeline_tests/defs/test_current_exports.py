"""The current view of a table from exports alone, in an embedded AWS: a full one, and a window."""

from collections.abc import Iterator
from datetime import datetime, timedelta, timezone
from pathlib import Path
from typing import Any

import dagster as dg
import pyarrow.dataset
import pytest

from ddb_pipeline.config.choices import CurrentView
from ddb_pipeline.config.names import current_table
from ddb_pipeline.config.pipeline import PipelineConfig
from ddb_pipeline.config.settings import Settings
from ddb_pipeline.definitions import build_defs
from ddb_pipeline.defs.asset_keys import PARQUET_CURRENT, asset_key
from ddb_pipeline.defs.change_exports import JOB
from ddb_pipeline.demo.search_logs import SearchLogs
from ddb_pipeline.demo.traffic import write_items
from ddb_pipeline.embedded.process import stop
from ddb_pipeline.export.request import start_export
from ddb_pipeline.glue.catalog import read_table
from ddb_pipeline.lake.change_chain import ChangeChain, begin_chain
from ddb_pipeline.lake.layout import CURRENT_PREFIX
from ddb_pipeline.lake.objects import list_objects
from ddb_pipeline.resources import cloud as cloud_module
from ddb_pipeline.resources.cloud import CloudResource
from ddb_pipeline_tests.support.embedded_history import age_history
from ddb_pipeline_tests.support.polling import wait_until

WINDOW = timedelta(minutes=15)
PIPELINE = PipelineConfig(name="viewed", current=CurrentView.EXPORTS, current_every=WINDOW)

pytestmark = pytest.mark.embedded


@pytest.fixture
def settings(tmp_path: Path) -> Iterator[Settings]:
    yield Settings(home=tmp_path, pipelines=(PIPELINE,))
    stop(tmp_path / "embedded")


def run(settings: Settings, job: str, **options: Any) -> dg.ExecuteInProcessResult:
    definition = build_defs(settings).resolve_job_def(job)
    result = definition.execute_in_process(raise_on_error=False, **options)
    assert result.success
    return result


def aged(settings: Settings, passed: timedelta) -> CloudResource:
    """Make all changes so far older."""
    stop(settings.home / "embedded")
    age_history(settings.home / "embedded", passed)
    # The next client starts the embedded AWS again, at another port.
    cloud_module._embedded_arguments.cache_clear()
    return CloudResource.of(settings)


def viewed_rows(settings: Settings, engine: str, merged_by: str) -> dict[str, dict[str, Any]]:
    """Materialise the view; returns its rows by key."""
    key = asset_key(PIPELINE, PARQUET_CURRENT)
    config = {"ops": {key.to_python_identifier(): {"config": {"engine": engine}}}}
    result = run(settings, "__ASSET_JOB", asset_selection=[key], run_config=config)
    assert all(check.passed for check in result.get_asset_check_evaluations())
    (event,) = result.get_asset_materialization_events()
    assert event.materialization.metadata["merged_by"].value == merged_by
    cloud = CloudResource.of(settings)
    location = read_table(cloud.glue, current_table(PIPELINE)).location
    dataset = pyarrow.dataset.dataset(
        location.removeprefix("s3://"), filesystem=cloud.filesystem(), partitioning="hive"
    )
    return {row["log_id"]: row for row in dataset.to_table().to_pylist()}


def forget_view(cloud: CloudResource) -> None:
    """Have the next run build the view anew, of all exports."""
    for stored in list_objects(cloud.s3, PIPELINE.lake, CURRENT_PREFIX):
        cloud.s3.delete_object(Bucket=PIPELINE.bucket, Key=stored.key)


@pytest.mark.timeout(900)
def test_the_view_follows_the_table_by_exports_alone(settings: Settings) -> None:
    cloud = CloudResource.of(settings)
    logs = list(SearchLogs(1, b"key").items(50, 1_700_000_000.0))
    write_items(cloud.dynamodb, PIPELINE.dynamodb_table, logs)
    cloud = aged(settings, timedelta(hours=1))
    # The window after the full export has ended five minutes ago.
    exported_at = datetime.now(timezone.utc).replace(microsecond=0) - timedelta(minutes=20)
    table = cloud.dynamodb.describe_table(TableName=PIPELINE.dynamodb_table)["Table"]
    prefix = PIPELINE.export_prefix.strip("/")
    export = start_export(
        cloud.dynamodb, table["TableArn"], PIPELINE.bucket, prefix, export_time=exported_at
    )

    def finished() -> bool:
        found = cloud.dynamodb.describe_export(ExportArn=export.arn)["ExportDescription"]
        return found["ExportStatus"] == "COMPLETED"

    wait_until(finished, "the full export")
    found = viewed_rows(settings, "here", "one machine")
    assert set(found) == {item["log_id"]["S"] for item in logs}
    export_id = export.arn.rpartition("/")[2]
    begin_chain(cloud.s3, PIPELINE.lake, ChangeChain(export_id, exported_at, exported_at))
    cloud.dynamodb.delete_item(TableName=PIPELINE.dynamodb_table, Key={"log_id": logs[0]["log_id"]})
    new: dict[str, Any] = {"log_id": {"S": "new"}, "first_seen_now": {"SS": ["a"]}}
    cloud.dynamodb.put_item(TableName=PIPELINE.dynamodb_table, Item=new)
    aged(settings, timedelta(minutes=12))
    run(settings, JOB)
    rows = viewed_rows(settings, "spark", "Spark")
    assert set(rows) == {item["log_id"]["S"] for item in logs[1:]} | {"new"}
    assert rows["new"]["first_seen_now"] == ["a"]
    assert viewed_rows(settings, "auto", "no one: no change") == rows
    # At once, and on one machine, the same.
    forget_view(CloudResource.of(settings))
    assert viewed_rows(settings, "auto", "one machine") == rows
