"""The handler with moto's Firehose, S3 and Secrets Manager: settings, clients, log line."""

import json
import re
import subprocess
import sys
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import boto3
import pytest
from botocore.exceptions import ClientError, NoCredentialsError
from moto import mock_aws

from ddb_pipeline.deploy.bundle import FUNCTIONS
from ddb_pipeline.functions import stream_to_firehose
from ddb_pipeline.functions.environment import SettingsError
from ddb_pipeline.functions.report import METRICS
from ddb_pipeline.functions.stream_settings import read_settings
from ddb_pipeline.functions.stream_to_firehose import (
    deadline,
    handler,
    load_transformer,
    pseudonym_key,
)
from ddb_pipeline_tests.support.stream_events import UNDECODABLE, event_of, stream_record

BUCKET = "search-logs-lake"


@dataclass
class Context:
    """The part of Lambda's context that the handler uses."""

    seconds: float = 60.0
    function_name: str = "search-logs-stream-to-firehose"
    aws_request_id: str = "request-1"

    def get_remaining_time_in_millis(self) -> int:
        return int(self.seconds * 1000)


@pytest.fixture
def aws(monkeypatch: pytest.MonkeyPatch) -> Iterator[Any]:
    """moto with a bucket and a delivery stream that writes to it; returns S3's client."""
    for name, value in {
        "AWS_ACCESS_KEY_ID": "testing",
        "AWS_SECRET_ACCESS_KEY": "testing",
        "AWS_DEFAULT_REGION": "us-east-1",
        "DELIVERY_STREAM": "search-logs-stream",
        "DEAD_LETTER_BUCKET": BUCKET,
    }.items():
        monkeypatch.setenv(name, value)
    monkeypatch.delenv("AWS_ENDPOINT_URL", raising=False)
    forget()
    with mock_aws():
        s3 = boto3.client("s3")
        s3.create_bucket(Bucket=BUCKET)
        boto3.client("firehose").create_delivery_stream(
            DeliveryStreamName="search-logs-stream",
            ExtendedS3DestinationConfiguration={
                "RoleARN": "arn:aws:iam::123456789012:role/delivery",
                "BucketARN": f"arn:aws:s3:::{BUCKET}",
                "Prefix": "stream/",
            },
        )
        yield s3
    forget()


def forget() -> None:
    stream_to_firehose.rules.cache_clear()
    stream_to_firehose.clients.cache_clear()


def objects(s3: Any, prefix: str) -> list[bytes]:
    listed = s3.list_objects_v2(Bucket=BUCKET, Prefix=prefix).get("Contents", [])
    return [s3.get_object(Bucket=BUCKET, Key=o["Key"])["Body"].read() for o in listed]


def delivered(s3: Any) -> list[dict[str, Any]]:
    return [json.loads(line) for body in objects(s3, "stream/") for line in body.splitlines()]


def test_delivers(aws: Any, capsys: pytest.CaptureFixture[str]) -> None:
    records = [
        stream_record(0, {"name": {"S": "personal"}}),
        stream_record(1, UNDECODABLE),
        stream_record(2),
    ]
    assert handler(event_of(records), Context()) == {"batchItemFailures": []}
    assert [document["ddb_event_id"] for document in delivered(aws)] == ["event-0", "event-2"]
    (letters,) = objects(aws, "dead-letters/")
    assert json.loads(letters)["event_id"] == "event-1"
    line = capsys.readouterr().out
    assert line.count("\n") == 1
    assert "personal" not in line


def test_log_line_is_an_embedded_metric(aws: Any, capsys: pytest.CaptureFixture[str]) -> None:
    handler(event_of([stream_record(number) for number in range(3)]), Context())
    line = json.loads(capsys.readouterr().out)
    (directive,) = line["_aws"]["CloudWatchMetrics"]
    assert [metric["Name"] for metric in directive["Metrics"]] == [name for name, _ in METRICS]
    assert all(isinstance(line[metric["Name"]], int) for metric in directive["Metrics"])
    assert all(name in line for dimensions in directive["Dimensions"] for name in dimensions)
    assert isinstance(line["_aws"]["Timestamp"], int)
    assert line["level"] == "INFO"
    assert line["request_id"] == "request-1"
    assert line["RecordsReceived"] == line["DocumentsDelivered"] == 3
    assert line["RecordsPacked"] == 1
    assert line["OldestRecordAge"] > 0


def test_empty_event(aws: Any) -> None:
    assert handler({"Records": []}, Context()) == {"batchItemFailures": []}
    assert handler({}, None) == {"batchItemFailures": []}


def test_no_time_left(aws: Any) -> None:
    answer = handler(event_of([stream_record(4), stream_record(5)]), Context(seconds=0.0))
    assert answer == {"batchItemFailures": [{"itemIdentifier": str(10**22 + 4)}]}
    assert delivered(aws) == []


