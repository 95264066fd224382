"""Decisions about types through the embedded AWS: held, streamed, refused, then decided anew."""

import json
from collections.abc import Iterator
from typing import Any

import dagster as dg
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from ddb_pipeline.config.choices import CrawlWith
from ddb_pipeline.config.names import crawled_table, lake_table
from ddb_pipeline.config.pipeline import PipelineConfig
from ddb_pipeline.config.settings import Settings
from ddb_pipeline.definitions import build_defs
from ddb_pipeline.demo.traffic import write_items
from ddb_pipeline.embedded.process import stop
from ddb_pipeline.glue.catalog import read_table
from ddb_pipeline.glue.snapshot_table import item_columns
from ddb_pipeline.hive.type_decisions import Decision
from ddb_pipeline.lake.objects import list_objects, read_object
from ddb_pipeline.resources.cloud import CloudResource
from ddb_pipeline_tests.support import type_conflicts as cases
from ddb_pipeline_tests.support.polling import wait_until
from ddb_pipeline_tests.support.type_conflicts import without_nulls

pytestmark = pytest.mark.embedded

PIPELINE = PipelineConfig(
    name="decided",
    partition_key="id",
    bucket="decided-lake",
    crawl_with=CrawlWith.BUILTIN,
    buffer_seconds=1,
    type_conflicts={name: Decision(decision) for name, (_, decision) in cases.ATTRIBUTES.items()},
)


@pytest.fixture
def settings(tmp_path: Any) -> Iterator[Settings]:
    yield Settings(home=tmp_path, pipelines=(PIPELINE,))
    stop(tmp_path / "embedded")


def rows(cloud: CloudResource) -> list[dict[str, Any]]:
    """The rows that the stream has landed and redelivery has added."""
    found: list[dict[str, Any]] = []
    for stored in list_objects(cloud.s3, PIPELINE.lake, "stream/"):
        if stored.key.endswith(".parquet"):
            body = read_object(cloud.s3, PIPELINE.lake, stored.key)
            found += pq.ParquetFile(pa.BufferReader(body)).read().to_pylist()
    return without_nulls(found)


def dead_letters(cloud: CloudResource) -> dict[str, str]:
    """The reasons of the dead letters, by the item's id."""
    found = {}
    for stored in list_objects(cloud.s3, PIPELINE.lake, "dead-letters/"):
        for line in read_object(cloud.s3, PIPELINE.lake, stored.key).splitlines():
            letter = json.loads(line)
            found[letter["record"]["dynamodb"]["Keys"]["id"]["S"]] = letter["reason"]
    return found


def test_values_of_several_types_in_the_stream(settings: Settings) -> None:
    cloud = CloudResource.of(settings)
    held, streamed = list(cases.items("held-")), list(cases.items("streamed-"))
    write_items(cloud.dynamodb, PIPELINE.dynamodb_table, [item for item, _ in held])
    wait_until(
        lambda: any(list_objects(cloud.s3, PIPELINE.lake, "errors/undeclared-attributes/")),
        "the held changes",
    )
    job = build_defs(settings).resolve_implicit_global_asset_job_def()
    names = ("crawled_catalog_table", "normalized_schema", "lake_table", "redelivered_records")
    with dg.DagsterInstance.ephemeral() as instance:
        for name in names:
            key = dg.AssetKey([PIPELINE.name, name])
            assert job.execute_in_process(asset_selection=[key], instance=instance).success
    for table in (crawled_table(PIPELINE), lake_table(PIPELINE)):
        columns = item_columns(read_table(cloud.glue, table).columns)
        assert dict(columns) == cases.expected_columns()
    accepted = [row for _, row in held if row is not None]
    assert rows(cloud) == without_nulls(accepted)
    write_items(cloud.dynamodb, PIPELINE.dynamodb_table, [item for item, _ in streamed])
    accepted += [row for _, row in streamed if row is not None]
    wait_until(lambda: len(rows(cloud)) >= len(accepted), "the rows")
    assert rows(cloud) == without_nulls(accepted)
    refused = {item["id"]["S"] for item, row in streamed if row is None}
    wait_until(lambda: refused <= dead_letters(cloud).keys(), "the dead letters")
    letters = dead_letters(cloud)
    assert all("(decided: " in letters[key] for key in refused)
