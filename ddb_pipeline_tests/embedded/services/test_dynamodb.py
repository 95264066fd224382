"""Exports and stream records of the embedded DynamoDB, read by the project's readers and boto3."""

from typing import Any

import pytest
from botocore.exceptions import ClientError

from ddb_pipeline.export.manifest import read_export
from ddb_pipeline.export.read import read_items
from ddb_pipeline_tests.embedded.services.conftest import StreamedTable
from ddb_pipeline_tests.support.export_bucket import s3_objects
from ddb_pipeline_tests.support.polling import wait_until

pytestmark = pytest.mark.embedded


def test_an_export_has_the_real_layout(table: StreamedTable) -> None:
    dynamodb = table.client("dynamodb")
    dynamodb.update_continuous_backups(
        TableName=table.name, PointInTimeRecoverySpecification={"PointInTimeRecoveryEnabled": True}
    )
    table.put(250)
    dynamodb.put_item(TableName=table.name, Item={"id": {"S": "s"}, "raw": {"B": b"\x00"}})
    started = dynamodb.export_table_to_point_in_time(
        TableArn=table.describe()["TableArn"], S3Bucket=table.name, S3Prefix="exports"
    )["ExportDescription"]

    def described() -> dict[str, Any]:
        response = dynamodb.describe_export(ExportArn=started["ExportArn"])
        description: dict[str, Any] = response["ExportDescription"]
        return description

    wait_until(lambda: described()["ExportStatus"] != "IN_PROGRESS", "the end of the export")
    finished = described()
    assert finished["ExportStatus"] == "COMPLETED"
    assert finished["ItemCount"] == 251
    folder = finished["ExportManifest"].rpartition("manifest-summary.json")[0]
    assert folder.startswith("exports/AWSDynamoDB/")
    opened = s3_objects(table.client("s3"), table.name)
    export = read_export(opened, folder)
    items = [item for file in export.files for item in read_items(opened, file)]
    assert {item["id"]["S"] for item in items} == {*map(str, range(250)), "s"}
    assert {"id": {"S": "s"}, "raw": {"B": "AA=="}} in items


def test_without_recovery_an_export_is_refused(table: StreamedTable) -> None:
    with pytest.raises(ClientError) as error:
        table.client("dynamodb").export_table_to_point_in_time(
            TableArn=table.describe()["TableArn"], S3Bucket=table.name
        )
    assert error.value.response["Error"]["Code"] == "PointInTimeRecoveryUnavailableException"


def test_stream_records_look_like_dynamodbs(table: StreamedTable) -> None:
    table.put(1)
    streams = table.client("dynamodbstreams")
    stream = table.describe()["LatestStreamArn"]
    shard = streams.describe_stream(StreamArn=stream)["StreamDescription"]["Shards"][0]
    iterator = streams.get_shard_iterator(
        StreamArn=stream, ShardId=shard["ShardId"], ShardIteratorType="TRIM_HORIZON"
    )["ShardIterator"]
    (record,) = streams.get_records(ShardIterator=iterator)["Records"]
    assert record["dynamodb"]["SizeBytes"] > 0
    number = record["dynamodb"]["SequenceNumber"]
    assert 21 <= len(number) <= 40
    assert not number.startswith("0")
