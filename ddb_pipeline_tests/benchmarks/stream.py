"""Records per second from a Lambda event to PutRecordBatch calls, compared with boto3's types.

    python -m ddb_pipeline_tests.benchmarks.stream [--records 10000] [--rounds 5]

The records are the demo's logs, searches and suggestions, each with a number of 30 digits. All
implementations get the same events of 500 records, parsed from JSON outside of the measured time,
and send their records to a stub client that accepts them. The ``boto3`` implementation uses
boto3's TypeDeserializer, ``json.dumps`` and one Firehose record per document; ``ddb_pipeline`` is
the function; ``with table`` is the function that also finds attributes without a column. Each
implementation processes all events once before it is timed. The numbers that it sends are compared
with those of the events.
"""

import argparse
import json
import random
import statistics
import time
from base64 import b64encode
from collections.abc import Callable, Iterator, Sequence
from decimal import Decimal
from typing import Any, cast

from boto3.dynamodb.types import TypeDeserializer

from ddb_pipeline.demo.search_logs import SearchLogs
from ddb_pipeline.firehose.delivery import billed_units
from ddb_pipeline.functions.batch import Clients, process
from ddb_pipeline.functions.held import DeliveryTable
from ddb_pipeline.functions.report import Report
from ddb_pipeline.functions.rules import Rules
from ddb_pipeline.functions.stream_settings import read_settings
from ddb_pipeline.glue.catalog import TableReference
from ddb_pipeline.glue.lake_table import lake_columns
from ddb_pipeline.hive.infer import infer_items, inferred_schema

EVENT_RECORDS = 500
Event = dict[str, Any]
Implementation = Callable[[Event, "Firehose"], None]


class Firehose:
    """Accepts and stores every record."""

    def __init__(self) -> None:
        self.records: list[bytes] = []

    def put_record_batch(self, *, DeliveryStreamName: str, Records: Any) -> dict[str, Any]:
        self.records.extend(record["Data"] for record in Records)
        return {"FailedPutCount": 0, "RequestResponses": [{"RecordId": "r"}] * len(Records)}

    def documents(self) -> Iterator[str]:
        for record in self.records:
            yield from record.decode("utf-8").splitlines()


def event_texts(count: int, seed: int = 7) -> list[str]:
    """Lambda events as JSON, of ``count`` records in all."""
    draw = random.Random(seed)
    logs = SearchLogs(seed, b"key of the benchmark's pseudonyms", with_refinements=True)
    records = []
    for position, item in enumerate(logs.items(count, 1_700_000_000.0)):
        boost = {"N": f"0.{draw.randrange(10**29, 10**30)}"}
        item = {**item, "boost": boost}
        records.append(
            {
                "eventID": f"{draw.getrandbits(128):032x}",
                "eventName": "INSERT",
                "eventVersion": "1.1",
                "eventSource": "aws:dynamodb",
                "awsRegion": "us-east-1",
                "eventSourceARN": "arn:aws:dynamodb:us-east-1:000000000000:table/logs/stream/l",
                "dynamodb": {
                    "ApproximateCreationDateTime": 1_700_000_000.0,
                    "Keys": {"log_id": item["log_id"]},
                    # TypeDeserializer does not take the base64 that Lambda has for binary.
                    "NewImage": {name: v for name, v in item.items() if "B" not in v},
                    "SequenceNumber": str(10**22 + position),
                    "SizeBytes": 1000,
                    "StreamViewType": "NEW_AND_OLD_IMAGES",
                },
            }
        )
    chunks = range(0, count, EVENT_RECORDS)
    return [json.dumps({"Records": records[i : i + EVENT_RECORDS]}) for i in chunks]


def boto3_types(event: Event, firehose: Firehose) -> None:
    """TypeDeserializer, json.dumps with the metadata columns, 500 records per call."""
    deserializer = TypeDeserializer()
    batch = []
    for record in event["Records"]:
        change = record["dynamodb"]
        item = {k: deserializer.deserialize(v) for k, v in change["NewImage"].items()}
        keys = {k: deserializer.deserialize(v) for k, v in change["Keys"].items()}
        item["ddb_event_id"] = record["eventID"]
        item["ddb_event_name"] = record["eventName"]
        item["ddb_sequence_number"] = change["SequenceNumber"]
        item["ddb_event_time"] = change["ApproximateCreationDateTime"]
        item["ddb_keys"] = json.dumps(keys, default=plain)
        item["ddb_expired"] = False
        batch.append({"Data": (json.dumps(item, default=plain) + "\n").encode()})
    for start in range(0, len(batch), 500):
        firehose.put_record_batch(DeliveryStreamName="s", Records=batch[start : start + 500])


