"""Writes to the embedded AWS while it is killed again and again: what it acknowledged is there.

``python -m ddb_pipeline_tests.soak.embedded_kills [ROUNDS]``
"""

import argparse
import itertools
import os
import random
import signal
import tempfile
import threading
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import psutil
import pyarrow.fs
import pyarrow.parquet as pq
from botocore.exceptions import BotoCoreError, ClientError

from ddb_pipeline.embedded.clients import client_arguments, shared_client
from ddb_pipeline.embedded.process import Endpoint, connect, status, stop
from ddb_pipeline.resources.filesystem import s3_filesystem

NAME = "kills"
ROLE = "arn:aws:iam::000000000000:role/delivery"
PAYLOAD = "x" * 20_000
"""Makes the journal grow, so that it is compacted during the rounds."""
LONGEST_LIFE_SECONDS = 1.5
DELIVERY_SECONDS = 30.0
INVISIBLE_SECONDS = 3

Client = Callable[[str], Any]


@dataclass
class Acknowledged:
    """What the embedded AWS has acknowledged; a writer's last write may have been made or not.

    Attributes:
        values: by name, the value of an item, object or catalog table; None: deleted.
        unsure: by name, the value of a write that was not answered.
        items: every acknowledged value of an item, each of which has a stream record.
        records: what was put to Firehose.
        messages: bodies of messages that were sent and not deleted.
        deleted: bodies of messages that were deleted.
    """

    values: dict[str, str | None] = field(default_factory=dict)
    unsure: dict[str, str | None] = field(default_factory=dict)
    items: set[str] = field(default_factory=set)
    records: set[str] = field(default_factory=set)
    messages: set[str] = field(default_factory=set)
    deleted: set[str] = field(default_factory=set)
    unsure_deleted: set[str] = field(default_factory=set)

    def write(self, name: str, value: str | None, call: Callable[[], Any]) -> None:
        """Make a write, and note its value."""
        self.unsure[name] = value
        call()
        self.values[name] = value
        del self.unsure[name]

    @property
    def count(self) -> int:
        """The number of acknowledged writes that are noted."""
        return len(self.values) + len(self.items) + len(self.records) + len(self.messages)


def create(client: Client) -> str:
    """Create what is written to; return the URL of the queue."""
    client("s3").create_bucket(Bucket=NAME)
    client("dynamodb").create_table(
        TableName=NAME,
        AttributeDefinitions=[{"AttributeName": "id", "AttributeType": "S"}],
        KeySchema=[{"AttributeName": "id", "KeyType": "HASH"}],
        BillingMode="PAY_PER_REQUEST",
        StreamSpecification={"StreamEnabled": True, "StreamViewType": "NEW_AND_OLD_IMAGES"},
    )
    client("glue").create_database(DatabaseInput={"Name": NAME})
    client("glue").create_table(DatabaseName=NAME, TableInput=table_input("records", "id"))
    schema = {"RoleARN": ROLE, "DatabaseName": NAME, "TableName": "records", "Region": "us-east-1"}
    client("firehose").create_delivery_stream(
        DeliveryStreamName=NAME,
        ExtendedS3DestinationConfiguration={
            "RoleARN": ROLE,
            "BucketARN": f"arn:aws:s3:::{NAME}",
            "Prefix": "records/",
            "ErrorOutputPrefix": "errors/",
            "BufferingHints": {"IntervalInSeconds": 2, "SizeInMBs": 64},
            "DataFormatConversionConfiguration": {
                "SchemaConfiguration": schema,
                "InputFormatConfiguration": {"Deserializer": {"OpenXJsonSerDe": {}}},
                "OutputFormatConfiguration": {"Serializer": {"ParquetSerDe": {}}},
            },
        },
    )
    client("sqs").create_queue(QueueName=NAME)
    return NAME


def table_input(name: str, column: str) -> dict[str, Any]:
    """Return the input of a catalog table with one column."""
    columns = [{"Name": column, "Type": "string"}]
    return {"Name": name, "StorageDescriptor": {"Columns": columns}}


def write_items(client: Client, noted: Acknowledged, number: int, seed: int) -> None:
    """Put, update and delete items."""
    randomness, dynamodb = random.Random(seed), client("dynamodb")
    for step in itertools.count():
        key = f"{number}-{randomness.randrange(20)}"
        value = f"{seed}-{step}"
        if randomness.random() < 0.2:
            noted.write(
                f"item/{key}",
                None,
                lambda k=key: dynamodb.delete_item(TableName=NAME, Key={"id": {"S": k}}),  # type: ignore[misc]
            )
            continue
        item = {"id": {"S": key}, "value": {"S": value}, "payload": {"S": PAYLOAD}}
        noted.write(
            f"item/{key}",
            value,
            lambda i=item: dynamodb.put_item(TableName=NAME, Item=i),  # type: ignore[misc]
        )
        noted.items.add(value)


