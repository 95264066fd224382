"""Three tables with keys of every type, in one bucket and one database that exist already."""

import time
import uuid
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import pyarrow.parquet as pq
import pytest

from ddb_pipeline.config.names import lake_table, object_change_queue
from ddb_pipeline.config.pipeline import PipelineConfig
from ddb_pipeline.config.settings import Settings
from ddb_pipeline.deploy.estate import Account, Outcome, remove_stacks
from ddb_pipeline.dynamodb.table_streams import (
    StreamChange,
    apply_stream_plan,
    stream_plan,
)
from ddb_pipeline.dynamodb.tables import describe_table
from ddb_pipeline.embedded.clients import client_arguments
from ddb_pipeline.embedded.process import Endpoint
from ddb_pipeline.embedded.stacks import deploy_changed
from ddb_pipeline.glue.catalog import find_table, update_table, with_columns
from ddb_pipeline.hive.types import Column
from ddb_pipeline.lake.layout import STREAM_PREFIX
from ddb_pipeline.lake.objects import StoredObject, list_objects
from ddb_pipeline.queues import Queue
from ddb_pipeline.resources.filesystem import s3_filesystem

pytestmark = pytest.mark.embedded

Keys = dict[str, tuple[str, Any]]
TABLES: dict[str, Keys] = {
    "customers": {"email": ("S", "a@example.org")},
    "orders": {"customer": ("N", "7"), "placed_at": ("S", "2026-11-26")},
    "documents": {"digest": ("B", b"\x00\x01")},
}
"""The attributes of each table's key, with their type and their value in an item."""
LANDED = {
    "customers": {"email": "a@example.org"},
    "orders": {"customer": 7, "placed_at": "2026-11-26"},
    "documents": {"digest": "AAE="},
}
HIVE_TYPES = {"S": "string", "N": "bigint", "B": "string"}


@dataclass(frozen=True)
class Estate:
    """The deployed pipelines, by their table's name without the stem."""

    pipelines: dict[str, PipelineConfig]
    client: Callable[[str], Any]
    arguments: dict[str, Any]

    def landed(self, name: str) -> list[StoredObject]:
        """The Parquet of a pipeline, once there is some."""
        for _ in range(240):
            found = list(list_objects(self.client("s3"), self.pipelines[name].lake, STREAM_PREFIX))
            if found:
                return found
            time.sleep(0.5)
        raise AssertionError(f"nothing of {name} has landed")


@pytest.fixture(scope="module")
def estate(embedded_aws: Endpoint, aws_client: Callable[[str], Any]) -> Estate:
    stem = f"estate{uuid.uuid4().hex[:6]}"
    dynamodb = aws_client("dynamodb")
    aws_client("s3").create_bucket(Bucket=stem)
    aws_client("glue").create_database(DatabaseInput={"Name": stem})
    pipelines = {}
    for name, keys in TABLES.items():
        table = f"{stem}-{name}"
        dynamodb.create_table(
            TableName=table,
            BillingMode="PAY_PER_REQUEST",
            AttributeDefinitions=[
                {"AttributeName": key, "AttributeType": kind} for key, (kind, _) in keys.items()
            ],
            KeySchema=[
                {"AttributeName": key, "KeyType": kind}
                for key, kind in zip(keys, ("HASH", "RANGE"), strict=False)
            ],
        )
        plan = stream_plan(describe_table(dynamodb, table))
        assert plan.change is StreamChange.TURN_ON
        arn = apply_stream_plan(dynamodb, plan)
        pipelines[name] = PipelineConfig(
            name=f"{stem}_{name}",
            dynamodb_table=table,
            # With one table the configuration names the stream, with the others deploy finds it.
            stream_arn=arn if name == "customers" else "",
            existing_table=True,
            bucket=stem,
            existing_bucket=True,
            lake_prefix=f"sales/{name}",
            database=stem,
            existing_database=True,
            buffer_seconds=0,
        )
    deploy_changed(embedded_aws, list(pipelines.values()))
    for name, keys in TABLES.items():
        declare_columns(aws_client("glue"), pipelines[name], keys)
        item = {key: {kind: value} for key, (kind, value) in keys.items()}
        dynamodb.put_item(TableName=pipelines[name].dynamodb_table, Item=item)
    return Estate(pipelines, aws_client, client_arguments(embedded_aws))


def declare_columns(glue: Any, pipeline: PipelineConfig, keys: Keys) -> None:
    """Give the lake table the columns of the key, as the first crawl does."""
    columns = [Column(name, HIVE_TYPES[kind]) for name, (kind, _) in keys.items()]
    update_table(
        glue,
        lake_table(pipeline),
        lambda found: with_columns(found.definition, (*found.columns, *columns)),
    )


