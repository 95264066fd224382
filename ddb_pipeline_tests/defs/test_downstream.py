"""Assets of a user on the pipeline's assets: each dataset as a dataframe."""

from typing import Any

import dagster as dg
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from ddb_pipeline.arrow_types import arrow_schema, parquet_write_options
from ddb_pipeline.config.names import (
    asset_location,
    current_table,
    lake_table,
    scores_table,
    snapshot_table,
)
from ddb_pipeline.config.pipeline import PipelineConfig
from ddb_pipeline.config.settings import Settings
from ddb_pipeline.definitions import assets, build_defs
from ddb_pipeline.defs.asset_keys import PARQUET_IO_MANAGER
from ddb_pipeline.embedded.process import Endpoint
from ddb_pipeline.glue.catalog import create_table, read_table
from ddb_pipeline.glue.lake_table import (
    LakePartition,
    parquet_definition,
    register_partitions,
    widen_lake_table,
)
from ddb_pipeline.glue.scores_table import SCORES_COLUMNS, point_scores_table
from ddb_pipeline.glue.snapshot_table import publish_export
from ddb_pipeline.hive.types import Column
from ddb_pipeline.lake.layout import CURRENT_VERSIONS_PREFIX, DeliveryHour
from ddb_pipeline.resources.cloud import CloudResource
from ddb_pipeline.resources.parquet_io_manager import ParquetIOManager
from ddb_pipeline_tests.support.embedded_cloud import embedded_cloud, new_lake

BIG = 2**53 + 1
COLUMNS = (Column("id", "string"), Column("n", "bigint"))
DAYS = dg.DailyPartitionsDefinition("2026-11-01", end_date="2026-12-01")


@pytest.fixture(scope="module")
def cloud(embedded_aws: Endpoint) -> CloudResource:
    return embedded_cloud(embedded_aws)


@pytest.fixture(scope="module")
def pipeline(cloud: CloudResource) -> PipelineConfig:
    """A pipeline whose datasets have two rows each."""
    name = new_lake(cloud, "downstream")
    found = PipelineConfig.model_validate(
        {"name": "logs", "bucket": name, "database": name, "relevance": {}, "current": "stream"}
    )
    for hour in ("08", "10"):
        put(cloud, found, DeliveryHour("2026-11-24", hour).prefix, hour)
    location = f"s3://{name}/stream/"
    widen_lake_table(cloud.glue, lake_table(found), location, COLUMNS)
    hours = [
        LakePartition(
            ("2026-11-24", hour), f"{location}delivery_date=2026-11-24/delivery_hour={hour}/"
        )
        for hour in ("08", "10")
    ]
    register_partitions(cloud.glue, read_table(cloud.glue, lake_table(found)), hours)
    for export in ("1-a", "2-b"):
        put(cloud, found, f"snapshot/export_id={export}/", export)
        publish_export(
            cloud.glue,
            snapshot_table(found),
            location=f"s3://{name}/snapshot/",
            columns=COLUMNS,
            export_id=export,
            partition_location=f"s3://{name}/snapshot/export_id={export}/",
        )
    versions = f"{CURRENT_VERSIONS_PREFIX}0000000001-a/"
    put(cloud, found, versions, "now")
    current = current_table(found)
    definition = parquet_definition(current.name, f"s3://{name}/{versions}", COLUMNS)
    create_table(cloud.glue, current, definition)
    schema = arrow_schema(SCORES_COLUMNS)
    scores = pa.Table.from_pylist([{"query": "q", "score": 0.1}, {"query": "r"}], schema)
    pq.write_table(
        scores,
        f"{name}/relevance/scores/v1/0.parquet",
        filesystem=cloud.filesystem(),
        **parquet_write_options(),
    )
    uri = f"s3://{name}/relevance/scores/v1/"
    point_scores_table(cloud.glue, scores_table(found), uri)
    return found


