"""Redelivery makes each failed record a row exactly once, also if a run stops halfway."""

import json
import uuid
from dataclasses import dataclass
from typing import Any

import boto3
import pyarrow.fs
import pyarrow.parquet as pq
import pytest

from ddb_pipeline.conversion.convert import convert
from ddb_pipeline.embedded.clients import client_arguments
from ddb_pipeline.embedded.process import Endpoint
from ddb_pipeline.firehose.error_objects import FailedRecord, read_error_object, write_error_object
from ddb_pipeline.firehose.held import HELD_CODE
from ddb_pipeline.hive.type_decisions import NO_DECISIONS, TypeDecisions, read_decisions
from ddb_pipeline.hive.types import Column
from ddb_pipeline.lake.compaction import Lake, compact_hour
from ddb_pipeline.lake.layout import DeliveryHour
from ddb_pipeline.lake.objects import list_objects
from ddb_pipeline.lake.redelivery import ObjectRedelivery, redeliver
from ddb_pipeline.lake.redelivery_plan import CORRUPT_LINE, REFUSED_CODE
from ddb_pipeline.lake.root import LakeRoot

pytestmark = pytest.mark.embedded

COLUMNS = (Column("ddb_event_id", "string"), Column("id", "string"), Column("n", "bigint"))
NOON = 1_780_000_000_000
ERROR_KEY = "errors/format-conversion-failed/2026-05-28/object"


def document(event: str, **members: Any) -> bytes:
    return json.dumps({"ddb_event_id": event, "id": event.upper(), **members}).encode() + b"\n"


def failed(*documents: bytes, arrived: int | None = NOON) -> FailedRecord:
    return FailedRecord(
        raw_data=b"".join(documents),
        error_code="DataFormatConversion.InvalidSchema",
        error_message="The schema is invalid.",
        arrival_timestamp=arrived,
    )


@dataclass
class Bucket:
    """A bucket of the embedded AWS, one for each test."""

    name: str
    s3: Any
    filesystem: pyarrow.fs.FileSystem

    def put_errors(self, *records: FailedRecord, extra: bytes = b"") -> None:
        body = write_error_object(records) + extra
        self.s3.put_object(Bucket=self.name, Key=ERROR_KEY, Body=body)

    def redeliver(
        self, columns: tuple[Column, ...] = COLUMNS, decisions: TypeDecisions = NO_DECISIONS
    ) -> ObjectRedelivery:
        (stored,) = list_objects(self.s3, LakeRoot(self.name), ERROR_KEY)
        lake = LakeRoot(self.name)
        return redeliver(self.s3, self.filesystem, lake, stored, columns, decisions)

    def rows(self) -> list[dict[str, Any]]:
        keys = [stored.key for stored in list_objects(self.s3, LakeRoot(self.name), "stream/")]
        return [
            row
            for key in keys
            for row in pq.ParquetFile(f"{self.name}/{key}", filesystem=self.filesystem)
            .read()
            .to_pylist()
        ]

    def events(self) -> list[str]:
        return sorted(row["ddb_event_id"] for row in self.rows())

    def keys(self, prefix: str) -> list[str]:
        return [stored.key for stored in list_objects(self.s3, LakeRoot(self.name), prefix)]

    def errors(self) -> list[FailedRecord]:
        body = self.s3.get_object(Bucket=self.name, Key=ERROR_KEY)["Body"].read()
        return list(read_error_object(body).records)


@pytest.fixture
def bucket(embedded_aws: Endpoint) -> Bucket:
    arguments = client_arguments(embedded_aws)
    s3 = boto3.client("s3", **arguments)
    name = f"redelivery-{uuid.uuid4().hex[:12]}"
    s3.create_bucket(Bucket=name)
    scheme, _, host = embedded_aws.url.partition("://")
    filesystem = pyarrow.fs.S3FileSystem(
        endpoint_override=host,
        scheme=scheme,
        region=embedded_aws.region,
        access_key=embedded_aws.credentials.access_key_id,
        secret_key=embedded_aws.credentials.secret_access_key,
    )
    return Bucket(name, s3, filesystem)


