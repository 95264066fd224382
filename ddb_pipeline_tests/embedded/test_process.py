"""The server process: started by its first client, ended after its last, its state saved."""

import http.server
import json
import os
import signal
import socket
import subprocess
import sys
import threading
from collections.abc import Iterator
from pathlib import Path

import psutil
import pytest

from ddb_pipeline.embedded import process
from ddb_pipeline.embedded.clients import shared_client
from ddb_pipeline.embedded.home import EmbeddedError, read_credentials
from ddb_pipeline.embedded.process import (
    Endpoint,
    ServerState,
    connect,
    is_dev_command,
    status,
    stop,
    write_state,
)
from ddb_pipeline_tests.support.polling import wait_until

pytestmark = pytest.mark.embedded

CLIENT = """
import signal, sys, time
from pathlib import Path
signal.signal(signal.SIGTERM, signal.SIG_DFL)  # ignored where the tests run in the background
from ddb_pipeline.embedded.process import connect
print(connect(Path(sys.argv[1])).url, flush=True)
time.sleep(600)
"""


def client_process(home: Path) -> tuple[subprocess.Popen[str], str]:
    client = subprocess.Popen(
        [sys.executable, "-c", CLIENT, str(home)], stdout=subprocess.PIPE, text=True
    )
    assert client.stdout is not None
    return client, client.stdout.readline().strip()


@pytest.fixture
def home(tmp_path: Path) -> Iterator[Path]:
    yield tmp_path / "home"
    stop(tmp_path / "home")


def test_two_processes_share_one_server(home: Path) -> None:
    first = connect(home)
    client, url = client_process(home)
    client.kill()
    client.wait()
    assert url == first.url
    assert connect(home) == first


def test_no_second_server_is_started_beside_one_that_does_not_answer(
    home: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Two servers of one home would overwrite each other's state."""
    monkeypatch.setattr(process, "ANSWER_SECONDS", 0.5)
    first = connect(home)
    running = status(home)
    assert running is not None
    os.kill(running.pid, signal.SIGSTOP)
    threading.Timer(3.0, os.kill, (running.pid, signal.SIGCONT)).start()
    assert connect(home) == first
    assert status(home) == running


def test_a_client_that_is_killed_while_it_starts_the_server(home: Path) -> None:
    """The next client starts another server, and uses whichever has got the home folder."""
    command = [sys.executable, "-c", CLIENT, str(home)]
    with subprocess.Popen(command, stdout=subprocess.DEVNULL) as client:
        wait_until(lambda: bool(psutil.Process(client.pid).children()), "the server's process")
        client.kill()
    assert shared_client(connect(home), "sqs").list_queues().get("QueueUrls", []) == []


def test_two_homes_have_two_servers(home: Path, tmp_path: Path) -> None:
    one, other = connect(home), connect(tmp_path / "other")
    try:
        assert one.url != other.url
        shared_client(one, "s3").create_bucket(Bucket="only-in-one")
        assert shared_client(other, "s3").list_buckets()["Buckets"] == []
    finally:
        stop(tmp_path / "other")


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGKILL])
def test_it_ends_after_its_last_client_even_if_that_is_killed(
    tmp_path: Path, number: signal.Signals
) -> None:
    home = tmp_path / "home"
    client, url = client_process(home)
    running = status(home)
    assert running is not None
    endpoint = running.endpoint(read_credentials(home))
    assert endpoint.url == url
    shared_client(endpoint, "sqs").create_queue(QueueName="kept")
    os.kill(client.pid, number)
    client.wait()
    wait_until(lambda: not psutil.pid_exists(running.pid), "the end of the server")
    assert status(home) is None
    try:
        urls = shared_client(connect(home), "sqs").list_queues()["QueueUrls"]
        assert [found.rpartition("/")[2] for found in urls] == ["kept"]
    finally:
        stop(home)


def test_the_state_survives_a_restart(home: Path) -> None:
    endpoint = connect(home)
    dynamodb, s3, glue = (shared_client(endpoint, name) for name in ("dynamodb", "s3", "glue"))
    dynamodb.create_table(
        TableName="kept",
        AttributeDefinitions=[{"AttributeName": "id", "AttributeType": "S"}],
        KeySchema=[{"AttributeName": "id", "KeyType": "HASH"}],
        BillingMode="PAY_PER_REQUEST",
        StreamSpecification={"StreamEnabled": True, "StreamViewType": "NEW_AND_OLD_IMAGES"},
    )
    item = {"id": {"S": "a"}, "tags": {"SS": ["x", "y"]}, "raw": {"B": b"\x00\xff"}}
    dynamodb.put_item(TableName="kept", Item=item)
    s3.create_bucket(Bucket="kept")
    s3.put_object(Bucket="kept", Key="a/b", Body=b"bytes")
    glue.create_database(DatabaseInput={"Name": "kept"})
    table = {"Name": "t", "StorageDescriptor": {"Columns": [{"Name": "a", "Type": "set<string>"}]}}
    glue.create_table(DatabaseName="kept", TableInput=table)
    glue.update_table(DatabaseName="kept", TableInput=table)
    stream = dynamodb.describe_table(TableName="kept")["Table"]["LatestStreamArn"]
    before = stream_records(endpoint, stream)

    assert stop(home)
    endpoint = connect(home)
    dynamodb, s3, glue = (shared_client(endpoint, name) for name in ("dynamodb", "s3", "glue"))
    found = dynamodb.get_item(TableName="kept", Key={"id": {"S": "a"}})["Item"]
    assert found == item
    assert s3.get_object(Bucket="kept", Key="a/b")["Body"].read() == b"bytes"
    assert glue.get_table(DatabaseName="kept", Name="t")["Table"]["VersionId"] == "1"
    versions = glue.get_table_versions(DatabaseName="kept", TableName="t")["TableVersions"]
    assert [version["VersionId"] for version in versions] == ["1", "0"]
    assert stream_records(endpoint, stream) == before
    assert len(before) == 1


