"""The health checks in a run, and where they do not run."""

from typing import Any

import dagster as dg
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from ddb_pipeline.config.pipeline import PipelineConfig
from ddb_pipeline.config.settings import Settings
from ddb_pipeline.definitions import build_defs
from ddb_pipeline.defs import health
from ddb_pipeline.defs.asset_keys import (
    CHECKS_OF_RUNS,
    HEALTHY,
    PARQUET_CURRENT,
    PARQUET_SNAPSHOT,
    PARQUET_STREAM,
    RELEVANCE_SCORES,
    asset_key,
)
from ddb_pipeline.embedded.process import Endpoint
from ddb_pipeline.glue.catalog import create_table, read_table
from ddb_pipeline.glue.lake_table import (
    LakePartition,
    parquet_definition,
    register_partitions,
    widen_lake_table,
)
from ddb_pipeline.hive.types import Column
from ddb_pipeline.lake.health import Finding, Problem
from ddb_pipeline.lake.layout import DeliveryHour
from ddb_pipeline_tests.support.embedded_cloud import embedded_cloud, new_lake

PIPELINE = PipelineConfig.model_validate({"name": "logs", "relevance": {}, "current": "stream"})


def dataset_of(pipeline: PipelineConfig, asset: str) -> health.Dataset:
    return next(each for each in health.datasets(pipeline) if each.name == asset)


STREAM, SNAPSHOT, SCORES = (
    dataset_of(PIPELINE, asset) for asset in (PARQUET_STREAM, PARQUET_SNAPSHOT, RELEVANCE_SCORES)
)


def test_each_finding_says_what_to_run() -> None:
    for dataset in health.datasets(PIPELINE):
        without = {Problem.SMALL_FILES} if dataset.name == PARQUET_CURRENT else set()
        assert set(dataset.advice) == set(Problem) - without
    hours = tuple(("2026-11-24", f"{hour:02}") for hour in range(7))
    finding = Finding(Problem.FILE_TYPES, hours, "n: int")
    shown = health.shown_partitions(STREAM, finding)
    assert shown.startswith("2026-11-24-00:00, 2026-11-24-01:00, ")
    assert shown.endswith("2026-11-24-04:00 and 2 more")
    assert (
        health.shown_partitions(SNAPSHOT, Finding(Problem.NO_FILES, (("017-a",),), "")) == "017-a"
    )
    assert health.shown_partitions(SCORES, Finding(Problem.SMALL_FILES, ((),), "")) == ""


@pytest.mark.parametrize("asset", [PARQUET_STREAM, PARQUET_SNAPSHOT])
def test_partitions_are_materialised_without_the_check(asset: str) -> None:
    defs = build_defs(Settings(pipelines=(PIPELINE,)))
    attached = {
        key.name
        for key in defs.resolve_asset_graph().asset_check_keys
        if key.asset_key == asset_key(PIPELINE, asset)
    }
    assert attached == {HEALTHY, *CHECKS_OF_RUNS[asset]}
    schedule = defs.resolve_schedule_def("logs_health")
    assert str(schedule.cron_schedule).endswith("* * *")


@pytest.mark.embedded
def test_small_files_of_two_types(embedded_aws: Endpoint) -> None:
    cloud = embedded_cloud(embedded_aws)

    def checked(dataset: health.Dataset, **config: Any) -> dg.AssetCheckResult:
        check: Any = health.health_check(pipeline, dataset)
        result: dg.AssetCheckResult = check(cloud=cloud, config=health.HealthConfig(**config))
        return result

    name = new_lake(cloud, "health")
    pipeline = PIPELINE.model_copy(update={"bucket": name, "database": name})
    stream, snapshot = (dataset_of(pipeline, each) for each in (PARQUET_STREAM, PARQUET_SNAPSHOT))
    missing = checked(snapshot)
    assert missing.passed
    assert "does not exist yet" in str(missing.metadata["table"].value)
    hour = DeliveryHour("2026-11-24", "09")
    filesystem = cloud.filesystem()
    for number in range(3):
        rows = pa.table({"n": pa.array([number], pa.int32() if number == 0 else pa.int64())})
        pq.write_table(rows, f"{name}/{hour.prefix}{number}.parquet", filesystem=filesystem)
    location = f"s3://{name}/stream/"
    widen_lake_table(cloud.glue, stream.table, location, [Column("n", "bigint")])
    table = read_table(cloud.glue, stream.table)
    uri = f"s3://{name}/{hour.prefix}"
    register_partitions(cloud.glue, table, [LakePartition((hour.date, hour.hour), uri)])
    assert checked(stream).passed
    found = checked(stream, small_files=2, open_hours=0)
    assert not found.passed
    assert found.severity is dg.AssetCheckSeverity.WARN
    assert found.metadata["files"].value == 3
    assert found.metadata["small_share"].value == 1.0
    shown = str(found.metadata["findings"].value)
    assert "| many small files | 2026-11-24-09:00 | up to 3 | Materialise these" in shown
    assert "| files with other types than the table's | 2026-11-24-09:00 | n: int | " in shown
    assert (
        "partitions of logs/parquet_stream: 2026-11-24-09:00. Closed hours are compacted" in shown
    )
    current = dataset_of(pipeline, PARQUET_CURRENT)
    create_table(
        cloud.glue,
        current.table,
        parquet_definition(current.table.name, uri, [Column("n", "bigint")]),
    )
    shown = str(checked(current, small_files=2, open_hours=0).metadata["findings"].value)
    assert "small files" not in shown
    assert "| files with other types than the table's |  | n: int | Materialise logs/parq" in shown
    none = checked(stream, partitions=0).metadata["findings"].value
    assert none == "None."
