"""Exports of the embedded DynamoDB: incremental ones from its history, full ones at a time."""

import itertools
import os
import signal
import threading
import time
import uuid
from collections.abc import Callable, Iterator
from datetime import datetime, timedelta, timezone
from functools import partial
from pathlib import Path
from typing import Any

import pytest
from botocore.exceptions import BotoCoreError, ClientError

from ddb_pipeline.embedded.clients import shared_client
from ddb_pipeline.embedded.process import Endpoint, connect, status, stop
from ddb_pipeline.export.layout import NEW_AND_OLD_IMAGES, NEW_IMAGE, Export, ItemChange
from ddb_pipeline.export.manifest import read_export
from ddb_pipeline.export.read import read_changes, read_items
from ddb_pipeline.export.request import recovery_period, start_export, wait_for_export
from ddb_pipeline.export.window import Window
from ddb_pipeline_tests.support.embedded_history import age_history
from ddb_pipeline_tests.support.export_bucket import s3_objects
from ddb_pipeline_tests.support.polling import wait_until

pytestmark = pytest.mark.embedded
Create = Callable[[str], Any]
HOUR = timedelta(hours=1)


def new_table(create: Create, *, name: str = "", sort_key: bool = False) -> str:
    name = name or f"x{uuid.uuid4().hex[:12]}"
    attributes, keys = [("id", "S")], [("id", "HASH")]
    if sort_key:
        attributes, keys = [*attributes, ("at", "N")], [*keys, ("at", "RANGE")]
    create("dynamodb").create_table(
        TableName=name,
        AttributeDefinitions=[{"AttributeName": n, "AttributeType": t} for n, t in attributes],
        KeySchema=[{"AttributeName": n, "KeyType": t} for n, t in keys],
        BillingMode="PAY_PER_REQUEST",
    )
    create("s3").create_bucket(Bucket=name)
    turn_recovery(create, name, on=True)
    return name


def turn_recovery(create: Create, name: str, *, on: bool) -> None:
    create("dynamodb").update_continuous_backups(
        TableName=name, PointInTimeRecoverySpecification={"PointInTimeRecoveryEnabled": on}
    )


def seconds_from_now(seconds: float) -> datetime:
    return datetime.now(timezone.utc).replace(microsecond=0) + timedelta(seconds=seconds)


def past(second: datetime) -> None:
    """Wait until a second is over."""
    wait_until(lambda: time.time() >= second.timestamp(), "the end of the second")


def exported(create: Create, table: str, window: Window, **options: Any) -> tuple[Export, Any]:
    arn = create("dynamodb").describe_table(TableName=table)["Table"]["TableArn"]
    started = start_export(create("dynamodb"), arn, table, "p", window=window, **options)
    finished = wait_for_export(create("dynamodb"), started.arn, poll_seconds=0.1)
    opened = s3_objects(create("s3"), table)
    export = read_export(opened, finished.folder.partition("/")[2])
    assert export.summary.item_count == finished.items
    return export, opened


def changes(create: Create, table: str, window: Window, **options: Any) -> dict[str, ItemChange]:
    export, opened = exported(create, table, window, **options)
    found = [change for file in export.files for change in read_changes(opened, file)]
    return {change.keys["id"]["S"]: change for change in found}


def put(create: Create, table: str, key: str, number: int) -> None:
    item = {"id": {"S": key}, "n": {"N": str(number)}}
    create("dynamodb").put_item(TableName=table, Item=item)


@pytest.fixture
def table(aws_client: Create) -> str:
    return new_table(aws_client)


