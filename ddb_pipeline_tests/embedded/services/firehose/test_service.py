"""The embedded Firehose through boto3: buffering, conversion, error objects, refusals."""

import io
import json
import time
import uuid
from dataclasses import dataclass
from typing import Any

import boto3
import pyarrow.fs
import pyarrow.parquet as pq
import pytest
from botocore.exceptions import ClientError

from ddb_pipeline.embedded.clients import client_arguments
from ddb_pipeline.embedded.process import Endpoint
from ddb_pipeline.firehose.error_objects import FailedRecord, read_error_object
from ddb_pipeline.hive.types import Column
from ddb_pipeline.lake.objects import list_objects
from ddb_pipeline.lake.redelivery import redeliver
from ddb_pipeline.lake.root import LakeRoot
from ddb_pipeline_tests.support.polling import wait_until

pytestmark = pytest.mark.embedded

ROLE = "arn:aws:iam::000000000000:role/delivery"
COLUMNS = {"id": "string", "n": "bigint", "tags": "array<string>"}


@dataclass
class Delivery:
    """A delivery stream, its catalog table and its bucket."""

    name: str
    firehose: Any
    glue: Any
    s3: Any

    def create_table(self, columns: dict[str, str]) -> None:
        self.glue.create_table(DatabaseName=self.name, TableInput=self.table_input(columns))

    def update_table(self, columns: dict[str, str]) -> None:
        self.glue.update_table(DatabaseName=self.name, TableInput=self.table_input(columns))

    def table_input(self, columns: dict[str, str]) -> dict[str, Any]:
        listed = [{"Name": name, "Type": text} for name, text in columns.items()]
        return {"Name": "t", "StorageDescriptor": {"Columns": listed}}

    def destination(self, **changes: Any) -> dict[str, Any]:
        conversion = {
            "Enabled": True,
            "SchemaConfiguration": {
                "RoleARN": ROLE,
                "DatabaseName": self.name,
                "TableName": "t",
                "Region": "us-east-1",
                "VersionId": "LATEST",
            },
            "InputFormatConfiguration": {"Deserializer": {"OpenXJsonSerDe": {}}},
            "OutputFormatConfiguration": {"Serializer": {"ParquetSerDe": {}}},
        }
        return {
            "RoleARN": ROLE,
            "BucketARN": f"arn:aws:s3:::{self.name}",
            "Prefix": "rows/y=!{timestamp:yyyy}/",
            "ErrorOutputPrefix": "errors/!{firehose:error-output-type}/",
            "BufferingHints": {"IntervalInSeconds": 1, "SizeInMBs": 64},
            "CompressionFormat": "UNCOMPRESSED",
            "DataFormatConversionConfiguration": conversion,
            **changes,
        }

    def create_stream(self, **changes: Any) -> None:
        self.firehose.create_delivery_stream(
            DeliveryStreamName=self.name,
            ExtendedS3DestinationConfiguration=self.destination(**changes),
        )

    def put(self, *records: bytes) -> Any:
        return self.firehose.put_record_batch(
            DeliveryStreamName=self.name, Records=[{"Data": record} for record in records]
        )

    def keys(self, prefix: str) -> list[str]:
        listed = self.s3.list_objects_v2(Bucket=self.name, Prefix=prefix)
        return [entry["Key"] for entry in listed.get("Contents", [])]

    def rows(self) -> list[dict[str, Any]]:
        return [
            row
            for key in self.keys("rows/")
            for row in pq.read_table(
                io.BytesIO(self.s3.get_object(Bucket=self.name, Key=key)["Body"].read())
            ).to_pylist()
        ]

    def failed(self) -> list[FailedRecord]:
        return [
            record
            for key in self.keys("errors/")
            for record in read_error_object(
                self.s3.get_object(Bucket=self.name, Key=key)["Body"].read()
            ).records
        ]


@pytest.fixture
def delivery(embedded_aws: Endpoint) -> Delivery:
    create: Any = boto3.session.Session().client
    firehose, glue, s3 = (
        create(service, **client_arguments(embedded_aws)) for service in ("firehose", "glue", "s3")
    )
    name = f"d{uuid.uuid4().hex[:12]}"
    glue.create_database(DatabaseInput={"Name": name})
    s3.create_bucket(Bucket=name)
    return Delivery(name, firehose, glue, s3)


def test_many_records_become_one_parquet_object(delivery: Delivery) -> None:
    delivery.create_table(COLUMNS)
    delivery.create_stream()
    answer = delivery.put(*(json.dumps({"id": str(n), "n": n}).encode() for n in range(200)))
    assert answer["FailedPutCount"] == 0
    assert len({entry["RecordId"] for entry in answer["RequestResponses"]}) == 200
    delivery.firehose.put_record(
        DeliveryStreamName=delivery.name, Record={"Data": b'{"id":"last"}{"id":"packed"}'}
    )
    wait_until(lambda: len(delivery.rows()) == 202, "202 rows")
    (key,) = delivery.keys("rows/")
    year = time.strftime("%Y", time.gmtime())
    assert key.startswith(f"rows/y={year}/{delivery.name}-1-{year}-")
    assert key.endswith(".parquet")
    assert delivery.keys("errors/") == []