def test_records_become_rows_of_the_hour_of_their_arrival(bucket: Bucket) -> None:
    bucket.put_errors(failed(document("a", n=1)), failed(document("b", n=2)))
    outcome = bucket.redeliver()
    assert (outcome.rows, outcome.failed) == (2, 0)
    assert bucket.events() == ["a", "b"]
    (key,) = bucket.keys("stream/")
    assert key.startswith(DeliveryHour.of(NOON / 1000).prefix)
    assert bucket.keys("errors/") == []
    assert len(bucket.keys("redelivered/")) == 1


def test_records_of_two_hours_go_to_two_partitions(bucket: Bucket) -> None:
    bucket.put_errors(
        failed(document("a", n=1)), failed(document("b", n=2), arrived=NOON + 3_600_000)
    )
    assert bucket.redeliver().rows == 2
    assert len(bucket.keys("stream/")) == 2


def test_records_that_still_fail_stay_with_the_new_reason(bucket: Bucket) -> None:
    bucket.put_errors(failed(document("a", n=1)), failed(document("b", n="oops")))
    outcome = bucket.redeliver()
    assert (outcome.rows, outcome.failed) == (1, 1)
    (left,) = bucket.errors()
    assert left.error_code == "DataFormatConversion.MalformedData"
    assert left.attempts_made == 2
    assert bucket.redeliver((*COLUMNS[:2], Column("n", "string"))).rows == 1
    assert bucket.events() == ["a", "b"]
    assert bucket.keys("errors/") == []


def test_a_decision_that_comes_after_the_failure(bucket: Bucket) -> None:
    bucket.put_errors(failed(document("a", n=1)), failed(document("b", n="oops", tags=["x"])))
    refused = bucket.redeliver(decisions=read_decisions({"n": "refuse"}))
    assert (refused.rows, refused.reasons) == (1, {REFUSED_CODE: 1})
    (left,) = bucket.errors()
    assert "'n'" in left.error_message
    assert "(decided: refuse)" in left.error_message
    split = read_decisions({"n": "split"})
    waiting = bucket.redeliver(decisions=split)
    assert waiting.reasons == {HELD_CODE: 1}
    new = (Column("n__n", "bigint"), Column("n__s", "string"), Column("tags", "array<string>"))
    assert bucket.redeliver((*COLUMNS, *new), split).rows == 1
    rows = {row["ddb_event_id"]: row for row in bucket.rows()}
    assert rows["a"]["n"] == 1
    assert (rows["b"]["n"], rows["b"]["n__s"], rows["b"]["tags"]) == (None, "oops", ["x"])
    assert bucket.keys("errors/") == []


def test_nothing_is_written_if_no_record_is_converted(bucket: Bucket) -> None:
    bucket.put_errors(failed(document("a", n=1)))
    before = bucket.s3.head_object(Bucket=bucket.name, Key=ERROR_KEY)["ETag"]
    outcome = bucket.redeliver((Column("id", "set<string>"), *COLUMNS))
    assert (outcome.rows, outcome.failed) == (0, 1)
    assert bucket.s3.head_object(Bucket=bucket.name, Key=ERROR_KEY)["ETag"] == before
    assert bucket.keys("stream/") == bucket.keys("redelivered/") == []


def test_held_records_stay_until_their_column_exists(bucket: Bucket) -> None:
    bucket.put_errors(failed(document("a", n=1)), failed(document("b", tags=["x"])))
    assert bucket.redeliver().rows == 1
    (left,) = bucket.errors()
    assert left.error_code == HELD_CODE
    assert "tags" in left.error_message
    assert bucket.redeliver((*COLUMNS, Column("tags", "array<string>"))).rows == 1
    assert [row.get("tags") for row in bucket.rows() if row["id"] == "B"] == [["x"]]


def test_a_run_stopped_after_writing_rows_can_be_repeated(
    bucket: Bucket, monkeypatch: pytest.MonkeyPatch
) -> None:
    bucket.put_errors(failed(document("a", n=1)), failed(document("b", n=2)))

    def killed(*_: Any) -> None:
        raise KeyboardInterrupt

    with monkeypatch.context() as patched:
        patched.setattr("ddb_pipeline.lake.redelivery.archive", killed)
        with pytest.raises(KeyboardInterrupt):
            bucket.redeliver()
    assert bucket.events() == ["a", "b"]
    bucket.redeliver()
    assert bucket.events() == ["a", "b"]
    assert bucket.keys("errors/") == []


