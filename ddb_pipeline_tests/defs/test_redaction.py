"""A redacted value is nowhere on the embedded AWS but in the source table and its stream.

The same marker is the value of a dropped attribute, of a pseudonymised one and of the key, in items
that become rows, held records, error objects and dead letters, which are then replayed.
"""

import base64
import json
from collections.abc import Iterator
from typing import Any

import dagster as dg
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from ddb_pipeline.config.choices import FunctionSetting, SchemaFix
from ddb_pipeline.config.names import stream_function
from ddb_pipeline.config.pipeline import PipelineConfig
from ddb_pipeline.config.settings import Settings
from ddb_pipeline.definitions import build_defs
from ddb_pipeline.demo.traffic import write_items
from ddb_pipeline.deploy.functions import function_environment
from ddb_pipeline.embedded.process import stop
from ddb_pipeline.firehose.error_objects import read_error_object
from ddb_pipeline.lake.objects import list_objects, read_object
from ddb_pipeline.resources.cloud import CloudResource
from ddb_pipeline_tests.support.polling import wait_until

pytestmark = pytest.mark.embedded

MARKER = "marker-7391"
REDACTION = {
    FunctionSetting.DROP_ATTRIBUTES: "secret",
    FunctionSetting.PSEUDONYMISE_ATTRIBUTES: "log_id,user.mail",
    FunctionSetting.PSEUDONYM_KEY_SECRET_ARN: "arn:aws:secretsmanager:us-east-1:0:secret:key",
    FunctionSetting.IMAGES: "both",
}
PIPELINE = PipelineConfig(
    name="redacted",
    bucket="redacted-lake",
    lake_prefix="sales/redacted",
    schema_fix=SchemaFix.DAGSTER,
    buffer_seconds=2,
    function_settings=REDACTION,
)


def item(number: int, **attributes: Any) -> dict[str, Any]:
    return {
        "log_id": {"S": f"{MARKER}-{number}"},
        "secret": {"S": MARKER},
        "user": {"M": {"mail": {"S": f"{MARKER}@example.org"}}},
        **attributes,
    }


@pytest.fixture(scope="module")
def settings(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Settings]:
    home = tmp_path_factory.mktemp("redacted")
    yield Settings(home=home, pipelines=(PIPELINE,))
    stop(home / "embedded")


@pytest.fixture(scope="module")
def cloud(settings: Settings) -> CloudResource:
    cloud = CloudResource.of(settings)
    functions, name = cloud.client("lambda"), stream_function(PIPELINE)
    key = {"PSEUDONYM_KEY": "k" * 32, "PSEUDONYM_KEY_SECRET_ARN": ""}
    variables = {**function_environment(functions, name), **key}
    functions.update_function_configuration(FunctionName=name, Environment={"Variables": variables})
    return cloud


def objects(cloud: CloudResource, prefix: str = "") -> dict[str, bytes]:
    return {
        stored.key: read_object(cloud.s3, PIPELINE.lake, stored.key)
        for stored in list_objects(cloud.s3, PIPELINE.lake, prefix)
    }


def readable(key: str, body: bytes) -> str:
    """All values of an object as text, those of Parquet and of failed records too."""
    if body.startswith(b"PAR1"):
        return str(pq.ParquetFile(pa.BufferReader(body)).read().to_pylist())
    if "errors/" in key:
        records = read_error_object(body).records
        return "".join(record.raw_data.decode() for record in records) + body.decode()
    return body.decode()


def logged(cloud: CloudResource) -> str:
    logs = cloud.client("logs")
    name = f"/aws/lambda/{stream_function(PIPELINE)}"
    events = logs.filter_log_events(logGroupName=name)["events"]
    return "\n".join(event["message"] for event in events)


def materialise(settings: Settings, instance: dg.DagsterInstance, *names: str) -> None:
    job = build_defs(settings).resolve_implicit_global_asset_job_def()
    keys = [dg.AssetKey([PIPELINE.name, name]) for name in names]
    job.execute_in_process(asset_selection=keys, instance=instance, raise_on_error=False)


def replay(settings: Settings, instance: dg.DagsterInstance, name: str) -> None:
    job = build_defs(settings).resolve_job_def(name)
    [op] = [node.name for node in job.nodes]
    config = {"ops": {op: {"config": {"pipeline": PIPELINE.name}}}}
    assert job.execute_in_process(run_config=config, instance=instance).success


def test_redacted_values_are_nowhere(settings: Settings, cloud: CloudResource) -> None:
    table = PIPELINE.dynamodb_table
    with dg.DagsterInstance.ephemeral() as instance:
        write_items(cloud.dynamodb, table, [item(1, clicks={"N": "1"}, note={"S": ""})])
        wait_until(lambda: bool(objects(cloud, "errors/undeclared-attributes/")), "held")
        materialise(settings, instance, "crawled_catalog_table", "normalized_schema", "lake_table")
        materialise(settings, instance, "redelivered_records")
        escaped = {"S": "\x01" * 190_000}
        write_items(cloud.dynamodb, table, [item(2), item(3, clicks={"S": "none"})])
        write_items(cloud.dynamodb, table, [item(4, note=escaped)])
        wait_until(lambda: bool(objects(cloud, "dead-letters/")), "dead letter")
        wait_until(lambda: bool(objects(cloud, "errors/format-conversion-failed/")), "error object")
        wait_until(lambda: bool(objects(cloud, "stream/")), "rows")
        # Now an attribute has two types, which a check reports with keys of items.
        materialise(settings, instance, "crawled_catalog_table")
        replay(settings, instance, "replay_stream")
        replay(settings, instance, "replay_dead_letters")
        materialise(settings, instance, "redelivered_records", "parquet_stream")

        events = [
            str(entry) for run in instance.get_runs() for entry in instance.all_logs(run.run_id)
        ]
    found = {key: readable(key, body) for key, body in objects(cloud).items()}
    prefixes = {key.partition("/")[0] for key in found}
    assert {"stream", "errors", "redelivered", "dead-letters"} <= prefixes
    assert len(logged(cloud)) > 0
    assert len(events) > 0
    places = {**found, "the function's log": logged(cloud), "Dagster": "\n".join(events)}
    marker = (MARKER, base64.b64encode(MARKER.encode()).decode()[:12])
    assert [name for name, text in places.items() if any(m in text for m in marker)] == []
    assert json.dumps(sorted(found)).count(MARKER) == 0
