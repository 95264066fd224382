"""Replay jobs on the embedded AWS: a window of the stream, a saved event, a table-change event."""

import json
from collections.abc import Iterator, Sequence
from typing import Any

import dagster as dg
import pytest

from ddb_pipeline.config.choices import SchemaFix
from ddb_pipeline.config.pipeline import PipelineConfig
from ddb_pipeline.config.settings import Settings
from ddb_pipeline.definitions import build_defs
from ddb_pipeline.demo.search_logs import SearchLogs
from ddb_pipeline.demo.traffic import write_items
from ddb_pipeline.dynamodb.stream_read import lambda_event
from ddb_pipeline.embedded.process import stop
from ddb_pipeline.functions.changes import Problem, decode
from ddb_pipeline.functions.dead_letters import dead_letter_line
from ddb_pipeline.lake.objects import list_objects, read_object
from ddb_pipeline.resources.cloud import CloudResource
from ddb_pipeline_tests.support.stream_events import UNDECODABLE, stream_record
from ddb_pipeline_tests.support.stream_records import read_stream

pytestmark = pytest.mark.embedded

ITEMS = 40


PIPELINE = PipelineConfig(
    name="replayed",
    bucket="replayed-lake",
    lake_prefix="sales/replayed",
    schema_fix=SchemaFix.DAGSTER,
)


@pytest.fixture(scope="module")
def settings(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Settings]:
    home = tmp_path_factory.mktemp("replay")
    yield Settings(
        home=home,
        pipelines=(PIPELINE,),
    )
    stop(home / "embedded")


@pytest.fixture(scope="module")
def cloud(settings: Settings) -> CloudResource:
    cloud = CloudResource.of(settings)
    items = SearchLogs(1, b"k" * 32).items(ITEMS, 1_780_000_000.0)
    write_items(cloud.dynamodb, "replayed", items)
    return cloud


def run(
    settings: Settings,
    job: str,
    config: dict[str, Any],
    instance: dg.DagsterInstance | None = None,
) -> dg.ExecuteInProcessResult:
    (op,) = (node.name for node in build_defs(settings).resolve_job_def(job).nodes)
    return (
        build_defs(settings)
        .resolve_job_def(job)
        .execute_in_process(
            run_config={"ops": {op: {"config": config}}}, raise_on_error=False, instance=instance
        )
    )


def counts(result: dg.ExecuteInProcessResult) -> dict[str, Any]:
    assert result.success
    (handled,) = [e for e in result.all_node_events if e.is_successful_output]
    return {k: v.value for k, v in handled.step_output_data.metadata.items()}


def test_a_window_of_the_stream(settings: Settings, cloud: CloudResource) -> None:
    found = counts(run(settings, "replay_stream", {"pipeline": "replayed"}))
    assert found["received"] == ITEMS
    assert found["delivered"] + found["held"] == ITEMS


def test_part_of_a_shard(settings: Settings, cloud: CloudResource) -> None:
    table = cloud.dynamodb.describe_table(TableName="replayed")["Table"]
    records = list(read_stream(cloud.dynamodb_streams, table["LatestStreamArn"]))
    numbers = [record["dynamodb"]["SequenceNumber"] for record in records]
    window = {"first_sequence_number": numbers[3], "last_sequence_number": numbers[9]}
    assert (
        counts(run(settings, "replay_stream", {"pipeline": "replayed", **window}))["received"] == 7
    )


def test_a_batch_of_an_on_failure_message(settings: Settings, cloud: CloudResource) -> None:
    table = cloud.dynamodb.describe_table(TableName="replayed")["Table"]
    arn = table["LatestStreamArn"]
    shard = cloud.dynamodb_streams.describe_stream(StreamArn=arn)["StreamDescription"]["Shards"][0]
    records = list(read_stream(cloud.dynamodb_streams, arn))
    message = {
        "requestContext": {"condition": "RetryAttemptsExhausted"},
        "DDBStreamBatchInfo": {
            "shardId": shard["ShardId"],
            "startSequenceNumber": records[0]["dynamodb"]["SequenceNumber"],
            "endSequenceNumber": records[4]["dynamodb"]["SequenceNumber"],
            "batchSize": 5,
            "streamArn": arn,
        },
    }
    config = {"pipeline": "replayed", "failure_message": json.dumps(message)}
    assert counts(run(settings, "replay_stream", config))["received"] == 5