@pytest.mark.parametrize("landed", [[], ["a"], ["a", "c"]])
def test_documents_that_firehose_delivered_of_a_packed_record_are_left_out(
    bucket: Bucket, landed: list[str]
) -> None:
    documents = {event: document(event, n=1) for event in "abc"}
    if landed:
        conversion = convert([documents[event] for event in landed], COLUMNS)
        key = f"{DeliveryHour.of(NOON / 1000).prefix}delivered.parquet"
        bucket.s3.put_object(Bucket=bucket.name, Key=key, Body=conversion.parquet)
    bucket.put_errors(failed(*documents.values()))
    outcome = bucket.redeliver()
    assert outcome.landed_before == len(landed)
    assert bucket.events() == ["a", "b", "c"]


def test_rows_of_a_compacted_hour_are_found_without_its_raw_objects(bucket: Bucket) -> None:
    documents = [document(event, n=1) for event in "abc"]
    hour = DeliveryHour.of(NOON / 1000)
    key = f"{hour.prefix}delivered.parquet"
    delivered = convert(documents[:1], COLUMNS).parquet
    bucket.s3.put_object(Bucket=bucket.name, Key=key, Body=delivered)
    lake = Lake(bucket.s3, bucket.filesystem, LakeRoot(bucket.name))
    compact_hour(lake, hour, lambda: COLUMNS, lambda generation: None)
    bucket.s3.delete_object(Bucket=bucket.name, Key=key)
    bucket.put_errors(failed(*documents))
    assert bucket.redeliver().landed_before == 1
    assert bucket.events() == ["b", "c"]


BAD_LINES = [
    b'{"rawData":"e30=","attemptsMade":"--5"}',
    b'{"rawData":"e30=","arrivalTimestamp":1' + b"0" * 30 + b"}",
    b'{"rawData":"e30=","subSequenceNumber":"first"}',
    b'{"rawData":"e30=","attemptsMade":' + b"9" * 5000 + b"}",
    b'{"rawData":"%"}',
    b'{"lastErrorCode":"no data"}',
    b"\xff\xfe",
    b'{"a":' * 100_000,
]
BAD_DOCUMENTS = [
    b'{"n":' + b"9" * 5000 + b"}",
    b'{"n":1e999999999}',
    b'{"n":' + b"[" * 100_000 + b"]" * 100_000 + b"}",
    b"null{",
    b"\xff\x00",
    b'{"ddb_event_id":"\\ud800","n":"x"}',
]


def test_bad_lines_and_documents_stay_with_their_reason_and_affect_no_others(
    bucket: Bucket,
) -> None:
    bucket.put_errors(
        failed(document("a", n=1)),
        *(failed(bad) for bad in BAD_DOCUMENTS),
        failed(document("b", n=2), arrived=2**52),
        failed(document("c", n=3), arrived=-1),
        extra=b"".join(line + b"\n" for line in BAD_LINES),
    )
    outcome = bucket.redeliver()
    assert bucket.events() == ["a", "b", "c"]
    assert (outcome.rows, outcome.failed) == (3, len(BAD_DOCUMENTS))
    assert outcome.reasons[CORRUPT_LINE] == len(BAD_LINES)
    assert [record.raw_data for record in bucket.errors()] == BAD_DOCUMENTS
    repeated = bucket.redeliver()
    assert (repeated.rows, repeated.reasons) == (0, outcome.reasons)


def test_unreadable_lines_stay_in_the_error_object(bucket: Bucket) -> None:
    bucket.put_errors(failed(document("a", n=1)), extra=b"not a failed record\n")
    assert bucket.redeliver().rows == 1
    body = bucket.s3.get_object(Bucket=bucket.name, Key=ERROR_KEY)["Body"].read()
    assert body == b"not a failed record\n"
