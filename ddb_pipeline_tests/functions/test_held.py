"""Changes with attributes without a column are held whole; the others are delivered."""

import json
import time
from collections.abc import Sequence
from typing import Any

import pytest
from botocore.exceptions import ClientError

from ddb_pipeline.firehose.error_objects import read_error_object
from ddb_pipeline.functions.batch import Clients, process
from ddb_pipeline.functions.held import RECHECK_SECONDS, SCHEMA_SECONDS, DeliveryTable
from ddb_pipeline.functions.report import Report
from ddb_pipeline.glue.catalog import TableReference
from ddb_pipeline.hive.names import DELIVERY_NAMES
from ddb_pipeline_tests.support.stream_events import (
    FIRST,
    S3,
    Firehose,
    event_of,
    rules_of,
    stream_record,
)

TABLE = TableReference("search", "search_logs_lake")
STRING = {"S": "x"}
DAYS = {"M": {"2024-01-01": {"N": "1"}, "User-0001": {"N": "4"}}}


class Glue:
    """Returns the delivery table once it has columns, and counts the reads."""

    def __init__(self) -> None:
        self.columns: list[dict[str, str]] = []
        self.reads = 0

    def add_columns(self, *attributes: str) -> None:
        names = (*DELIVERY_NAMES, "id", *attributes)
        self.columns = [{"Name": name, "Type": "string"} for name in names]

    def get_table(self, *, DatabaseName: str, Name: str) -> dict[str, Any]:
        assert (DatabaseName, Name) == (TABLE.database, TABLE.name)
        self.reads += 1
        if not self.columns:
            raise ClientError({"Error": {"Code": "EntityNotFoundException"}}, "GetTable")
        table = {"Name": Name, "StorageDescriptor": {"Columns": self.columns}}
        return {"Table": table}


class Function:
    """The function with a delivery table and a virtual clock."""

    def __init__(self, glue: Glue, s3: S3 | None = None) -> None:
        self.now = 1000.0
        self.firehose = Firehose()
        self.s3 = s3 or S3()
        self.report = Report()
        self.table = DeliveryTable(glue, TABLE, clock=lambda: self.now)  # type: ignore[arg-type]

    def __call__(self, records: Sequence[Any]) -> str:
        self.report = Report()
        clients = Clients(self.firehose, self.s3, self.table)  # type: ignore[arg-type]
        rules = rules_of()
        return process(event_of(records), rules, clients, self.report, time.monotonic() + 5)


@pytest.fixture
def glue() -> Glue:
    return Glue()


def test_a_change_with_an_attribute_without_a_column_is_held_whole(glue: Glue) -> None:
    glue.add_columns("a")
    function = Function(glue)
    records = [
        stream_record(0, {"a": STRING}),
        stream_record(1, {"New Attribute": STRING}),
        stream_record(2, name="REMOVE"),
        stream_record(3, {"empty": {"NULL": True}}),
    ]
    assert function(records) == ""
    assert function.firehose.event_ids() == ["event-0", "event-2", "event-3"]
    ((key, body),) = function.s3.objects.items()
    assert key.startswith("letters/errors/undeclared-attributes/2023-11-14/")
    (held,) = read_error_object(body).records
    assert b'"ddb_event_id":"event-1"' in held.raw_data
    assert "new_attribute" in held.error_message
    assert function.report.held == 1


def test_a_retry_overwrites(glue: Glue) -> None:
    glue.add_columns()
    function = Function(glue)
    for _ in range(2):
        function([stream_record(1, {"new": STRING})])
    assert len(function.s3.objects) == 1


def test_nothing_is_held_while_there_is_no_table(glue: Glue) -> None:
    function = Function(glue)
    assert function([stream_record(0, {"new": STRING})]) == ""
    assert function.firehose.event_ids() == ["event-0"]


def test_keys_of_a_map_column_stay(glue: Glue) -> None:
    glue.add_columns()
    glue.columns.append({"Name": "days", "Type": "map<string,bigint>"})
    function = Function(glue)
    assert function([stream_record(0, {"days": DAYS})]) == ""
    [document] = function.firehose.documents()
    assert document["days"] == {"2024-01-01": 1, "User-0001": 4}
    assert glue.reads == 1


def test_held_changes_have_the_names_of_the_item_below_the_first_level(glue: Glue) -> None:
    glue.add_columns()
    function = Function(glue)
    assert function([stream_record(0, {"Days": DAYS, "ddb_x": STRING})]) == ""
    [body] = function.s3.objects.values()
    [held] = read_error_object(body).records
    document = json.loads(held.raw_data)
    assert document["days"] == {"2024-01-01": 1, "User-0001": 4}
    assert document["item_ddb_x"] == "x"
    assert "days" in held.error_message


def test_keys_of_a_map_column_that_was_added_meanwhile_stay(glue: Glue) -> None:
    glue.add_columns()
    function = Function(glue)
    function([stream_record(0)])
    glue.columns.append({"Name": "days", "Type": "map<string,bigint>"})
    function.now += RECHECK_SECONDS
    records = [stream_record(1, {"days": DAYS}), stream_record(2, {"days": DAYS, "new": STRING})]
    assert function(records) == ""
    assert function.firehose.documents()[-1]["days"] == {"2024-01-01": 1, "User-0001": 4}
    assert function.report.held == 1


def test_a_column_added_since_the_last_read(glue: Glue) -> None:
    glue.add_columns()
    function = Function(glue)
    function([stream_record(0)])
    glue.add_columns("new")
    function.now += RECHECK_SECONDS
    function([stream_record(1, {"new": STRING})])
    assert function.firehose.event_ids() == ["event-0", "event-1"]
    assert function.s3.objects == {}


def test_the_table_is_not_read_for_every_batch(glue: Glue) -> None:
    glue.add_columns("a")
    function = Function(glue)
    for number in range(20):
        function([stream_record(number, {"a": STRING})])
    assert glue.reads == 1
    function.now += SCHEMA_SECONDS
    function([stream_record(20, {"a": STRING})])
    assert glue.reads == 2


def test_held_change_that_cannot_be_written_is_a_failure(glue: Glue) -> None:
    glue.add_columns()
    function = Function(glue, S3(refuses=lambda: True))
    records = [stream_record(0), stream_record(1, {"new": STRING}), stream_record(2)]
    assert function(records) == str(FIRST + 1)
    assert "s3:PutObject" in function.report.errors[0]
    assert function.report.held == 0
