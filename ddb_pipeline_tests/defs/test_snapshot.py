"""Exports and snapshots as Dagster runs them, in an embedded AWS."""

import json
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import dagster as dg
import pyarrow.dataset
import pytest

from ddb_pipeline.config.choices import ExportWith
from ddb_pipeline.config.names import snapshot_table
from ddb_pipeline.config.pipeline import PipelineConfig
from ddb_pipeline.config.settings import Settings
from ddb_pipeline.definitions import build_defs
from ddb_pipeline.defs.asset_keys import PARQUET_SNAPSHOT, asset_key
from ddb_pipeline.defs.export_sensor import export_sensor
from ddb_pipeline.defs.snapshot import exports
from ddb_pipeline.defs.snapshot_converters import progress_metadata, wants_spark
from ddb_pipeline.demo.search_logs import SearchLogs
from ddb_pipeline.demo.traffic import write_items
from ddb_pipeline.embedded.process import stop
from ddb_pipeline.export.convert import Progress
from ddb_pipeline.glue.catalog import read_table
from ddb_pipeline.resources.cloud import CloudResource

pytestmark = pytest.mark.embedded

ITEMS = 300


@dataclass(frozen=True)
class Account:
    settings: Settings
    cloud: CloudResource
    instance: dg.DagsterInstance

    def run(self, job: str, **options: Any) -> dg.ExecuteInProcessResult:
        definition = build_defs(self.settings).resolve_job_def(job)
        return definition.execute_in_process(
            instance=self.instance, raise_on_error=False, **options
        )

    def export(self, pipeline: PipelineConfig) -> dg.ExecuteInProcessResult:
        config = {"ops": {"export_to_s3": {"config": {"pipeline": pipeline.name}}}}
        return self.run("export_table", run_config=config)

    def tick(self, cursor: str | None = None) -> dg.SensorResult:
        context = dg.build_sensor_context(
            instance=self.instance, cursor=cursor, resources={"cloud": self.cloud}
        )
        result = export_sensor(self.settings)(context)
        assert isinstance(result, dg.SensorResult)
        for added in result.dynamic_partitions_requests or ():
            self.instance.add_dynamic_partitions(
                added.partitions_def_name, list(added.partition_keys)
            )
        return result

    def newest_request(self, pipeline: PipelineConfig) -> dg.RunRequest:
        keys = [asset_key(pipeline, PARQUET_SNAPSHOT)]
        requests = [r for r in self.tick().run_requests or () if r.asset_selection == keys]
        return max(requests, key=lambda request: request.partition_key or "")

    def materialize(self, request: dg.RunRequest, **config: Any) -> dg.ExecuteInProcessResult:
        (key,) = request.asset_selection or ()
        op = key.to_python_identifier()
        return self.run(
            "__ASSET_JOB",
            asset_selection=[key],
            partition_key=request.partition_key,
            run_config={"ops": {op: {"config": config}}} if config else None,
            tags={"dagster/run_key": request.run_key or ""},
        )


@pytest.fixture(scope="module")
def account(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Account]:
    home = tmp_path_factory.mktemp("snapshot")
    settings = Settings(
        home=home,
        pipelines=(
            PipelineConfig(name="exported"),
            PipelineConfig(
                name="scanned", lake_prefix="sales/scanned", export_with=ExportWith.SCAN
            ),
        ),
    )
    cloud = CloudResource.of(settings)
    for pipeline in settings.pipelines:
        logs = SearchLogs(1, b"key").items(ITEMS, 1_700_000_000.0)
        write_items(cloud.dynamodb, pipeline.dynamodb_table, logs)
    with dg.DagsterInstance.ephemeral() as instance:
        yield Account(settings, cloud, instance)
    stop(home / "embedded")


def rows_of(account: Account, pipeline: PipelineConfig, export_id: str) -> list[dict[str, Any]]:
    path = pipeline.lake.path(f"snapshot/export_id={export_id}")
    dataset = pyarrow.dataset.dataset(path, filesystem=account.cloud.filesystem())
    rows: list[dict[str, Any]] = dataset.to_table().to_pylist()
    return rows


@pytest.mark.parametrize("name", ["exported", "scanned"])
def test_an_export_becomes_a_snapshot(account: Account, name: str) -> None:
    pipeline = account.settings.pipeline(name)
    exported = account.export(pipeline)
    assert exported.success
    request = account.newest_request(pipeline)
    result = account.materialize(request)
    assert result.success
    [event] = result.get_asset_materialization_events()
    metadata = event.materialization.metadata
    assert metadata["dagster/partition_row_count"].value == ITEMS
    assert metadata["rejected"].value == 0
    checks = {each.check_name: each.passed for each in result.get_asset_check_evaluations()}
    expected = ("every_item_counted", "schema_is_the_lake_tables", "healthy")
    assert checks == dict.fromkeys(expected, True)
    rows = rows_of(account, pipeline, request.partition_key or "")
    items = {i["log_id"]["S"]: i for i in SearchLogs(1, b"key").items(ITEMS, 1_700_000_000.0)}
    assert {row["log_id"] for row in rows} == set(items)
    for row in rows:
        item = items[row["log_id"]]
        assert row["user"] == item["user"]["S"]
        assert row["latency_ms"] == float(item["latency_ms"]["N"])
        assert sorted(row["filters"] or ()) == sorted(item.get("filters", {"SS": []})["SS"])
        assert [r["document"] for r in row["results"] or ()] == [
            int(r["M"]["document"]["N"]) for r in item.get("results", {"L": []})["L"]
        ]
    table = read_table(account.cloud.glue, snapshot_table(pipeline))
    assert {"log_id", "results", "filters"} <= {column.name for column in table.columns}
    partitions = account.cloud.glue.get_partitions(
        DatabaseName=table.reference.database, TableName=table.reference.name
    )["Partitions"]
    assert [p["Values"] for p in partitions] == [[request.partition_key]]