def test_a_set_fails_the_whole_batch_with_hives_message(delivery: Delivery) -> None:
    delivery.create_table({**COLUMNS, "tags": "set<string>"})
    delivery.create_stream()
    before = time.time() * 1000
    delivery.put(b'{"id":"a"}\n', b'{"id":"b"}\n')
    after = time.time() * 1000
    wait_until(lambda: len(delivery.failed()) == 2, "two failed records")
    (key,) = delivery.keys("errors/")
    assert key.startswith(f"errors/format-conversion-failed/{delivery.name}-1-")
    body = delivery.s3.get_object(Bucket=delivery.name, Key=key)["Body"].read()
    first = json.loads(body.splitlines()[0])
    assert first["lastErrorCode"] == "DataFormatConversion.InvalidSchema"
    assert (
        "Error: type expected at the position 0 of 'set<string>' but 'set' is found."
        in (first["lastErrorMessage"])
    )
    assert first["attemptsMade"] == 1
    assert first["rawData"] == "eyJpZCI6ImEifQo="
    assert first["dataCatalogTable"]["tableName"] == "t"
    assert first["dataCatalogTable"]["databaseName"] == delivery.name
    assert int(before) <= first["arrivalTimestamp"] <= after
    assert delivery.rows() == []


def test_records_are_converted_by_the_newest_version_of_the_table(delivery: Delivery) -> None:
    delivery.create_table({**COLUMNS, "tags": "set<string>"})
    delivery.create_stream()
    delivery.update_table(COLUMNS)
    delivery.put(b'{"id":"a","tags":["x"]}')
    wait_until(lambda: len(delivery.rows()) == 1, "a row")
    assert delivery.rows() == [{"id": "a", "n": None, "tags": ["x"]}]


def test_records_are_converted_by_a_configured_version_of_the_table(delivery: Delivery) -> None:
    delivery.create_table({"id": "string"})
    conversion = delivery.destination()["DataFormatConversionConfiguration"]
    conversion["SchemaConfiguration"]["VersionId"] = "0"
    delivery.create_stream(DataFormatConversionConfiguration=conversion)
    delivery.update_table(COLUMNS)
    delivery.put(b'{"id":"a","n":1}')
    wait_until(lambda: len(delivery.rows()) == 1, "a row")
    assert delivery.rows() == [{"id": "a"}]


def test_one_bad_record_does_not_fail_the_others(delivery: Delivery) -> None:
    delivery.create_table(COLUMNS)
    delivery.create_stream()
    delivery.put(b'{"id":"a"}', b'{"id":"b","n":"oops"}', b"no json", b'{"id":"d"}')
    wait_until(lambda: len(delivery.rows()) == 2, "two rows")
    assert [row["id"] for row in delivery.rows()] == ["a", "d"]
    assert {(r.raw_data, r.error_code) for r in delivery.failed()} == {
        (b'{"id":"b","n":"oops"}', "DataFormatConversion.MalformedData"),
        (b"no json", "DataFormatConversion.ParseError"),
    }


def test_no_record_is_lost_when_the_table_is_deleted(delivery: Delivery) -> None:
    delivery.create_table(COLUMNS)
    delivery.create_stream()
    delivery.glue.delete_table(DatabaseName=delivery.name, Name="t")
    delivery.put(b'{"id":"a"}')
    wait_until(lambda: len(delivery.failed()) == 1, "a failed record")
    assert "was not found" in delivery.failed()[0].error_message


@pytest.mark.parametrize(
    ("case", "changes", "message"),
    [
        ("compressed", {"CompressionFormat": "GZIP"}, "must be set to UNCOMPRESSED"),
        (
            "a small buffer",
            {"BufferingHints": {"SizeInMBs": 5, "IntervalInSeconds": 60}},
            "SizeInMBs must be at least 64",
        ),
        ("expressions without error prefix", {"ErrorOutputPrefix": ""}, "ErrorOutputPrefix"),
    ],
)
def test_configurations_that_aws_refuses(
    delivery: Delivery, case: str, changes: dict[str, Any], message: str
) -> None:
    delivery.create_table(COLUMNS)
    with pytest.raises(ClientError) as error:
        delivery.create_stream(**changes)
    assert error.value.response["Error"]["Code"] == "InvalidArgumentException", case
    assert message in error.value.response["Error"]["Message"], case


def test_a_stream_without_its_table_is_refused(delivery: Delivery) -> None:
    with pytest.raises(ClientError) as error:
        delivery.create_stream()
    assert "EntityNotFoundException" in str(error.value)


def test_the_limits_of_a_batch(delivery: Delivery) -> None:
    delivery.create_table(COLUMNS)
    delivery.create_stream()
    with pytest.raises(ClientError, match="less than or equal to 500"):
        delivery.put(*([b"{}"] * 501))
    with pytest.raises(ClientError, match="4 MB"):
        delivery.put(*([b"x" * 1_000_000] * 5))
    with pytest.raises(ClientError, match="1024000"):
        delivery.put(b"x" * 1_024_001)


