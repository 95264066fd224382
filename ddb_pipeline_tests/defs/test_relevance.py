"""``relevance_scores`` on the embedded AWS: a real Spark job through Dagster Pipes."""

import importlib.util
import io
from collections.abc import Iterator
from datetime import datetime, timezone
from typing import Any

import dagster as dg
import pyarrow.parquet as pq
import pytest

from ddb_pipeline.config.names import scores_table
from ddb_pipeline.config.pipeline import PipelineConfig
from ddb_pipeline.config.settings import Settings
from ddb_pipeline.config.spark import RelevanceConfig
from ddb_pipeline.defs.asset_keys import PARQUET_IO_MANAGER
from ddb_pipeline.defs.relevance import relevance_asset
from ddb_pipeline.embedded.process import stop
from ddb_pipeline.glue.catalog import read_table
from ddb_pipeline.resources.cloud import CloudResource
from ddb_pipeline_tests.support.planted_logs import Planted, write_logs

PLANTED = Planted(seed=2, queries=2, documents=10, shown=5, hours=2, users=50)
BUCKET = "scored-lake"


@pytest.fixture(scope="module")
def settings(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Settings]:
    home = tmp_path_factory.mktemp("relevance")
    yield Settings(
        home=home,
        pipelines=(
            PipelineConfig(
                name="scored",
                bucket=BUCKET,
                relevance=RelevanceConfig(window_days=30_000),
                start=datetime(2026, 9, 21, tzinfo=timezone.utc),
            ),
        ),
    )
    stop(home / "embedded")


@pytest.fixture(scope="module")
def cloud(settings: Settings, tmp_path_factory: pytest.TempPathFactory) -> CloudResource:
    cloud = CloudResource.of(settings)
    stream = tmp_path_factory.mktemp("logs") / "stream"
    write_logs(stream, PLANTED, 300)
    for path in stream.rglob("*.parquet"):
        key = f"stream/{path.relative_to(stream).as_posix()}"
        cloud.s3.upload_file(str(path), BUCKET, key)
    return cloud


def materialize(
    settings: Settings, cloud: CloudResource, instance: dg.DagsterInstance, **changed: Any
) -> dg.ExecuteInProcessResult:
    (pipeline,) = settings.pipelines
    assert pipeline.relevance is not None
    relevance = pipeline.relevance.model_copy(update=changed)
    asset = relevance_asset(settings, pipeline, relevance)
    return dg.materialize(
        [asset],
        instance=instance,
        resources={"cloud": cloud, PARQUET_IO_MANAGER: dg.mem_io_manager},
        raise_on_error=False,
    )


def keys(cloud: CloudResource) -> set[str]:
    listed = cloud.s3.list_objects_v2(Bucket=BUCKET, Prefix="relevance/")
    return {entry["Key"] for entry in listed.get("Contents", ())}


@pytest.mark.embedded
def test_scores_from_the_lake(settings: Settings, cloud: CloudResource) -> None:
    with dg.DagsterInstance.ephemeral() as instance:
        result = materialize(settings, cloud, instance)
        assert result.success
        (event,) = result.asset_materializations_for_node("scored__relevance_scores")
        metadata = {name: value.value for name, value in event.metadata.items()}
        assert metadata["logs/logs"] == 300
        assert metadata["hours"] == 2
        assert metadata["queries"] == 2
        assert "data:image/svg+xml" in str(metadata["score_distribution"])
        table = read_table(cloud.glue, scores_table(settings.pipelines[0]))
        assert table.location == metadata["dagster/uri"]
        prefix = table.location.removeprefix(f"s3://{BUCKET}/")
        objects = sorted(key for key in keys(cloud) if key.startswith(prefix))
        bodies = [cloud.s3.get_object(Bucket=BUCKET, Key=key)["Body"].read() for key in objects]
        rows = [row for body in bodies for row in pq.read_table(io.BytesIO(body)).to_pylist()]
        assert len(rows) == metadata["dagster/row_count"]
        assert len(rows) > 10
        columns = pq.read_schema(io.BytesIO(bodies[0])).names
        assert columns == [column.name for column in table.columns]

        before = keys(cloud)
        again = materialize(settings, cloud, instance)
        (event,) = again.asset_materializations_for_node("scored__relevance_scores")
        assert event.metadata["unchanged"].value is True
        assert event.metadata["dagster/uri"].value == table.location
        assert keys(cloud) == before


def failure(result: dg.ExecuteInProcessResult) -> str:
    assert not result.success
    (event,) = [e for e in result.all_events if e.is_step_failure]
    found = event.step_failure_data.user_failure_data
    assert found is not None
    return found.description or ""


@pytest.mark.embedded
def test_a_failure_of_the_job_is_readable(settings: Settings, cloud: CloudResource) -> None:
    with dg.DagsterInstance.ephemeral() as instance:
        result = materialize(settings, cloud, instance, columns={"query": "phrase"})
    text = failure(result)
    assert text.startswith("The Spark job 'relevance' failed. RelevanceError: No file of the logs")
    assert "'phrase'" in text
    assert "--column-query" in text


@pytest.mark.embedded
def test_without_pyspark_the_run_says_how_to_get_it(
    settings: Settings, cloud: CloudResource, monkeypatch: pytest.MonkeyPatch
) -> None:
    find = importlib.util.find_spec
    monkeypatch.setattr(
        importlib.util, "find_spec", lambda name, *a: None if name == "pyspark" else find(name, *a)
    )
    with dg.DagsterInstance.ephemeral() as instance:
        result = materialize(settings, cloud, instance)
        assert "pip install -e '.[spark]'" in failure(result)
