"""What the embedded AWS has acknowledged survives kill -9; what it cannot save it refuses."""

import os
import signal
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import psutil
import pytest
from botocore.exceptions import ClientError

from ddb_pipeline.config.settings import Settings, load_settings
from ddb_pipeline.embedded.clients import shared_client
from ddb_pipeline.embedded.process import Endpoint, connect, status, stop
from ddb_pipeline.embedded.services.stored_objects import repair_objects
from ddb_pipeline.embedded.stacks import connect_with_stacks
from ddb_pipeline_tests.soak.embedded_kills import run
from ddb_pipeline_tests.support.polling import wait_until

pytestmark = pytest.mark.embedded


@pytest.fixture
def home(tmp_path: Path) -> Iterator[Path]:
    yield tmp_path / "home"
    stop(tmp_path / "home")


def server(home: Path) -> psutil.Process:
    running = status(home)
    assert running is not None
    return psutil.Process(running.pid)


def kill(home: Path) -> None:
    process = server(home)
    process.send_signal(signal.SIGKILL)
    process.wait()


def create_table(endpoint: Endpoint) -> Any:
    dynamodb = shared_client(endpoint, "dynamodb")
    dynamodb.create_table(
        TableName="kept",
        AttributeDefinitions=[{"AttributeName": "id", "AttributeType": "S"}],
        KeySchema=[{"AttributeName": "id", "KeyType": "HASH"}],
        BillingMode="PAY_PER_REQUEST",
        StreamSpecification={"StreamEnabled": True, "StreamViewType": "NEW_AND_OLD_IMAGES"},
    )
    return dynamodb


def item_ids(endpoint: Endpoint) -> set[str]:
    pages = shared_client(endpoint, "dynamodb").get_paginator("scan").paginate(TableName="kept")
    return {item["id"]["S"] for page in pages for item in page["Items"]}


def test_acknowledged_writes_survive_kills(home: Path) -> None:
    assert run(home, 3, longest=0.8) > 0


def test_clients_stay_usable_after_a_kill(home: Path) -> None:
    before = connect(home)
    client = create_table(before)
    kill(home)
    assert connect(home) == before
    client.put_item(TableName="kept", Item={"id": {"S": "after"}})
    assert item_ids(before) == {"after"}


def test_an_object_whose_properties_are_older_than_its_data(tmp_path: Path) -> None:
    data, properties = tmp_path / "b" / "k", tmp_path / "b" / "k.meta.json"
    data.parent.mkdir()
    properties.write_text('{"key": "k", "size": 1, "etag": "old", "checksums": {}}', "utf-8")
    os.utime(properties, (time.time() - 10, time.time() - 10))
    data.write_text("new", "utf-8")
    (tmp_path / "b" / "other.tmp").write_text("half", "utf-8")
    assert repair_objects(tmp_path) == 2
    assert properties.read_text("utf-8") == '{"key": "k"}'
    assert sorted(path.name for path in data.parent.iterdir()) == ["k", "k.meta.json"]
    assert repair_objects(tmp_path) == 0


def test_a_full_disk_fails_the_request(home: Path) -> None:
    """The size of a file is limited in place of the disk's."""
    endpoint = connect(home)
    dynamodb, s3 = create_table(endpoint), shared_client(endpoint, "s3")
    s3.create_bucket(Bucket="kept")
    dynamodb.put_item(TableName="kept", Item={"id": {"S": "before"}})
    journal = home / "state" / "journal-00000000.jsonl"
    process = server(home)
    limits = process.rlimit(psutil.RLIMIT_FSIZE)
    process.rlimit(psutil.RLIMIT_FSIZE, (journal.stat().st_size + 20, limits[1]))
    with pytest.raises(ClientError) as error:
        dynamodb.put_item(TableName="kept", Item={"id": {"S": "refused"}, "s": {"S": "x" * 99}})
    assert error.value.response["Error"]["Code"] == "InternalServerError"
    assert f"cannot write to {home}" in error.value.response["Error"]["Message"]
    with pytest.raises(ClientError) as error:
        s3.put_object(Bucket="kept", Key="refused", Body=b"x" * 1_000_000)
    assert error.value.response["ResponseMetadata"]["HTTPStatusCode"] == 500
    process.rlimit(psutil.RLIMIT_FSIZE, limits)
    dynamodb.put_item(TableName="kept", Item={"id": {"S": "after"}})
    s3.put_object(Bucket="kept", Key="after", Body=b"x" * 1_000_000)
    kill(home)
    assert item_ids(connect(home)) >= {"before", "after"}
    assert "after" in [
        entry["Key"]
        for entry in shared_client(connect(home), "s3").list_objects_v2(Bucket="kept")["Contents"]
    ]