def put(cloud: CloudResource, pipeline: PipelineConfig, prefix: str, key: str) -> None:
    rows = pa.table({"id": [key], "n": pa.array([BIG], pa.int64())})
    path = f"{pipeline.bucket}/{prefix}0.parquet"
    pq.write_table(rows, path, filesystem=cloud.filesystem(), **parquet_write_options())


def loaded(
    cloud: CloudResource,
    pipeline: PipelineConfig,
    dataset: str,
    *,
    partitions: Any = None,
    key: str | None = None,
    **asset_in: Any,
) -> pd.DataFrame:
    """What an asset gets that takes a dataset as a dataframe."""
    seen: list[pd.DataFrame] = []

    @dg.asset(ins={"dataset": dg.AssetIn(["logs", dataset], **asset_in)}, partitions_def=partitions)
    def mine(dataset: pd.DataFrame) -> None:
        seen.append(dataset)

    settings = Settings(pipelines=(pipeline,))
    manager = ParquetIOManager(root=asset_location(pipeline), cloud=cloud)
    with dg.DagsterInstance.ephemeral() as instance:
        instance.add_dynamic_partitions("logs_exports", ["1-a", "2-b"])
        result = dg.materialize(
            [*assets(settings, pipeline), mine],
            selection=[mine],
            partition_key=key,
            resources={"cloud": cloud, PARQUET_IO_MANAGER: manager},
            instance=instance,
        )
    assert result.success
    return seen[0]


@pytest.mark.embedded
def test_the_hours_of_a_day(cloud: CloudResource, pipeline: PipelineConfig) -> None:
    found = loaded(cloud, pipeline, "parquet_stream", partitions=DAYS, key="2026-11-24")
    assert found[["id", "n", "delivery_hour"]].to_dict("list") == {
        "id": ["08", "10"],
        "n": [BIG, BIG],
        "delivery_hour": ["08", "10"],
    }
    assert found.columns[0] == "ddb_event_id"
    assert loaded(cloud, pipeline, "parquet_stream", partitions=DAYS, key="2026-11-25").empty


@pytest.mark.embedded
def test_snapshots(cloud: CloudResource, pipeline: PipelineConfig) -> None:
    newest = dg.LastPartitionMapping()
    found = loaded(cloud, pipeline, "parquet_snapshot", partition_mapping=newest)
    assert found.to_dict("list") == {"id": ["2-b"], "n": [BIG], "export_id": ["2-b"]}
    everything = loaded(cloud, pipeline, "parquet_snapshot", metadata={"columns": ["id"]})
    assert everything["id"].tolist() == ["1-a", "2-b"]


@pytest.mark.embedded
def test_the_table_as_it_is_now(cloud: CloudResource, pipeline: PipelineConfig) -> None:
    found = loaded(cloud, pipeline, "parquet_current")
    assert found.to_dict("list") == {"id": ["now"], "n": [BIG]}


@pytest.mark.embedded
def test_scores(cloud: CloudResource, pipeline: PipelineConfig) -> None:
    metadata = {"columns": ["query", "score"], "filters": [["score", "!=", None]]}
    found = loaded(cloud, pipeline, "relevance_scores", metadata=metadata)
    assert found.to_dict("list") == {"query": ["q"], "score": [0.1]}


def test_a_downstream_asset_beside_the_pipelines() -> None:
    """As README shows it."""

    @dg.asset(
        ins={"logs": dg.AssetIn(["search_logs", "parquet_current"])},
        io_manager_key="parquet_io_manager",
    )
    def searches_without_clicks(logs: pd.DataFrame) -> pd.DataFrame:
        return logs[logs["clicked_documents"].isna()]

    pipelines = build_defs(
        Settings.model_validate({"pipelines": [{"name": "search_logs", "current": "stream"}]})
    )
    merged = dg.Definitions.merge(pipelines, dg.Definitions(assets=[searches_without_clicks]))
    dg.Definitions.validate_loadable(merged)
    upstream = merged.resolve_asset_graph().get(searches_without_clicks.key).parent_keys
    assert upstream == {dg.AssetKey(["search_logs", "parquet_current"])}
