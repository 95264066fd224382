"""The embedded Glue through boto3, compared with moto where moto does as Glue does."""

import json
import threading
import time
import uuid
from collections.abc import Callable, Iterator
from typing import Any

import boto3
import pytest
from botocore.exceptions import ClientError
from moto import mock_aws

from ddb_pipeline.glue.crawler import CrawlError, run_crawler
from ddb_pipeline.glue.repair import DATABASE_CHANGE, TABLE_CHANGE

pytestmark = pytest.mark.embedded

Create = Callable[[str], Any]


@pytest.fixture
def database(aws_client: Create) -> str:
    name = f"g{uuid.uuid4().hex[:12]}"
    aws_client("glue").create_database(DatabaseInput={"Name": name})
    return name


def table_input(name: str = "t", kind: str = "string", **members: Any) -> dict[str, Any]:
    columns = [{"Name": "a", "Type": kind, "Comment": "kept"}]
    return {"Name": name, "StorageDescriptor": {"Columns": columns}, **members}


@pytest.fixture
def events(aws_client: Create, database: str) -> Callable[[], list[dict[str, Any]]]:
    """Glue's events of this database that a rule has sent to a queue since the last call."""
    sqs, rules = aws_client("sqs"), aws_client("events")
    url = sqs.create_queue(QueueName=database)["QueueUrl"]
    arn = sqs.get_queue_attributes(QueueUrl=url, AttributeNames=["QueueArn"])["Attributes"]
    pattern = {"source": ["aws.glue"], "detail": {"databaseName": [database]}}
    rules.put_rule(Name=database, EventPattern=json.dumps(pattern))
    rules.put_targets(Rule=database, Targets=[{"Id": "queue", "Arn": arn["QueueArn"]}])

    def received() -> list[dict[str, Any]]:
        found = []
        while True:
            messages = sqs.receive_message(QueueUrl=url, MaxNumberOfMessages=10).get("Messages", [])
            for message in messages:
                sqs.delete_message(QueueUrl=url, ReceiptHandle=message["ReceiptHandle"])
                found.append(json.loads(message["Body"]))
            if not messages:
                return found

    return received


def changes(received: list[dict[str, Any]]) -> list[tuple[str, str, Any]]:
    return [
        (
            event["detail-type"],
            event["detail"]["typeOfChange"],
            event["detail"].get("tableName") or event["detail"].get("changedTables"),
        )
        for event in received
    ]


def test_each_change_puts_an_event_of_its_detail_type(
    aws_client: Create, database: str, events: Callable[[], list[dict[str, Any]]]
) -> None:
    glue = aws_client("glue")
    table = table_input(PartitionKeys=[{"Name": "day", "Type": "string"}])
    glue.create_table(DatabaseName=database, TableInput=table)
    assert changes(events()) == [(DATABASE_CHANGE, "CreateTable", ["t"])]
    glue.update_table(DatabaseName=database, TableInput=table)
    assert changes(events()) == [(TABLE_CHANGE, "UpdateTable", "t")]
    partition = {"Values": ["1"], "StorageDescriptor": {"Columns": []}}
    glue.create_partition(DatabaseName=database, TableName="t", PartitionInput=partition)
    (event,) = events()
    assert changes([event]) == [(TABLE_CHANGE, "CreatePartition", "t")]
    assert event["detail"]["changedPartitions"] == ["[1]"]
    glue.batch_create_partition(
        DatabaseName=database, TableName="t", PartitionInputList=[{**partition, "Values": ["2"]}]
    )
    glue.delete_partition(DatabaseName=database, TableName="t", PartitionValues=["2"])
    assert [change for _, change, _ in changes(events())] == [
        "BatchCreatePartition",
        "DeletePartition",
    ]
    glue.delete_table(DatabaseName=database, Name="t")
    assert changes(events()) == [(DATABASE_CHANGE, "DeleteTable", ["t"])]


def test_a_refused_request_puts_no_event(
    aws_client: Create, database: str, events: Callable[[], list[dict[str, Any]]]
) -> None:
    glue = aws_client("glue")
    glue.create_table(DatabaseName=database, TableInput=table_input())
    events()
    with pytest.raises(ClientError):
        glue.create_table(DatabaseName=database, TableInput=table_input())
    with pytest.raises(ClientError):
        glue.update_table(DatabaseName=database, TableInput=table_input(), VersionId="7")
    with pytest.raises(ClientError):
        glue.update_table(DatabaseName=database, TableInput=table_input("none"))
    assert events() == []