def test_a_damaged_export_fails_with_the_reason_and_shows_nothing(account: Account) -> None:
    pipeline = account.settings.pipeline("exported")
    assert account.export(pipeline).success
    s3 = account.cloud.s3
    request = account.newest_request(pipeline)
    folder = f"exports/AWSDynamoDB/{request.partition_key}/"
    key = s3.list_objects_v2(Bucket=pipeline.bucket, Prefix=f"{folder}data/")["Contents"][0]["Key"]
    body = s3.get_object(Bucket=pipeline.bucket, Key=key)["Body"].read()
    s3.put_object(Bucket=pipeline.bucket, Key=key, Body=body[:-20])
    failed = account.materialize(request)
    assert not failed.success
    [failure] = failed.filter_events(lambda event: event.is_step_failure)
    assert f"Export object '{key}': it is not a complete gzip file" in str(
        failure.step_failure_data.error_display_string
    )
    s3.put_object(Bucket=pipeline.bucket, Key=key, Body=body)
    assert account.materialize(request).success


def test_a_check_warns_of_rejected_lines(account: Account) -> None:
    pipeline = account.settings.pipeline("scanned")
    account.cloud.dynamodb.put_item(
        TableName=pipeline.dynamodb_table,
        Item={"log_id": {"S": "other"}, "results": {"S": "none"}},
    )
    assert account.export(pipeline).success
    request = account.newest_request(pipeline)
    result = account.materialize(request, infer=False, partition_by="hash(log_id,4)")
    assert result.success
    [check] = [
        e for e in result.get_asset_check_evaluations() if e.check_name == "every_item_counted"
    ]
    assert not check.passed
    assert check.severity is dg.AssetCheckSeverity.WARN
    assert check.metadata["rejected"].value == 1
    prefix = pipeline.lake.object_key(f"snapshot/export_id={request.partition_key}/")
    listed = account.cloud.s3.list_objects_v2(Bucket=pipeline.bucket, Prefix=prefix)["Contents"]
    [rejected] = [o["Key"] for o in listed if "_rejected" in o["Key"]]
    body = account.cloud.s3.get_object(Bucket=pipeline.bucket, Key=rejected)["Body"].read()
    assert json.loads(body)["path"] == "results"
    assert {
        o["Key"].removeprefix(prefix).split("/")[0] for o in listed if o["Key"].endswith(".parquet")
    } == {f"log_id_bucket={number}" for number in range(4)}


def test_spark_makes_the_same_snapshot(account: Account) -> None:
    pipeline = account.settings.pipeline("exported")
    assert account.export(pipeline).success
    request = account.newest_request(pipeline)
    result = account.materialize(request, engine="spark")
    assert result.success
    [event] = result.get_asset_materialization_events()
    assert event.materialization.metadata["converted_by"].value == "Spark"
    assert event.materialization.metadata["dagster/partition_row_count"].value == ITEMS
    assert all(e.passed for e in result.get_asset_check_evaluations())
    rows = rows_of(account, pipeline, request.partition_key or "")
    logs = SearchLogs(1, b"key").items(ITEMS, 1_700_000_000.0)
    assert {row["log_id"] for row in rows} == {item["log_id"]["S"] for item in logs}


@pytest.mark.parametrize(
    ("engine", "size_bytes", "from_gb", "spark"),
    [
        ("auto", 10**12, 0.0, False),
        ("auto", 10**12, 500.0, True),
        ("auto", 10**9, 1.0, True),
        ("auto", 10**9 - 1, 1.0, False),
        ("here", 10**12, 1.0, False),
        ("spark", 0, 0.0, True),
    ],
)
def test_large_tables_go_to_spark(
    engine: str, size_bytes: int, from_gb: float, spark: bool
) -> None:
    assert wants_spark(engine, size_bytes, from_gb) is spark


def test_progress() -> None:
    found = progress_metadata(Progress(50, 200, 1, 4), 2.0)
    assert found == {
        "items": 50,
        "items_in_export": 200,
        "tasks": 1,
        "items_per_second": 25,
        "seconds_left": 6,
    }
    assert exports(PipelineConfig(name="abc")).name == "abc_exports"