def test_a_destination_updated_later(delivery: Delivery) -> None:
    delivery.create_table(COLUMNS)
    delivery.create_stream(BufferingHints={"IntervalInSeconds": 900, "SizeInMBs": 128})
    described = delivery.firehose.describe_delivery_stream(DeliveryStreamName=delivery.name)
    description = described["DeliveryStreamDescription"]
    delivery.put(b'{"id":"a"}')
    delivery.firehose.update_destination(
        DeliveryStreamName=delivery.name,
        CurrentDeliveryStreamVersionId=description["VersionId"],
        DestinationId=description["Destinations"][0]["DestinationId"],
        ExtendedS3DestinationUpdate={
            "BufferingHints": {"IntervalInSeconds": 0, "SizeInMBs": 64},
            "Prefix": "rows/after/!{timestamp:yyyy}/",
        },
    )
    wait_until(lambda: len(delivery.rows()) == 1, "a row")
    assert delivery.keys("rows/after/")


def test_records_are_delivered_although_the_conversion_is_switched_off(delivery: Delivery) -> None:
    delivery.create_table(COLUMNS)
    delivery.create_stream(BufferingHints={"IntervalInSeconds": 3, "SizeInMBs": 64})
    described = delivery.firehose.describe_delivery_stream(DeliveryStreamName=delivery.name)
    description = described["DeliveryStreamDescription"]
    delivery.put(b'{"id":"a"}\n', b'{"id":"b"}\n')
    delivery.firehose.update_destination(
        DeliveryStreamName=delivery.name,
        CurrentDeliveryStreamVersionId=description["VersionId"],
        DestinationId=description["Destinations"][0]["DestinationId"],
        ExtendedS3DestinationUpdate={
            "Prefix": "raw/",
            "DataFormatConversionConfiguration": {"Enabled": False},
        },
    )
    wait_until(lambda: len(delivery.keys("raw/")) == 1, "the raw object")
    (key,) = delivery.keys("raw/")
    body = delivery.s3.get_object(Bucket=delivery.name, Key=key)["Body"].read()
    assert body == b'{"id":"a"}\n{"id":"b"}\n'


def test_streams_without_conversion_are_ministacks(delivery: Delivery) -> None:
    delivery.firehose.create_delivery_stream(
        DeliveryStreamName=delivery.name,
        ExtendedS3DestinationConfiguration={
            "RoleARN": ROLE,
            "BucketARN": f"arn:aws:s3:::{delivery.name}",
            "Prefix": "raw/",
        },
    )
    delivery.put(b"anything")
    wait_until(lambda: len(delivery.keys("raw/")) == 1, "the raw object")


def change(event: str, number: str) -> bytes:
    return f'{{"ddb_event_id":"{event}","id":"{event}","n":{number}}}\n'.encode()


@pytest.mark.parametrize(("packed_failure", "landed"), [("record", []), ("document", ["a", "c"])])
def test_each_document_of_a_packed_record_becomes_one_row_after_redelivery(
    delivery: Delivery, embedded_aws: Endpoint, packed_failure: str, landed: list[str]
) -> None:
    """Whether Firehose converts the good documents of a failed record is not documented."""
    columns = {"ddb_event_id": "string", "id": "string"}
    delivery.create_table({**columns, "n": "bigint"})
    delivery.create_stream(
        Prefix="stream/delivery_date=!{timestamp:yyyy-MM-dd}/delivery_hour=!{timestamp:HH}/"
    )
    delivery.firehose.tag_delivery_stream(
        DeliveryStreamName=delivery.name,
        Tags=[{"Key": "ddb-pipeline:packed-failure", "Value": packed_failure}],
    )
    delivery.put(change("a", "1") + change("b", "1.5") + change("c", "2"))
    wait_until(lambda: bool(delivery.keys("errors/")), "the error object")

    def events() -> list[str]:
        bodies = [
            delivery.s3.get_object(Bucket=delivery.name, Key=key)["Body"].read()
            for key in delivery.keys("stream/")
        ]
        rows = [row for body in bodies for row in pq.read_table(io.BytesIO(body)).to_pylist()]
        return sorted(row["ddb_event_id"] for row in rows)

    assert events() == landed
    filesystem = pyarrow.fs.S3FileSystem(
        endpoint_override=embedded_aws.url.partition("://")[2],
        scheme="http",
        access_key=embedded_aws.credentials.access_key_id,
        secret_key=embedded_aws.credentials.secret_access_key,
    )
    wider = [Column(name, text) for name, text in {**columns, "n": "double"}.items()]
    (stored,) = list_objects(delivery.s3, LakeRoot(delivery.name), "errors/")
    outcome = redeliver(delivery.s3, filesystem, LakeRoot(delivery.name), stored, wider)
    assert (outcome.rows, outcome.landed_before) == (3 - len(landed), len(landed))
    assert events() == ["a", "b", "c"]
    assert delivery.keys("errors/") == []