def write_objects(client: Client, noted: Acknowledged, number: int, seed: int) -> None:
    """Put, replace and delete objects of S3."""
    randomness, s3 = random.Random(seed), client("s3")
    for step in itertools.count():
        key = f"objects/{number}/{randomness.randrange(10)}"
        if randomness.random() < 0.2:
            noted.write(key, None, lambda k=key: s3.delete_object(Bucket=NAME, Key=k))  # type: ignore[misc]
            continue
        value = f"{seed}-{step}-" + "y" * randomness.randrange(1000)
        noted.write(
            key,
            value,
            lambda k=key, v=value: s3.put_object(Bucket=NAME, Key=k, Body=v.encode()),  # type: ignore[misc]
        )


def write_tables(client: Client, noted: Acknowledged, number: int, seed: int) -> None:
    """Create and update catalog tables."""
    glue = client("glue")
    for step in itertools.count():
        name, column = f"t{number}_{step % 5}", f"c{seed}_{step}"
        exists = noted.values.get(f"table/{name}") or noted.unsure.get(f"table/{name}")
        call = glue.update_table if exists else glue.create_table
        noted.write(
            f"table/{name}",
            column,
            lambda f=call, n=name, c=column: f(DatabaseName=NAME, TableInput=table_input(n, c)),  # type: ignore[misc]
        )


def put_records(client: Client, noted: Acknowledged, number: int, seed: int) -> None:
    """Put records to Firehose."""
    firehose = client("firehose")
    for step in itertools.count():
        names = [f"{number}-{seed}-{step}-{index}" for index in range(10)]
        records = [{"Data": f'{{"id":"{name}"}}'.encode()} for name in names]
        response = firehose.put_record_batch(DeliveryStreamName=NAME, Records=records)
        assert response["FailedPutCount"] == 0
        noted.records.update(names)


def send_messages(client: Client, noted: Acknowledged, number: int, seed: int) -> None:
    """Send messages, and receive and delete some."""
    sqs = client("sqs")
    url = sqs.get_queue_url(QueueName=NAME)["QueueUrl"]
    for step in itertools.count():
        body = f"{number}-{seed}-{step}"
        sqs.send_message(QueueUrl=url, MessageBody=body)
        noted.messages.add(body)
        if step % 3:
            continue
        received = sqs.receive_message(QueueUrl=url, VisibilityTimeout=0).get("Messages", [])
        for message in received:
            noted.unsure_deleted.add(message["Body"])
            sqs.delete_message(QueueUrl=url, ReceiptHandle=message["ReceiptHandle"])
            noted.deleted.add(message["Body"])


SERVICES = ("dynamodb", "s3", "glue", "firehose", "sqs")
WRITERS = (write_items, write_items, write_objects, write_tables, put_records, send_messages)


def live_and_die(home: Path, noted: Acknowledged, seed: int, seconds: float) -> None:
    """Write to the embedded AWS for some time, then kill it."""
    endpoint, running = connect(home), status(home)
    assert running is not None
    clients = {service: impatient_client(endpoint, service) for service in SERVICES}

    def write(writer: Callable[..., None], number: int) -> None:
        try:
            writer(clients.__getitem__, noted, number, seed)
        except (BotoCoreError, ClientError):
            return

    writers = [
        threading.Thread(target=write, args=(writer, number))
        for number, writer in enumerate(WRITERS)
    ]
    for thread in writers:
        thread.start()
    time.sleep(seconds)
    server = psutil.Process(running.pid)
    os.kill(running.pid, signal.SIGKILL)
    server.wait()
    for thread in writers:
        thread.join()


def impatient_client(endpoint: Endpoint, service: str) -> Any:
    """Return a client that does not repeat a request, so that each writer knows its last one."""
    import boto3
    from botocore.config import Config

    arguments = client_arguments(endpoint)
    arguments["config"] = arguments["config"].merge(Config(retries={"total_max_attempts": 1}))
    make: Any = boto3.session.Session().client
    return make(service, **arguments)


def lost(endpoint: Endpoint, noted: Acknowledged) -> list[str]:
    """Return a description of each acknowledged write that is not there."""
    found = dict(current_values(lambda service: shared_client(endpoint, service)))
    problems = [
        f"{name}: {found.get(name)} in place of {value}"
        for name, value in noted.values.items()
        if found.get(name) not in {value, noted.unsure.get(name, value)}
    ]
    streamed = set(stream_values(endpoint))
    problems += [f"stream record of {value}" for value in noted.items - streamed]
    bodies = set(message_bodies(endpoint))
    problems += [
        f"message {body}" for body in noted.messages - noted.deleted - noted.unsure_deleted - bodies
    ]
    problems += [f"deleted message {body} is back" for body in noted.deleted & bodies]
    return problems


