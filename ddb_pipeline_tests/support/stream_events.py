"""Lambda events and stub services for the tests of the streaming function."""

import json
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any

from botocore.exceptions import ClientError

from ddb_pipeline.functions.batch import Clients, process
from ddb_pipeline.functions.report import Report
from ddb_pipeline.functions.rules import Rules
from ddb_pipeline.functions.stream_settings import read_settings

FIRST = 10**22
ENVIRONMENT = {"DELIVERY_STREAM": "s", "DEAD_LETTER_BUCKET": "letters"}


def stream_record(
    number: int, image: Any = None, *, name: str = "INSERT", table: str = "search-logs"
) -> dict[str, Any]:
    """The record of change ``number``, of an item with that number as its key."""
    keys = {"id": {"S": str(number)}}
    images: dict[str, Any] = {"NewImage": {**keys, **(image or {})}}
    if name == "REMOVE":
        images = {"OldImage": images["NewImage"]}
    return {
        "eventID": f"event-{number}",
        "eventName": name,
        "eventSource": "aws:dynamodb",
        "eventSourceARN": f"arn:aws:dynamodb:eu-west-1:000000000000:table/{table}/stream/label",
        "dynamodb": {
            "ApproximateCreationDateTime": 1_700_000_000.0,
            "Keys": keys,
            "SequenceNumber": str(FIRST + number),
            "StreamViewType": "NEW_AND_OLD_IMAGES",
            **images,
        },
    }


def event_of(records: Sequence[Any]) -> dict[str, Any]:
    """An event with these records, parsed from JSON as by Lambda's runtime."""
    found: dict[str, Any] = json.loads(json.dumps({"Records": list(records)}))
    return found


UNDECODABLE = {"broken": {"N": "not a number"}}
OVERSIZED = {"large": {"S": "x" * 1_030_000}}


@dataclass
class Firehose:
    """Accepts records, except those at the positions that ``fails`` returns."""

    fails: Callable[[str, list[bytes]], set[int]] = lambda stream, records: set()
    accepted: dict[str, list[bytes]] = field(default_factory=dict)
    calls: int = 0

    def put_record_batch(self, *, DeliveryStreamName: str, Records: Any) -> dict[str, Any]:
        self.calls += 1
        records = [record["Data"] for record in Records]
        failing = self.fails(DeliveryStreamName, records)
        entries: list[dict[str, str]] = []
        for position, record in enumerate(records):
            if position in failing:
                entries.append({"ErrorCode": "ServiceUnavailableException", "ErrorMessage": "Slow"})
            else:
                entries.append({"RecordId": "r"})
                self.accepted.setdefault(DeliveryStreamName, []).append(record)
        return {"FailedPutCount": len(failing), "RequestResponses": entries}

    def documents(self, stream: str = "s") -> list[dict[str, Any]]:
        records = self.accepted.get(stream, [])
        return [json.loads(line) for record in records for line in record.splitlines()]

    def event_ids(self, stream: str = "s") -> list[str]:
        return [document["ddb_event_id"] for document in self.documents(stream)]


@dataclass
class S3:
    """Stores objects, or refuses them."""

    refuses: Callable[[], bool] = lambda: False
    objects: dict[str, bytes] = field(default_factory=dict)

    def put_object(self, *, Bucket: str, Key: str, Body: bytes, **_: Any) -> None:
        if self.refuses():
            raise ClientError({"Error": {"Code": "AccessDenied", "Message": "no"}}, "PutObject")
        self.objects[f"{Bucket}/{Key}"] = Body

    def letters(self) -> list[dict[str, Any]]:
        return [json.loads(line) for body in self.objects.values() for line in body.splitlines()]


@dataclass
class Function:
    """The streaming function with stub services; can be called repeatedly."""

    firehose: Firehose = field(default_factory=Firehose)
    s3: S3 = field(default_factory=S3)
    rules: Rules = field(default_factory=lambda: Rules(read_settings(ENVIRONMENT)))
    report: Report = field(default_factory=Report)

    def __call__(self, records: Sequence[Any], deadline: float = float("inf")) -> str:
        self.report = Report()
        clients = Clients(firehose=self.firehose, s3=self.s3)  # type: ignore[arg-type]
        return process(event_of(records), self.rules, clients, self.report, deadline)


def rules_of(**environment: str) -> Rules:
    """Rules of an environment, without redaction and transformer."""
    return Rules(read_settings({**ENVIRONMENT, **environment}))