@pytest.mark.parametrize("name", TABLES)
def test_each_table_is_delivered_under_its_prefix(estate: Estate, name: str) -> None:
    (stored, *_) = estate.landed(name)
    path = estate.pipelines[name].lake.path(stored.key)
    assert path.startswith(f"{estate.pipelines[name].bucket}/sales/{name}/stream/delivery_date=")
    (row,) = pq.read_table(path, filesystem=s3_filesystem(estate.arguments)).to_pylist()
    assert {key: row[key] for key in TABLES[name]} == LANDED[name]


def test_nothing_lies_outside_of_the_prefixes(estate: Estate) -> None:
    for name in TABLES:
        estate.landed(name)
    bucket = estate.pipelines["orders"].bucket
    keys = [each["Key"] for each in estate.client("s3").list_objects_v2(Bucket=bucket)["Contents"]]
    assert {key.split("/")[1] for key in keys} == set(TABLES)
    assert {key.split("/")[0] for key in keys} == {"sales"}


def test_each_queue_has_the_events_of_its_own_objects(estate: Estate) -> None:
    for name, pipeline in estate.pipelines.items():
        estate.landed(name)
        queue = Queue(estate.client("sqs"), object_change_queue(pipeline))
        bodies: list[str] = []
        for _ in range(60):
            bodies += queue.take()
            if bodies:
                break
            time.sleep(0.5)
        assert bodies
        assert all(f"sales/{name}/stream/" in body for body in bodies)


def test_the_bucket_has_rules_for_each_prefix(estate: Estate) -> None:
    bucket = estate.pipelines["orders"].bucket
    rules = estate.client("s3").get_bucket_lifecycle_configuration(Bucket=bucket)["Rules"]
    prefixes = {rule["Filter"]["Prefix"] for rule in rules}
    assert {f"sales/{name}/redelivered/" for name in TABLES} <= prefixes
    assert all(prefix.startswith("sales/") for prefix in prefixes)


def test_a_second_deployment_changes_nothing(estate: Estate, embedded_aws: Endpoint) -> None:
    cloudformation = estate.client("cloudformation")
    stack = estate.pipelines["orders"].stack
    before = cloudformation.describe_stack_events(StackName=stack)["StackEvents"]
    deploy_changed(embedded_aws, list(estate.pipelines.values()))
    assert cloudformation.describe_stack_events(StackName=stack)["StackEvents"] == before


def test_a_lake_has_what_its_pipelines_share_and_a_removed_one_comes_back(
    estate: Estate, embedded_aws: Endpoint
) -> None:
    table = estate.pipelines["customers"]
    name = f"lake{uuid.uuid4().hex[:6]}"
    settings = Settings.model_validate(
        {
            "lake": {"name": name, "bucket": name},
            "pipelines": [
                {
                    "name": f"{name}_customers",
                    "dynamodb_table": table.dynamodb_table,
                    "stream_arn": table.stream_arn,
                    "tags": {"team": "sales"},
                }
            ],
        }
    )
    (pipeline,) = settings.pipelines
    deploy_changed(embedded_aws, settings.pipelines, settings.lake)
    cloudformation = estate.client("cloudformation")

    def resources(stack: str) -> set[str]:
        found = cloudformation.list_stack_resources(StackName=stack)["StackResourceSummaries"]
        return {each["LogicalResourceId"] for each in found}

    shared = {"Bucket", "BucketPolicy", "Database", "TableChangeQueue", "AlarmTopic", "FixFunction"}
    assert shared <= resources(name)
    assert not shared & resources(pipeline.stack)
    topics = [each["TopicArn"] for each in estate.client("sns").list_topics()["Topics"]]
    assert any(topic.endswith(f":{name}-alarms") for topic in topics)
    Queue(estate.client("sqs"), pipeline.change_queue)

    glue, dynamodb = estate.client("glue"), estate.client("dynamodb")
    account = Account(cloudformation, glue, dynamodb, estate.client("s3"), "", delay_seconds=1)
    [removed] = remove_stacks(account, [(pipeline.region, pipeline.stack)], parallel=1)
    assert removed.outcome is Outcome.REMOVED
    estate.client("s3").head_bucket(Bucket=name)
    assert find_table(glue, lake_table(pipeline)) is not None
    deploy_changed(embedded_aws, settings.pipelines, settings.lake)
    assert "LakeTable" not in resources(pipeline.stack)
    assert "DeliveryStream" in resources(pipeline.stack)
