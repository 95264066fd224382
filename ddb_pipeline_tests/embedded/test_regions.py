"""Two pipelines with the same names in two regions of the embedded AWS, from items to rows.

One has its table and its catalog in other accounts. The embedded AWS has one account, and takes the
requests that name others.
"""

import time
from collections.abc import Iterator

import dagster as dg
import pyarrow.dataset
import pytest

from ddb_pipeline.cli.sensor_loop import SensorLoop
from ddb_pipeline.config.names import crawled_table, lake_table
from ddb_pipeline.config.pipeline import PipelineConfig
from ddb_pipeline.config.settings import Settings
from ddb_pipeline.definitions import build_defs
from ddb_pipeline.defs.asset_keys import PARQUET_STREAM, asset_key
from ddb_pipeline.embedded.process import stop
from ddb_pipeline.glue.catalog import find_table, read_table
from ddb_pipeline.lake.layout import STREAM_PREFIX
from ddb_pipeline.lake.objects import list_objects
from ddb_pipeline.resources.cloud import CloudResource
from ddb_pipeline_tests.support.other_accounts import OF_CATALOG, OF_TABLE

pytestmark = [pytest.mark.embedded, pytest.mark.timeout(240)]

SECONDS = 150.0
SENSORS = ("crawl_sensor", "glue_table_change_sensor", "failed_records_sensor", "landing_sensor")
SAME = {
    "dynamodb_table": "orders",
    "database": "sales",
    "stack": "orders",
    "buffer_seconds": 1,
}


@pytest.fixture(scope="module")
def settings(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Settings]:
    home = tmp_path_factory.mktemp("regions")
    yield Settings.model_validate(
        {
            "home": home,
            "region": "eu-west-1",
            "pipelines": [
                {"name": "here", **SAME, **OF_TABLE, **OF_CATALOG},
                # The region that the embedded AWS has by default.
                {"name": "there", "region": "us-east-1", **SAME},
            ],
        }
    )
    stop(home / "embedded")


def rows(cloud: CloudResource, pipeline: PipelineConfig) -> set[str]:
    """The ids of the items that are rows of a pipeline's stream."""
    keys = [each.key for each in list_objects(cloud.s3, pipeline.lake, STREAM_PREFIX)]
    paths = [pipeline.lake.path(key) for key in keys if key.endswith(".parquet")]
    if not paths:
        return set()
    dataset = pyarrow.dataset.dataset(paths, filesystem=cloud.filesystem(), format="parquet")
    return set(dataset.to_table(["log_id"]).column("log_id").to_pylist())


def test_the_items_of_each_reach_its_own_lake(settings: Settings) -> None:
    base = CloudResource.of(settings)
    clouds = {each.name: base.for_pipeline(each) for each in settings.pipelines}
    with dg.DagsterInstance.ephemeral() as instance:
        loop = SensorLoop(build_defs(settings, whole_location=False), base, instance)
        for name, cloud in clouds.items():
            item = {"log_id": {"S": f"from {name}"}, name: {"N": "1"}}
            cloud.dynamodb.put_item(TableName="orders", Item=item)
        deadline = time.monotonic() + SECONDS

        def is_done(pipeline: PipelineConfig) -> bool:
            key = asset_key(pipeline, PARQUET_STREAM)
            landed = instance.get_latest_materialization_event(key) is not None
            return landed and bool(rows(clouds[pipeline.name], pipeline))

        while not all(map(is_done, settings.pipelines)):
            assert time.monotonic() < deadline
            for sensor in SENSORS:
                loop.tick(sensor)
            time.sleep(0.2)
    for pipeline in settings.pipelines:
        cloud = clouds[pipeline.name]
        assert rows(cloud, pipeline) == {f"from {pipeline.name}"}
        columns = dict(read_table(cloud.glue, crawled_table(pipeline)).columns)
        assert set(columns) == {"log_id", pipeline.name}
        assert find_table(cloud.glue, lake_table(pipeline)) is not None
