"""The consumer job on the embedded AWS: each run continues where the last one ended."""

from collections.abc import Iterator
from typing import Any

import pytest

from ddb_pipeline.config.choices import StreamReader
from ddb_pipeline.config.pipeline import PipelineConfig
from ddb_pipeline.config.settings import Settings
from ddb_pipeline.definitions import build_defs
from ddb_pipeline.defs.consume import failure_text
from ddb_pipeline.demo.search_logs import SearchLogs
from ddb_pipeline.demo.traffic import write_items
from ddb_pipeline.dynamodb.stream_consumer import Consumption
from ddb_pipeline.embedded.process import stop
from ddb_pipeline.resources.cloud import CloudResource

ITEMS = 60


@pytest.fixture(scope="module")
def settings(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Settings]:
    home = tmp_path_factory.mktemp("consumed")
    pipelines = (
        PipelineConfig(
            name="consumed", bucket="consumed-lake", stream_reader=StreamReader.CONSUMER
        ),
    )
    yield Settings(home=home, pipelines=pipelines)
    stop(home / "embedded")


@pytest.fixture(scope="module")
def cloud(settings: Settings) -> CloudResource:
    cloud = CloudResource.of(settings)
    items = SearchLogs(1, b"k" * 32).items(ITEMS, 1_780_000_000.0)
    write_items(cloud.dynamodb, "consumed", items)
    return cloud


def consume(settings: Settings, **config: Any) -> dict[str, Any]:
    job = build_defs(settings).resolve_job_def("consume_stream")
    ops = {"consume_stream_records": {"config": {"pipeline": "consumed", **config}}}
    result = job.execute_in_process(run_config={"ops": ops})
    (handled,) = [e for e in result.all_node_events if e.is_successful_output]
    return {k: v.value for k, v in handled.step_output_data.metadata.items()}


@pytest.mark.embedded
def test_a_run_continues_where_the_last_one_ended(settings: Settings, cloud: CloudResource) -> None:
    assert cloud.client("lambda").list_event_source_mappings()["EventSourceMappings"] == []
    first = consume(settings, max_records=25)
    assert (first["records"], first["caught_up"]) == (25, False)
    second = consume(settings)
    assert (second["records"], second["caught_up"]) == (ITEMS - 25, True)
    assert first["delivered"] + first["held"] + second["delivered"] + second["held"] == ITEMS
    assert consume(settings)["records"] == 0
    items = SearchLogs(2, b"k" * 32).items(5, 1_780_000_100.0)
    write_items(cloud.dynamodb, "consumed", items)
    assert consume(settings)["records"] == 5


@pytest.mark.embedded
def test_a_missing_checkpoint_table_is_explained(settings: Settings, cloud: CloudResource) -> None:
    cloud.dynamodb.delete_table(TableName="consumed-stream-checkpoints")
    with pytest.raises(Exception, match='stream_reader = "consumer"'):
        consume(settings)


def test_without_consumers_there_is_no_sensor() -> None:
    settings = Settings(pipelines=(PipelineConfig(name="by_lambda"),))
    names = {sensor.name for sensor in build_defs(settings).get_repository_def().sensor_defs}
    assert "stream_consumer_sensor" not in names


def test_a_failed_run_names_the_records_that_are_left() -> None:
    done = Consumption(stopped={"shard-1": "17"}, trimmed={"shard-2": "Gone."})
    assert failure_text(done) == (
        "Shard shard-1: records from sequence number 17 on were not delivered; the next run tries "
        "them again. Gone. Then run the job with skip_trimmed."
    )