def test_a_table_that_is_created_again_has_no_item_of_the_old_one(home: Path) -> None:
    endpoint = connect(home)
    dynamodb = create_table(endpoint)
    dynamodb.put_item(TableName="kept", Item={"id": {"S": "old"}})
    dynamodb.delete_table(TableName="kept")
    create_table(endpoint)
    dynamodb.put_item(TableName="kept", Item={"id": {"S": "new"}})
    kill(home)
    endpoint = connect(home)
    assert item_ids(endpoint) == {"new"}
    described = shared_client(endpoint, "dynamodb").describe_table(TableName="kept")["Table"]
    assert described["ItemCount"] == 1


def test_an_export_that_a_kill_interrupts_is_written_after_it(home: Path) -> None:
    endpoint = connect(home)
    dynamodb = create_table(endpoint)
    shared_client(endpoint, "s3").create_bucket(Bucket="kept")
    dynamodb.update_continuous_backups(
        TableName="kept", PointInTimeRecoverySpecification={"PointInTimeRecoveryEnabled": True}
    )
    requests = [{"PutRequest": {"Item": {"id": {"S": str(number)}}}} for number in range(500)]
    for start in range(0, 500, 25):
        dynamodb.batch_write_item(RequestItems={"kept": requests[start : start + 25]})
    arn = dynamodb.describe_table(TableName="kept")["Table"]["TableArn"]
    started = dynamodb.export_table_to_point_in_time(TableArn=arn, S3Bucket="kept")
    kill(home)
    dynamodb = shared_client(connect(home), "dynamodb")
    export = started["ExportDescription"]["ExportArn"]

    def described() -> dict[str, Any]:
        found: dict[str, Any] = dynamodb.describe_export(ExportArn=export)["ExportDescription"]
        return found

    wait_until(lambda: described()["ExportStatus"] == "COMPLETED", "the end of the export")
    assert described()["ItemCount"] == 500


def settings_of(home: Path) -> Settings:
    return load_settings({}, home)


@pytest.mark.parametrize("seconds", [0.1, 0.4, 0.8])
def test_a_deployment_that_a_kill_interrupts_is_made_again(tmp_path: Path, seconds: float) -> None:
    settings = settings_of(tmp_path / "home")
    home = settings.home / "embedded"
    endpoint = connect(home)
    import threading

    def deploy() -> None:
        try:
            connect_with_stacks(settings)
        except Exception:  # noqa: BLE001 - the server is killed under it
            return

    thread = threading.Thread(target=deploy)
    thread.start()
    cloudformation = shared_client(endpoint, "cloudformation")
    wait_until(lambda: bool(cloudformation.list_stacks()["StackSummaries"]), "the deployment")
    time.sleep(seconds)
    kill(home)
    thread.join()
    try:
        endpoint = connect_with_stacks(settings)
        (stack,) = shared_client(endpoint, "cloudformation").describe_stacks()["Stacks"]
        assert stack["StackStatus"] == "CREATE_COMPLETE"
        tables = shared_client(endpoint, "dynamodb").list_tables()["TableNames"]
        assert tables == ["search-logs"]
    finally:
        stop(home)


def test_the_journal_of_an_idle_server_does_not_grow(home: Path) -> None:
    endpoint = connect(home)
    create_table(endpoint)
    time.sleep(2.5)
    journal = home / "state" / "journal-00000000.jsonl"
    before = journal.stat().st_size
    for _ in range(5):
        item_ids(endpoint)
        shared_client(endpoint, "s3").list_buckets()
        time.sleep(0.3)
    time.sleep(1.5)
    assert journal.stat().st_size == before