def test_a_batch_that_the_stream_has_trimmed_marks_the_run(
    settings: Settings, cloud: CloudResource
) -> None:
    table = cloud.dynamodb.describe_table(TableName="replayed")["Table"]
    arn = table["LatestStreamArn"]
    shard = cloud.dynamodb_streams.describe_stream(StreamArn=arn)["StreamDescription"]["Shards"][0]
    number = next(iter(read_stream(cloud.dynamodb_streams, arn)))["dynamodb"]["SequenceNumber"]
    batch = {
        "shardId": shard["ShardId"],
        "startSequenceNumber": number,
        "endSequenceNumber": number,
        "batchSize": 3,
        "streamArn": arn,
    }
    message = json.dumps({"DDBStreamBatchInfo": batch})
    with dg.DagsterInstance.ephemeral() as instance:
        config = {"pipeline": "replayed", "failure_message": message}
        failed = run(settings, "replay_stream", config, instance)
        assert not failed.success
        (found,) = instance.get_runs()
        assert found.tags["ddb_pipeline/trimmed"] == "true"


def test_a_saved_event(settings: Settings, cloud: CloudResource) -> None:
    table = cloud.dynamodb.describe_table(TableName="replayed")["Table"]
    arn = table["LatestStreamArn"]
    records = list(read_stream(cloud.dynamodb_streams, arn))[:6]
    event = json.loads(json.dumps(lambda_event(records, arn)))
    assert (
        counts(run(settings, "replay_event", {"pipeline": "replayed", "event": event}))["received"]
        == 6
    )


def put_letters(cloud: CloudResource, key: str, *lines: bytes) -> None:
    body = b"".join(line + b"\n" for line in lines)
    cloud.s3.put_object(Bucket=PIPELINE.bucket, Key=PIPELINE.lake.object_key(key), Body=body)


def keys_of(cloud: CloudResource, prefix: str) -> list[str]:
    return [stored.key for stored in list_objects(cloud.s3, PIPELINE.lake, prefix)]


def letters_of(records: Sequence[Any]) -> list[bytes]:
    changes = decode(records)
    for change in changes:
        change.problem = Problem("oversized", "too large")
    return [dead_letter_line(change).encode() for change in changes]


def test_dead_letters(settings: Settings, cloud: CloudResource) -> None:
    good, bad = [stream_record(n, table="replayed") for n in (1, 2)], stream_record(3, UNDECODABLE)
    put_letters(cloud, "dead-letters/replayed/d/all-good.jsonl", *letters_of(good))
    put_letters(cloud, "dead-letters/replayed/d/mixed.jsonl", *letters_of([*good, bad]), b"{torn")
    first = counts(run(settings, "replay_dead_letters", {"pipeline": "replayed"}))
    assert (first["received"], first["dead_lettered"], first["objects"]) == (5, 1, 2)
    assert first["delivered"] + first["held"] == 4
    left = keys_of(cloud, "dead-letters/")
    assert len(left) == 2  # the letter that failed again, and the line that is not a letter
    bodies = [read_object(cloud.s3, PIPELINE.lake, k) for k in left]
    assert b"{torn\n" in bodies
    assert sum(body.count(b"event-3") for body in bodies) >= 1
    assert len(keys_of(cloud, "redelivered/dead-letters/")) == 2

    again = counts(run(settings, "replay_dead_letters", {"pipeline": "replayed"}))
    assert (again["received"], again["dead_lettered"], again["objects"]) == (1, 1, 0)
    assert keys_of(cloud, "dead-letters/") == left


def test_an_unknown_pipeline_fails_the_run(settings: Settings, cloud: CloudResource) -> None:
    assert not run(settings, "replay_stream", {"pipeline": "nobody"}).success


def test_a_table_change_event_fixes_the_table(settings: Settings, cloud: CloudResource) -> None:
    cloud.glue.create_table(
        DatabaseName="replayed",
        TableInput={
            "Name": "replayed",
            "StorageDescriptor": {"Columns": [{"Name": "tags", "Type": "set<string>"}]},
        },
    )
    event = {
        "source": "aws.glue",
        "detail-type": "Glue Data Catalog Database State Change",
        "detail": {
            "databaseName": "replayed",
            "typeOfChange": "CreateTable",
            "changedTables": ["replayed", "another"],
        },
    }
    assert run(settings, "fix_schema_on_event", {"event": event}).success
    table = cloud.glue.get_table(DatabaseName="replayed", Name="replayed")["Table"]
    assert table["StorageDescriptor"]["Columns"][0]["Type"] == "array<string>"
