"""Pipelines for a table or a database that exists already, and keys of any type."""

import time
from pathlib import Path
from typing import Any

import boto3
import pytest

from ddb_pipeline.config.names import stream_function
from ddb_pipeline.config.settings import Settings
from ddb_pipeline.embedded.clients import client_arguments
from ddb_pipeline.embedded.process import connect, stop
from ddb_pipeline.embedded.stacks import connect_with_stacks

pytestmark = pytest.mark.embedded

CREATED: dict[str, Any] = {
    "TableName": "prod-orders",
    "BillingMode": "PAY_PER_REQUEST",
    "AttributeDefinitions": [
        {"AttributeName": "customer", "AttributeType": "N"},
        {"AttributeName": "at", "AttributeType": "B"},
    ],
    "KeySchema": [
        {"AttributeName": "customer", "KeyType": "HASH"},
        {"AttributeName": "at", "KeyType": "RANGE"},
    ],
    "StreamSpecification": {"StreamEnabled": True, "StreamViewType": "NEW_AND_OLD_IMAGES"},
}
PIPELINE = {"name": "orders", "dynamodb_table": "prod-orders", "buffer_seconds": 1}
KEYS = {
    "partition_key": "customer",
    "partition_key_type": "N",
    "sort_key": "at",
    "sort_key_type": "B",
}
ITEM: dict[str, Any] = {"customer": {"N": "7"}, "at": {"B": b"\x00\x01"}, "total": {"N": "1.5"}}


def test_two_pipelines_share_a_database_that_exists(tmp_path: Path) -> None:
    arguments = client_arguments(connect(tmp_path / "embedded"))
    glue = boto3.client("glue", **arguments)
    shared = {"database": "analytics", "existing_database": True}
    pipelines = [{"name": name, **shared} for name in ("orders", "logs")]
    try:
        glue.create_database(DatabaseInput={"Name": "analytics"})
        connect_with_stacks(Settings.model_validate({"home": tmp_path, "pipelines": pipelines}))
        tables = {table["Name"] for table in glue.get_tables(DatabaseName="analytics")["TableList"]}
        assert {"orders_lake", "logs_lake"} <= tables
        cloudformation = boto3.client("cloudformation", **arguments)
        cloudformation.delete_stack(StackName="logs")
        assert glue.get_database(Name="analytics")
    finally:
        stop(tmp_path / "embedded")


def test_an_existing_table_is_delivered_and_not_changed(tmp_path: Path) -> None:
    arguments = client_arguments(connect(tmp_path / "embedded"))
    dynamodb = boto3.client("dynamodb", **arguments)
    try:
        created = dynamodb.create_table(**CREATED)["TableDescription"]
        dynamodb.put_item(TableName="prod-orders", Item=ITEM)
        arn = created["LatestStreamArn"]
        settings = settings_of(tmp_path, stream_arn=arn)
        connect_with_stacks(settings)
        (mapping,) = boto3.client("lambda", **arguments).list_event_source_mappings(
            FunctionName=stream_function(settings.pipelines[0])
        )["EventSourceMappings"]
        assert mapping["EventSourceArn"] == arn
        resources = boto3.client("cloudformation", **arguments).list_stack_resources(
            StackName="orders"
        )["StackResourceSummaries"]
        assert "Table" not in {resource["LogicalResourceId"] for resource in resources}
        assert delivered(boto3.client("s3", **arguments))
    finally:
        stop(tmp_path / "embedded")


def test_the_stack_creates_a_table_with_these_keys(tmp_path: Path) -> None:
    settings = settings_of(tmp_path, **KEYS)
    try:
        arguments = client_arguments(connect_with_stacks(settings))
        table = boto3.client("dynamodb", **arguments).describe_table(TableName="prod-orders")
        for part in ("AttributeDefinitions", "KeySchema"):
            assert table["Table"][part] == CREATED[part]
    finally:
        stop(tmp_path / "embedded")


def settings_of(home: Path, **config: str) -> Settings:
    return Settings.model_validate({"home": home, "pipelines": [{**PIPELINE, **config}]})


def delivered(s3: Any) -> bool:
    """Whether the item arrives in the lake's bucket, as a row or held for its columns."""
    for _ in range(120):
        if s3.list_objects_v2(Bucket="orders-lake").get("KeyCount"):
            return True
        time.sleep(0.5)
    return False