def test_every_way_to_write_is_in_an_incremental_export(aws_client: Create, table: str) -> None:
    dynamodb = aws_client("dynamodb")
    for key in ("deleted", "updated", "batch deleted", "transaction deleted", "partiql deleted"):
        put(aws_client, table, key, 1)
    dynamodb.delete_item(TableName=table, Key={"id": {"S": "deleted"}})
    dynamodb.update_item(
        TableName=table,
        Key={"id": {"S": "updated"}},
        UpdateExpression="SET n = n + :one, b = :b",
        ExpressionAttributeValues={":one": {"N": "1"}, ":b": {"B": b"\x00"}},
    )
    dynamodb.batch_write_item(
        RequestItems={
            table: [
                {"PutRequest": {"Item": {"id": {"S": "batch"}}}},
                {"DeleteRequest": {"Key": {"id": {"S": "batch deleted"}}}},
            ]
        }
    )
    dynamodb.transact_write_items(
        TransactItems=[
            {"Put": {"TableName": table, "Item": {"id": {"S": "transaction"}}}},
            {"Delete": {"TableName": table, "Key": {"id": {"S": "transaction deleted"}}}},
        ]
    )
    with pytest.raises(ClientError, match="TransactionCanceled"):
        dynamodb.transact_write_items(
            TransactItems=[
                {"Put": {"TableName": table, "Item": {"id": {"S": "cancelled"}}}},
                {
                    "ConditionCheck": {
                        "TableName": table,
                        "Key": {"id": {"S": "none"}},
                        "ConditionExpression": "attribute_exists(id)",
                    }
                },
            ]
        )
    for statement in (
        f"INSERT INTO \"{table}\" VALUE {{'id': 'partiql'}}",
        f"DELETE FROM \"{table}\" WHERE id='partiql deleted'",
    ):
        dynamodb.execute_statement(Statement=statement)
    end = seconds_from_now(1)
    past(end)
    put(aws_client, table, "later", 1)
    found = changes(aws_client, table, Window(end - HOUR, end))
    # What was deleted was created within the window too.
    assert set(found) == {"updated", "batch", "transaction", "partiql"}
    assert found["updated"].new_image == {
        "id": {"S": "updated"},
        "n": {"N": "2"},
        "b": {"B": "AA=="},
    }
    assert all(change.old_image is None for change in found.values())
    written = [change.written_micros for change in found.values()]
    assert all((end - HOUR).timestamp() * 1e6 <= micros for micros in written)
    assert all(micros < end.timestamp() * 1e6 for micros in written)


def test_the_layout_is_the_services(aws_client: Create, table: str) -> None:
    put(aws_client, table, "a", 1)
    end = seconds_from_now(1)
    past(end)
    export, _ = exported(aws_client, table, Window(end - HOUR, end), view=NEW_IMAGE)
    assert export.summary.incremental
    assert export.summary.view == NEW_IMAGE
    assert export.summary.to_time == f"{end:%Y-%m-%dT%H:%M:%S}.000Z"
    assert all(file.key.startswith("p/AWSDynamoDB/data/") for file in export.files)
    described = aws_client("dynamodb").list_exports()["ExportSummaries"]
    assert "INCREMENTAL_EXPORT" in [export["ExportType"] for export in described]


@pytest.mark.parametrize(
    ("start", "end", "reason"),
    [
        (-600, 0, "15 minutes to 24 hours"),
        (-90_000, 0, "15 minutes to 24 hours"),
        (-3600, 60, "in the future"),
        (-36 * 86_400, -35.5 * 86_400, "the earliest time"),
    ],
)
def test_windows_that_are_refused(
    aws_client: Create, table: str, start: float, end: float, reason: str
) -> None:
    dynamodb = aws_client("dynamodb")
    with pytest.raises(ClientError, match=reason):
        dynamodb.export_table_to_point_in_time(
            TableArn=dynamodb.describe_table(TableName=table)["Table"]["TableArn"],
            S3Bucket=table,
            ExportType="INCREMENTAL_EXPORT",
            IncrementalExportSpecification={
                "ExportFromTime": seconds_from_now(start),
                "ExportToTime": seconds_from_now(end),
            },
        )


def test_a_table_with_items_is_recoverable_from_now_on(aws_client: Create, table: str) -> None:
    dynamodb = aws_client("dynamodb")
    period = recovery_period(dynamodb, table)
    assert period is not None
    assert period.latest - period.earliest == timedelta(days=35)
    put(aws_client, table, "a", 1)
    turn_recovery(aws_client, table, on=True)
    period = recovery_period(dynamodb, table)
    assert period is not None
    assert period.latest - period.earliest == timedelta(days=35)
    turn_recovery(aws_client, table, on=False)
    turn_recovery(aws_client, table, on=True)
    period = recovery_period(dynamodb, table)
    assert period is not None
    assert period.latest - period.earliest < timedelta(minutes=5)