def test_what_a_delivery_stream_buffers_survives_a_restart(home: Path) -> None:
    endpoint = connect(home)
    s3, glue, firehose = (shared_client(endpoint, name) for name in ("s3", "glue", "firehose"))
    s3.create_bucket(Bucket="kept")
    glue.create_database(DatabaseInput={"Name": "kept"})
    columns = [{"Name": "id", "Type": "string"}]
    glue.create_table(
        DatabaseName="kept", TableInput={"Name": "t", "StorageDescriptor": {"Columns": columns}}
    )
    role = "arn:aws:iam::000000000000:role/delivery"
    schema = {"RoleARN": role, "DatabaseName": "kept", "TableName": "t", "Region": "us-east-1"}
    firehose.create_delivery_stream(
        DeliveryStreamName="kept",
        ExtendedS3DestinationConfiguration={
            "RoleARN": role,
            "BucketARN": "arn:aws:s3:::kept",
            "BufferingHints": {"IntervalInSeconds": 2, "SizeInMBs": 64},
            "DataFormatConversionConfiguration": {
                "SchemaConfiguration": schema,
                "InputFormatConfiguration": {"Deserializer": {"OpenXJsonSerDe": {}}},
                "OutputFormatConfiguration": {"Serializer": {"ParquetSerDe": {}}},
            },
        },
    )
    firehose.put_record(DeliveryStreamName="kept", Record={"Data": b'{"id":"a"}'})
    assert stop(home)
    s3 = shared_client(connect(home), "s3")
    wait_until(lambda: s3.list_objects_v2(Bucket="kept")["KeyCount"] == 1, "an object")


def stream_records(endpoint: Endpoint, stream: str) -> list[str]:
    streams = shared_client(endpoint, "dynamodbstreams")
    shard = streams.describe_stream(StreamArn=stream)["StreamDescription"]["Shards"][0]
    iterator = streams.get_shard_iterator(
        StreamArn=stream, ShardId=shard["ShardId"], ShardIteratorType="TRIM_HORIZON"
    )["ShardIterator"]
    return [
        r["dynamodb"]["SequenceNumber"]
        for r in streams.get_records(ShardIterator=iterator)["Records"]
    ]


def test_it_listens_on_loopback_only(home: Path) -> None:
    connect(home)
    running = status(home)
    assert running is not None
    server = psutil.Process(running.pid)
    listening = {
        connection.laddr.ip
        for one in [server, *server.children(recursive=True)]
        for connection in one.net_connections(kind="inet")
        if connection.status == psutil.CONN_LISTEN
    }
    assert listening == {"127.0.0.1"}


def test_a_stale_state_file_is_ignored(home: Path) -> None:
    """Another server may have got its port."""
    other = http.server.HTTPServer(("127.0.0.1", 0), http.server.SimpleHTTPRequestHandler)
    threading.Thread(target=other.serve_forever, daemon=True).start()
    try:
        home.mkdir()
        write_state(home, ServerState(pid=2**22 - 1, port=other.server_port))
        assert status(home) is None
        assert connect(home).url != f"http://127.0.0.1:{other.server_port}"
    finally:
        other.shutdown()


def test_a_port_that_nobody_listens_on(home: Path) -> None:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    home.mkdir()
    write_state(home, ServerState(pid=os.getpid(), port=port))
    assert status(home) is None


def test_a_damaged_state_folder_is_one_clear_error(home: Path) -> None:
    shared_client(connect(home), "sqs").create_queue(QueueName="kept")
    stop(home)
    damaged = home / "state" / "journal-00000000.jsonl"
    damaged.write_text("{damaged}\n", "utf-8")
    with pytest.raises(EmbeddedError) as error:
        connect(home)
    assert f"State file {damaged} is damaged" in str(error.value)
    assert f"remove {home}" in str(error.value)
    assert damaged.read_text("utf-8").startswith("{")


def test_a_home_that_is_a_file_is_one_clear_error(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("", "utf-8")
    with pytest.raises(EmbeddedError, match="cannot be written"):
        connect(tmp_path / "file")


def test_the_server_does_not_get_the_users_aws_settings(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setenv("AWS_PROFILE", "production")
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "the user's own")
    environment = process.server_environment()
    assert not [name for name in environment if name.startswith("AWS_")]
    assert environment["NO_PROXY"] == "*"


@pytest.mark.parametrize(
    ("command", "expected"),
    [
        (["/venv/bin/python3", "/venv/bin/dagster", "dev", "-p", "3000"], True),
        (["python", "-m", "dagster", "dev"], True),
        (["/venv/bin/python3", "/venv/bin/dg", "dev"], True),
        (["/venv/bin/python3", "-m", "dagster", "api", "grpc"], False),
        (["/venv/bin/python3", "-m", "dagster._daemon", "run"], False),
        (["bash", "-c", "dagster dev"], False),
        ([], False),
    ],
)
def test_is_dev_command(command: list[str], expected: bool) -> None:
    assert is_dev_command(command) is expected


def test_a_process_of_a_killed_dagster_dev_starts_no_server(
    home: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("DAGSTER_IS_DEV_CLI", "1")
    with pytest.raises(EmbeddedError, match="dagster dev that started this process"):
        connect(home)
    assert not home.exists()


def test_the_state_file_is_written_in_one_step(tmp_path: Path) -> None:
    write_state(tmp_path, ServerState(1, 2))
    assert json.loads((tmp_path / "server.json").read_text("utf-8")) == {"pid": 1, "port": 2}
    assert [path.name for path in tmp_path.iterdir()] == ["server.json"]
