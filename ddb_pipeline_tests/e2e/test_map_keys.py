"""Keys of a map that are data are the same in the stream, after redelivery, and in an export."""

import time
from collections.abc import Iterator
from typing import Any

import dagster as dg
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from ddb_pipeline.config.choices import ExportWith, SchemaFix
from ddb_pipeline.config.names import lake_table
from ddb_pipeline.config.pipeline import PipelineConfig
from ddb_pipeline.config.settings import Settings
from ddb_pipeline.definitions import build_defs
from ddb_pipeline.demo.traffic import write_items
from ddb_pipeline.embedded.process import stop
from ddb_pipeline.export.convert import convert_export
from ddb_pipeline.export.scan import scan_to_export
from ddb_pipeline.export.source import open_export
from ddb_pipeline.glue.catalog import read_table
from ddb_pipeline.lake.objects import list_objects, read_object
from ddb_pipeline.parquet.publish import Destination
from ddb_pipeline.resources.cloud import CloudResource
from ddb_pipeline_tests.support.polling import wait_until

pytestmark = pytest.mark.embedded

PIPELINE = PipelineConfig(
    name="map_keys",
    bucket="map-keys-lake",
    schema_fix=SchemaFix.DAGSTER,
    export_with=ExportWith.SCAN,
    buffer_seconds=1,
)
KEYS = {"2024-01-01": 1, "2024-01-02": 2, "2024-01-03": 3, "User-0001": 4, "user-0001": 5}


def item(key: str) -> dict[str, Any]:
    days = {"M": {name: {"N": str(number)} for name, number in KEYS.items()}}
    return {"log_id": {"S": key}, "M": days, "In": {"M": {"Days Of": days}}}


@pytest.fixture
def settings(tmp_path: Any) -> Iterator[Settings]:
    yield Settings(home=tmp_path, pipelines=(PIPELINE,))
    stop(tmp_path / "embedded")


def rows(cloud: CloudResource, prefix: str) -> dict[str, tuple[Any, Any]]:
    """The maps of each row under a prefix, by ``log_id``."""
    found = {}
    for stored in list_objects(cloud.s3, PIPELINE.lake, prefix):
        if stored.key.endswith(".parquet"):
            body = read_object(cloud.s3, PIPELINE.lake, stored.key)
            for row in pq.ParquetFile(pa.BufferReader(body)).read().to_pylist():
                found[row["log_id"]] = (dict(row["m"]), dict(row["in"]["days_of"]))
    return found


def held(cloud: CloudResource) -> bool:
    return any(list_objects(cloud.s3, PIPELINE.lake, "errors/undeclared-attributes/"))


def test_keys_of_maps_are_the_same_on_each_path(settings: Settings) -> None:
    cloud = CloudResource.of(settings)
    write_items(cloud.dynamodb, PIPELINE.dynamodb_table, [item("held")])
    wait_until(lambda: held(cloud), "the held change")
    job = build_defs(settings).resolve_implicit_global_asset_job_def()
    names = ("crawled_catalog_table", "normalized_schema", "lake_table", "redelivered_records")
    with dg.DagsterInstance.ephemeral() as instance:
        for name in names:
            key = dg.AssetKey([PIPELINE.name, name])
            assert job.execute_in_process(asset_selection=[key], instance=instance).success
    assert rows(cloud, "stream/") == {"held": (KEYS, KEYS)}
    time.sleep(1.0)
    write_items(cloud.dynamodb, PIPELINE.dynamodb_table, [item("streamed")])
    wait_until(lambda: "streamed" in rows(cloud, "stream/") or held(cloud), "the row")
    assert rows(cloud, "stream/") == dict.fromkeys(("held", "streamed"), (KEYS, KEYS))
    exported, _ = scan_to_export(
        cloud.dynamodb, cloud.s3, PIPELINE.dynamodb_table, PIPELINE.bucket, "exports"
    )
    open_object, export = open_export(cloud.filesystem(), exported)
    columns = read_table(cloud.glue, lake_table(PIPELINE)).columns
    destination = Destination(cloud.filesystem(), f"{PIPELINE.bucket}/snapshot/export")
    convert_export(open_object, export, columns, destination)
    assert rows(cloud, "snapshot/") == rows(cloud, "stream/")