def test_concurrent_updates_with_a_version_are_not_lost(aws_client: Create, database: str) -> None:
    glue = aws_client("glue")
    glue.create_table(DatabaseName=database, TableInput=table_input())
    refused = []

    def add(number: int) -> None:
        while True:
            table = glue.get_table(DatabaseName=database, Name="t")["Table"]
            parameters = {**table.get("Parameters", {}), f"p{number}": "x"}
            try:
                glue.update_table(
                    DatabaseName=database,
                    TableInput=table_input(Parameters=parameters),
                    VersionId=table["VersionId"],
                )
                return
            except glue.exceptions.ConcurrentModificationException as error:
                refused.append(str(error))

    threads = [threading.Thread(target=add, args=(number,)) for number in range(20)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    table = glue.get_table(DatabaseName=database, Name="t")["Table"]
    assert len(table["Parameters"]) == 20
    assert table["VersionId"] == "20"
    assert all("Update table failed due to concurrent modifications." in r for r in refused)


def versions_after_two_updates(glue: Any, database: str) -> list[tuple[str, str]]:
    """Create a table, update it twice and return each version's table name and column type."""
    glue.create_table(DatabaseName=database, TableInput=table_input(kind="v0"))
    glue.update_table(DatabaseName=database, TableInput=table_input(kind="v1"))
    glue.update_table(DatabaseName=database, TableInput=table_input(kind="v2"))
    listed = glue.get_table_versions(DatabaseName=database, TableName="t")["TableVersions"]
    one = glue.get_table_version(
        DatabaseName=database, TableName="t", VersionId=listed[0]["VersionId"]
    )["TableVersion"]
    assert one["Table"]["StorageDescriptor"] == listed[0]["Table"]["StorageDescriptor"]
    kinds = [
        (v["Table"]["Name"], v["Table"]["StorageDescriptor"]["Columns"][0]["Type"]) for v in listed
    ]
    return sorted(kinds)


def test_versions_are_those_of_moto(aws_client: Create, database: str) -> None:
    with mock_aws():
        moto = boto3.client("glue", "us-east-1")
        moto.create_database(DatabaseInput={"Name": "d"})
        expected = versions_after_two_updates(moto, "d")
    assert versions_after_two_updates(aws_client("glue"), database) == expected
    assert [kind for _, kind in expected] == ["v0", "v1", "v2"]


def test_an_update_that_skips_the_archive_replaces_the_version_before_it(
    aws_client: Create, database: str
) -> None:
    glue = aws_client("glue")
    glue.create_table(DatabaseName=database, TableInput=table_input(kind="v0"))
    glue.update_table(DatabaseName=database, TableInput=table_input(kind="v1"))
    glue.update_table(DatabaseName=database, TableInput=table_input(kind="v2"), SkipArchive=True)
    listed = glue.get_table_versions(DatabaseName=database, TableName="t")["TableVersions"]
    assert [v["VersionId"] for v in listed] == ["2", "0"]


@pytest.mark.parametrize(
    "expression",
    [
        "day = '2026-11-02'",
        "day > '2026-11-01' AND hour <> '00'",
        "day in ('2026-11-01', '2026-11-03') and (hour = '00' or hour = '01')",
        "day between '2026-11-01' and '2026-11-02'",
        "day like '2026-11-0%'",
        "hour >= '01'",
    ],
)
def test_partition_expressions_select_what_moto_selects(
    aws_client: Create, database: str, expression: str
) -> None:
    def found(glue: Any, name: str) -> list[list[str]]:
        keys = [{"Name": "day", "Type": "string"}, {"Name": "hour", "Type": "string"}]
        glue.create_table(DatabaseName=name, TableInput=table_input(PartitionKeys=keys))
        glue.batch_create_partition(
            DatabaseName=name,
            TableName="t",
            PartitionInputList=[
                {"Values": [f"2026-11-0{day}", f"0{hour}"], "StorageDescriptor": {"Columns": []}}
                for day in (1, 2, 3)
                for hour in (0, 1)
            ],
        )
        pages = glue.get_paginator("get_partitions").paginate(
            DatabaseName=name, TableName="t", Expression=expression
        )
        return sorted(p["Values"] for page in pages for p in page["Partitions"])

    with mock_aws():
        moto = boto3.client("glue", "us-east-1")
        moto.create_database(DatabaseInput={"Name": "d"})
        expected = found(moto, "d")
    assert found(aws_client("glue"), database) == expected
    assert expected


def test_a_malformed_expression_is_refused(aws_client: Create, database: str) -> None:
    glue = aws_client("glue")
    keys = [{"Name": "day", "Type": "string"}]
    glue.create_table(DatabaseName=database, TableInput=table_input(PartitionKeys=keys))
    for expression in ("day =", "nobody = '1'", "day = '1' day", "day # 1", "(day = '1'"):
        with pytest.raises(ClientError) as error:
            glue.get_partitions(DatabaseName=database, TableName="t", Expression=expression)
        assert error.value.response["Error"]["Code"] == "InvalidInputException", expression


def test_tables_are_returned_in_pages(aws_client: Create, database: str) -> None:
    glue = aws_client("glue")
    for number in range(105):
        glue.create_table(DatabaseName=database, TableInput=table_input(f"t{number:03d}"))
    pages = list(glue.get_paginator("get_tables").paginate(DatabaseName=database))
    assert [len(page["TableList"]) for page in pages] == [100, 5]


@pytest.fixture
def crawled(aws_client: Create, database: str) -> Iterator[str]:
    """A DynamoDB table with a crawler of the same name, writing to ``database``."""
    dynamodb, glue = aws_client("dynamodb"), aws_client("glue")
    dynamodb.create_table(
        TableName=database,
        AttributeDefinitions=[{"AttributeName": "id", "AttributeType": "S"}],
        KeySchema=[{"AttributeName": "id", "KeyType": "HASH"}],
        BillingMode="PAY_PER_REQUEST",
    )
    dynamodb.put_item(
        TableName=database,
        Item={
            "id": {"S": "a"},
            "words": {"SS": ["x"]},
            "numbers": {"NS": ["1"]},
            "blobs": {"BS": [b"x"]},
            "inner": {"M": {"words": {"SS": ["y"]}}},
        },
    )
    glue.create_crawler(
        Name=database,
        Role="arn:aws:iam::000000000000:role/crawl",
        DatabaseName=database,
        Targets={"DynamoDBTargets": [{"Path": database}]},
    )
    yield database
    glue.delete_crawler(Name=database)


def test_a_crawler_writes_sets_as_aws_does(aws_client: Create, crawled: str) -> None:
    glue = aws_client("glue")
    assert run_crawler(glue, crawled, poll_seconds=0.1).status == "SUCCEEDED"
    table = glue.get_table(DatabaseName=crawled, Name=crawled)["Table"]
    assert {c["Name"]: c["Type"] for c in table["StorageDescriptor"]["Columns"]} == {
        "id": "string",
        "words": "set<string>",
        "numbers": "set<bigint>",
        "blobs": "set<binary>",
        "inner": "struct<words:set<string>>",
    }
    assert table["Parameters"]["classification"] == "dynamodb"


def test_a_second_crawl_writes_the_sets_again(aws_client: Create, crawled: str) -> None:
    glue = aws_client("glue")
    run_crawler(glue, crawled, poll_seconds=0.1)
    glue.update_table(
        DatabaseName=crawled,
        TableInput=table_input(crawled, "array<string>", Parameters={"p": "x"}),
    )
    run_crawler(glue, crawled, poll_seconds=0.1)
    table = glue.get_table(DatabaseName=crawled, Name=crawled)["Table"]
    kinds = [column["Type"] for column in table["StorageDescriptor"]["Columns"]]
    assert "set<string>" in kinds
    assert table["Parameters"]["p"] == "x"
    versions = glue.get_table_versions(DatabaseName=crawled, TableName=crawled)["TableVersions"]
    run_crawler(glue, crawled, poll_seconds=0.1)
    again = glue.get_table_versions(DatabaseName=crawled, TableName=crawled)["TableVersions"]
    assert len(again) == len(versions)


def test_a_crawl_of_a_missing_table_fails_with_its_name(aws_client: Create, database: str) -> None:
    glue = aws_client("glue")
    glue.create_crawler(
        Name=database,
        Role="arn:aws:iam::000000000000:role/crawl",
        DatabaseName=database,
        Targets={"DynamoDBTargets": [{"Path": "nobody"}]},
    )
    with pytest.raises(CrawlError, match="DynamoDB table 'nobody' does not exist"):
        run_crawler(glue, database, poll_seconds=0.1)


def test_crawls_requested_at_once_run_one_after_the_other(aws_client: Create, crawled: str) -> None:
    glue = aws_client("glue")
    seen: list[str] = []
    threads = [
        threading.Thread(
            target=lambda: seen.append(run_crawler(glue, crawled, poll_seconds=0.05).status)
        )
        for _ in range(4)
    ]
    for thread in threads:
        thread.start()
        time.sleep(0.01)
    for thread in threads:
        thread.join()
    assert seen == ["SUCCEEDED"] * 4


def test_an_unknown_crawler_is_named(aws_client: Create) -> None:
    with pytest.raises(CrawlError, match="Glue crawler 'nobody' does not exist"):
        run_crawler(aws_client("glue"), "nobody")