def current_values(client: Client) -> Iterator[tuple[str, str | None]]:
    """Yield the values of all items, objects and catalog tables."""
    for page in client("dynamodb").get_paginator("scan").paginate(TableName=NAME):
        for item in page["Items"]:
            yield f"item/{item['id']['S']}", item["value"]["S"]
    for page in (
        client("s3").get_paginator("list_objects_v2").paginate(Bucket=NAME, Prefix="objects/")
    ):
        for entry in page.get("Contents", []):
            got = client("s3").get_object(Bucket=NAME, Key=entry["Key"])
            body = got["Body"].read()
            assert len(body) == entry["Size"] == got["ContentLength"], entry["Key"]
            yield entry["Key"], body.decode()
    for page in client("glue").get_paginator("get_tables").paginate(DatabaseName=NAME):
        for table in page["TableList"]:
            yield f"table/{table['Name']}", table["StorageDescriptor"]["Columns"][0]["Name"]


def stream_values(endpoint: Endpoint) -> Iterator[str]:
    """Yield the value of each stream record that has one, and check that none is there twice."""
    streams = shared_client(endpoint, "dynamodbstreams")
    table = shared_client(endpoint, "dynamodb").describe_table(TableName=NAME)["Table"]
    arn = table["LatestStreamArn"]
    (shard,) = streams.describe_stream(StreamArn=arn)["StreamDescription"]["Shards"]
    iterator = streams.get_shard_iterator(
        StreamArn=arn, ShardId=shard["ShardId"], ShardIteratorType="TRIM_HORIZON"
    )["ShardIterator"]
    numbers: list[int] = []
    while True:
        page = streams.get_records(ShardIterator=iterator, Limit=1000)
        numbers += [int(record["dynamodb"]["SequenceNumber"]) for record in page["Records"]]
        for record in page["Records"]:
            if "NewImage" in record["dynamodb"]:
                yield record["dynamodb"]["NewImage"]["value"]["S"]
        iterator = page.get("NextShardIterator")
        if not page["Records"] or iterator is None:
            assert numbers == sorted(set(numbers))
            return


def message_bodies(endpoint: Endpoint) -> Iterator[str]:
    """Yield the bodies of all messages, which stay in the queue and are invisible for a while."""
    sqs = shared_client(endpoint, "sqs")
    url = sqs.get_queue_url(QueueName=NAME)["QueueUrl"]
    while True:
        received = sqs.receive_message(
            QueueUrl=url, MaxNumberOfMessages=10, VisibilityTimeout=INVISIBLE_SECONDS
        )
        if not received.get("Messages"):
            break
        yield from (message["Body"] for message in received["Messages"])
    time.sleep(INVISIBLE_SECONDS)


def lost_records(endpoint: Endpoint, noted: Acknowledged) -> set[str]:
    """Return what was put to Firehose and is not delivered in time."""
    filesystem = s3_filesystem(client_arguments(endpoint))
    selector = pyarrow.fs.FileSelector(f"{NAME}/records", recursive=True, allow_not_found=True)
    deadline = time.monotonic() + DELIVERY_SECONDS
    while True:
        files = [info.path for info in filesystem.get_file_info(selector) if info.is_file]
        tables = [pq.read_table(path, filesystem=filesystem, partitioning=None) for path in files]
        missing = noted.records - {i for table in tables for i in table.column("id").to_pylist()}
        if not missing or time.monotonic() > deadline:
            return missing
        time.sleep(0.5)


def run(home: Path, rounds: int, *, longest: float = LONGEST_LIFE_SECONDS, seed: int = 0) -> int:
    """Kill the embedded AWS of ``home`` this often; return the number of acknowledged writes.

    Raises:
        AssertionError: one of them is lost.
    """
    randomness, noted = random.Random(seed), Acknowledged()
    endpoint = connect(home)
    create(lambda service: shared_client(endpoint, service))
    for number in range(1, rounds + 1):
        live_and_die(home, noted, number, randomness.uniform(0.1, longest))
        problems = lost(connect(home), noted)
        assert not problems, (number, len(problems), problems[:10])
        # What is known now is as good as acknowledged.
        settle(connect(home), noted)
    missing = lost_records(connect(home), noted)
    assert not missing, sorted(missing)[:10]
    return noted.count


def settle(endpoint: Endpoint, noted: Acknowledged) -> None:
    """Take over the values of the writes that were not answered."""
    found = dict(current_values(lambda service: shared_client(endpoint, service)))
    for name in list(noted.unsure):
        noted.values[name] = found.get(name)
    noted.unsure.clear()


def main() -> None:
    """Run the rounds that the command line requests."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("rounds", type=int, nargs="?", default=50)
    parser.add_argument("--seed", type=int, default=0)
    arguments = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        home, started = Path(folder) / "home", time.monotonic()
        count = run(home, arguments.rounds, seed=arguments.seed)
        sizes = {path.name: path.stat().st_size for path in (home / "state").glob("*.jsonl")}
        stop(home)
    seconds = time.monotonic() - started
    print(f"{arguments.rounds} kills in {seconds:.0f} s: {count} acknowledged writes, 0 lost")  # noqa: T201
    print(f"Journal: {sizes}")  # noqa: T201


if __name__ == "__main__":
    main()