def test_settings_are_checked_on_first_use_and_again(
    aws: Any, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("IMAGES", "all")
    with pytest.raises(SettingsError, match="IMAGES"):
        handler(event_of([stream_record(0)]), Context())
    line = json.loads(capsys.readouterr().out)
    assert line["level"] == "ERROR"
    assert "IMAGES" in line["errors"][0]
    monkeypatch.setenv("IMAGES", "new")
    assert handler(event_of([stream_record(0)]), Context()) == {"batchItemFailures": []}


def test_unknown_delivery_stream(aws: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("DELIVERY_STREAM", "no-such-stream")
    with pytest.raises(Exception, match="ResourceNotFoundException") as raised:
        handler(event_of([stream_record(0)]), Context())
    assert "no-such-stream" in str(raised.value)


@pytest.mark.parametrize("catalog", ["", "222233334444"])
def test_the_delivery_table_is_read_from_its_catalog(
    aws: Any, monkeypatch: pytest.MonkeyPatch, catalog: str
) -> None:
    monkeypatch.setenv("DELIVERY_TABLE", "logs.search_logs_lake")
    monkeypatch.setenv("CATALOG_ID", catalog)
    table = stream_to_firehose.clients().table
    assert table is not None
    sent: list[Any] = []
    events = table._glue.meta.events
    events.register_last(
        "provide-client-params.glue.GetTable", lambda params, **_: sent.append(params)
    )
    with pytest.raises(ClientError):
        table._glue.get_table(DatabaseName="logs", Name="search_logs_lake")
    assert [each.get("CatalogId", "") for each in sent] == [catalog]


def test_pseudonym_key_from_secrets_manager(aws: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    secrets = boto3.client("secretsmanager")
    secret = secrets.create_secret(Name="key", SecretString="0123456789abcdef")
    monkeypatch.setenv("PSEUDONYMISE_ATTRIBUTES", "name")
    monkeypatch.setenv("PSEUDONYM_KEY_SECRET_ARN", secret["ARN"])
    handler(event_of([stream_record(0, {"name": {"S": "personal"}})]), Context())
    (document,) = delivered(aws)
    assert len(document["name"]) == 64
    secrets.put_secret_value(SecretId="key", SecretString="short")
    forget()
    with pytest.raises(SettingsError, match="PSEUDONYM_KEY_SECRET_ARN names holds 5 characters"):
        handler(event_of([stream_record(0)]), Context())


def test_clients_and_settings_are_created_once(aws: Any) -> None:
    handler(event_of([stream_record(0)]), Context())
    first = stream_to_firehose.clients(), stream_to_firehose.rules()
    handler(event_of([stream_record(1)]), Context())
    assert (stream_to_firehose.clients(), stream_to_firehose.rules()) == first
    assert stream_to_firehose.clients.cache_info().misses == 1


def test_deadline_reserves_time(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(time, "monotonic", lambda: 100.0)
    assert deadline(Context(seconds=60.0)) == 155.0
    assert deadline(Context(seconds=10.0)) == 108.0
    assert deadline(None) == 155.0


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("no.such.module:transform", "cannot be loaded"),
        ("json:no_such_function", "cannot be loaded"),
        ("json:__name__", "is not a function"),
    ],
)
def test_transformer_that_cannot_be_used(name: str, message: str) -> None:
    with pytest.raises(SettingsError, match=message):
        load_transformer(name)


def test_transformer_whose_module_fails(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "failing_transformer.py").write_text("1 / 0")
    monkeypatch.syspath_prepend(tmp_path)
    with pytest.raises(SettingsError, match="ZeroDivisionError"):
        load_transformer("failing_transformer:transform")


@pytest.mark.parametrize(
    "error",
    [
        ClientError(
            {"Error": {"Code": "AccessDeniedException", "Message": "no"}}, "GetSecretValue"
        ),
        NoCredentialsError(),
    ],
)
def test_secret_that_cannot_be_read(error: Exception) -> None:
    class Secrets:
        def get_secret_value(self, **_: Any) -> Any:
            raise error

    settings = read_settings(
        {
            "DELIVERY_STREAM": "s",
            "PSEUDONYMISE_ATTRIBUTES": "a",
            "PSEUDONYM_KEY_SECRET_ARN": "arn:secret",
        }
    )
    with pytest.raises(SettingsError, match="secretsmanager:GetSecretValue"):
        pseudonym_key(settings, Secrets)


def test_transformer_by_name() -> None:
    transformer: object = load_transformer("json:loads")
    assert transformer is json.loads
    assert load_transformer("") is None


NEW_MODULES = """
import sys, boto3, botocore.config, botocore.exceptions
before = set(sys.modules)
import ddb_pipeline.functions.{function}
print(*sorted(set(sys.modules) - before))
"""
ALLOWED = re.compile(
    r"ddb_pipeline(\.(client_errors|errors|functions|dynamodb|firehose|hive)(\..*)?"
    r"|\.glue(\.catalog|\.repair)?)?"
)


@pytest.mark.parametrize("function", FUNCTIONS)
def test_a_cold_start_imports_few_modules_beyond_boto3(function: str) -> None:
    """``benchmarks.cold_import`` measures the time."""
    code = NEW_MODULES.format(function=function)
    modules = subprocess.check_output([sys.executable, "-c", code], text=True).split()
    others = [name for name in modules if not ALLOWED.fullmatch(name)]
    assert {name.partition(".")[0] for name in others} <= sys.stdlib_module_names
    assert "ddb_pipeline.glue.catalog" in modules