def plain(value: Any) -> Any:
    """The JSON value for a value of TypeDeserializer that json.dumps does not know."""
    if isinstance(value, Decimal):
        return int(value) if value == value.to_integral_value() else float(value)
    if isinstance(value, set):
        return list(value)
    return b64encode(value.value).decode()


def function(table: DeliveryTable | None = None) -> Implementation:
    """The function, from event to calls."""
    rules = Rules(read_settings({"DELIVERY_STREAM": "s"}))

    def run(event: Event, firehose: Firehose) -> None:
        clients = Clients(firehose=cast(Any, firehose), s3=cast(Any, None), table=table)
        report = Report()
        failed = process(event, rules, clients, report, time.monotonic() + 60)
        assert not failed
        assert not report.held

    return run


class Glue:
    """The catalog table with a column for each attribute of the events."""

    def __init__(self, texts: Sequence[str]) -> None:
        events = map(json.loads, texts)
        items = [r["dynamodb"]["NewImage"] for event in events for r in event["Records"]]
        columns = lake_columns(inferred_schema(infer_items(items)).columns)
        self.columns = [{"Name": column.name, "Type": column.type} for column in columns]

    def get_table(self, *, DatabaseName: str, Name: str) -> Any:
        return {"Table": {"Name": Name, "StorageDescriptor": {"Columns": self.columns}}}


def measured(implementation: Implementation, texts: Sequence[str]) -> tuple[float, Firehose]:
    """Seconds of CPU for all events, and what was sent."""
    firehose, seconds = Firehose(), 0.0
    for text in texts:
        event = json.loads(text)
        start = time.process_time()
        implementation(event, firehose)
        seconds += time.process_time() - start
    return seconds, firehose


def changed_numbers(texts: Sequence[str], firehose: Firehose) -> int:
    """The number of documents in which a number differs from the item's."""
    records = (record for text in texts for record in json.loads(text)["Records"])
    return sum(
        sorted(item_numbers({"M": record["dynamodb"]["NewImage"]}))
        != sorted(document_numbers(json.loads(document, parse_int=Decimal, parse_float=Decimal)))
        for record, document in zip(records, firehose.documents(), strict=True)
    )


def item_numbers(value: Any) -> Iterator[Decimal]:
    [(tag, content)] = value.items()
    if tag == "N":
        yield Decimal(content)
    for inner in content if tag == "L" else content.values() if tag == "M" else ():
        yield from item_numbers(inner)
    if tag == "NS":
        yield from map(Decimal, content)


def document_numbers(value: Any) -> Iterator[Decimal]:
    if isinstance(value, Decimal):
        yield value
    elif isinstance(value, list):
        for element in value:
            yield from document_numbers(element)
    elif isinstance(value, dict):
        for name, member in value.items():
            if name != "ddb_event_time":
                yield from document_numbers(member)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--records", type=int, default=10_000)
    parser.add_argument("--rounds", type=int, default=5)
    arguments = parser.parse_args()
    texts = event_texts(arguments.records)
    table = DeliveryTable(cast(Any, Glue(texts)), TableReference("search", "logs"))
    implementations = {
        "boto3": boto3_types,
        "ddb_pipeline": function(),
        "with table": function(table),
    }
    seconds: dict[str, list[float]] = {name: [] for name in implementations}
    sent: dict[str, Firehose] = {}
    for implementation in implementations.values():
        measured(implementation, texts)
    for _ in range(arguments.rounds):
        for name, implementation in implementations.items():
            taken, sent[name] = measured(implementation, texts)
            seconds[name].append(taken)
    for name, firehose in sent.items():
        units = billed_units([len(record) for record in firehose.records])
        print(  # noqa: T201
            f"{name:13}{arguments.records / statistics.median(seconds[name]):9,.0f} records/s, "
            f"numbers changed in {changed_numbers(texts, firehose)} of {arguments.records} "
            f"documents, {len(firehose.records)} Firehose records billed as {units} units of 5 KB"
        )
    for name in ("ddb_pipeline", "with table"):
        ratios = [b / own for b, own in zip(seconds["boto3"], seconds[name], strict=True)]
        print(  # noqa: T201
            f"{name}: {statistics.median(ratios):.1f} times as fast as boto3 "
            f"({min(ratios):.1f} to {max(ratios):.1f})"
        )


if __name__ == "__main__":
    main()