def test_a_full_export_is_of_one_point_in_time(aws_client: Create, table: str) -> None:
    dynamodb = aws_client("dynamodb")
    put(aws_client, table, "kept", 1)
    put(aws_client, table, "changed", 1)
    put(aws_client, table, "deleted", 1)
    moment = seconds_from_now(1)
    past(moment)
    put(aws_client, table, "changed", 2)
    put(aws_client, table, "new", 2)
    dynamodb.delete_item(TableName=table, Key={"id": {"S": "deleted"}})
    arn = dynamodb.describe_table(TableName=table)["Table"]["TableArn"]
    found = {}
    for name, export_time in (("then", moment), ("now", None)):
        started = start_export(dynamodb, arn, table, name, export_time=export_time)
        folder = wait_for_export(dynamodb, started.arn, poll_seconds=0.1).folder
        opened = s3_objects(aws_client("s3"), table)
        export = read_export(opened, folder.partition("/")[2])
        items = [item for file in export.files for item in read_items(opened, file)]
        found[name] = {item["id"]["S"]: item["n"]["N"] for item in items}
    assert found == {
        "then": {"kept": "1", "changed": "1", "deleted": "1"},
        "now": {"kept": "1", "changed": "2", "new": "2"},
    }


@pytest.fixture
def home(tmp_path: Path) -> Iterator[Path]:
    yield tmp_path / "home"
    stop(tmp_path / "home")


def test_windows_of_a_history_across_restarts(home: Path) -> None:
    def client(service: str) -> Any:
        return shared_client(connect(home), service)

    def passed(hours: float) -> None:
        stop(home)
        age_history(home, HOUR * hours)

    table = new_table(client, name="restarted")
    dynamodb = client("dynamodb")
    setting = {"Enabled": True, "AttributeName": "expires"}
    dynamodb.update_time_to_live(TableName=table, TimeToLiveSpecification=setting)
    for key in ("kept", "deleted", "updated", "created again"):
        put(client, table, key, 1)
    passed(5)
    for key in ("updated", "short-lived", "created again"):
        put(client, table, key, 2)
    dynamodb = client("dynamodb")
    for key in ("deleted", "short-lived", "created again"):
        dynamodb.delete_item(TableName=table, Key={"id": {"S": key}})
    put(client, table, "created again", 3)
    item = {"id": {"S": "expired"}, "expires": {"N": str(int(time.time()) - 5)}}
    dynamodb.put_item(TableName=table, Item=item)
    passed(2)
    # Expired items are deleted every ten seconds.
    dynamodb = client("dynamodb")
    wait_until(lambda: dynamodb.scan(TableName=table)["Count"] == 3, "the deletion")
    end = seconds_from_now(0)
    first = changes(client, table, Window(end - 8 * HOUR, end - 6 * HOUR))
    assert set(first) == {"kept", "deleted", "updated", "created again"}
    second = changes(client, table, Window(end - 6 * HOUR, end - HOUR), view=NEW_AND_OLD_IMAGES)
    by_key = {
        key: tuple(
            image and image.get("n", {}).get("N", "") for image in (c.old_image, c.new_image)
        )
        for key, c in second.items()
    }
    assert by_key == {
        "deleted": ("1", None),
        "updated": ("1", "2"),
        "created again": ("1", "3"),
        "expired": (None, ""),
    }
    past(end + timedelta(seconds=1))
    third = changes(client, table, Window(end - HOUR, seconds_from_now(0)), view=NEW_IMAGE)
    assert {key: change[1:3] for key, change in third.items()} == {"expired": (None, None)}


def write_until_killed(endpoint: Endpoint, table: str, first: int, acknowledged: list[int]) -> None:
    dynamodb = shared_client(endpoint, "dynamodb")
    for number in itertools.count(first):
        try:
            item = {"id": {"S": str(number % 50)}, "n": {"N": str(number)}}
            dynamodb.put_item(TableName=table, Item=item)
        except (ClientError, BotoCoreError):
            return
        acknowledged.append(number)


def has_many(acknowledged: list[int]) -> bool:
    return len(acknowledged) > 20


def test_the_history_is_the_tables_after_kills(home: Path) -> None:
    def client(service: str) -> Any:
        return shared_client(connect(home), service)

    table = new_table(client, name="killed")
    for first in (0, 10_000, 20_000):
        acknowledged: list[int] = []
        arguments = (connect(home), table, first, acknowledged)
        writer = threading.Thread(target=write_until_killed, args=arguments)
        writer.start()
        wait_until(partial(has_many, acknowledged), "writes")
        running = status(home)
        assert running is not None
        os.kill(running.pid, signal.SIGKILL)
        writer.join()
    end = seconds_from_now(1)
    past(end)
    found = changes(client, table, Window(end - HOUR, end))
    pages = client("dynamodb").get_paginator("scan").paginate(TableName=table)
    items = {item["id"]["S"]: item for page in pages for item in page["Items"]}
    assert {key: change.new_image for key, change in found.items()} == items
