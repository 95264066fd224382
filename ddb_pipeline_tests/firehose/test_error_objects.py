"""Error objects: the layout that Firehose writes, and reading it."""

import base64
import json

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from ddb_pipeline.firehose.error_objects import (
    DataCatalogTable,
    ErrorObject,
    FailedRecord,
    read_error_object,
    write_error_object,
)
from ddb_pipeline_tests.support.recordings import lines

TABLE = DataCatalogTable(
    database_name="shop", table_name="orders", region="eu-west-1", version_id="LATEST"
)
RECORD = FailedRecord(
    raw_data=b'{"a":"oops"}\n',
    error_code="DataFormatConversion.MalformedData",
    error_message='Data does not match the schema. For input string: "oops"',
    arrival_timestamp=1_790_000_000_123,
    attempt_ending_timestamp=1_790_000_060_000,
    sequence_number="49546986683135544286507457936321625675700192471156785154",
    sub_sequence_number=0,
    data_catalog_table=TABLE,
)


def test_a_line_has_firehoses_members_in_its_order() -> None:
    (reported,) = [case for case in lines("firehose_reported.jsonl") if case["id"] == "F17"]
    line = RECORD.to_line()
    assert line.endswith(b"\n")
    document = json.loads(line)
    assert list(document) == reported["reported"]["order"]
    assert list(document["dataCatalogTable"]) == reported["reported"]["dataCatalogTable"]
    assert base64.b64decode(document["rawData"]) == b'{"a":"oops"}\n'


def test_what_is_written_is_read() -> None:
    bare = FailedRecord(raw_data=b"", error_code="c", error_message="m\ud800 \u2028")
    assert read_error_object(write_error_object([RECORD, bare])) == ErrorObject((RECORD, bare), ())
    assert read_error_object(b"") == ErrorObject((), ())


MUTATIONS = (b"--5", b"9" * 5000, b"1e400", b"NaN", b"null", b'"', b"\xff", b"[" * 5000, b"true")
"""Bytes that a parser of numbers or JSON may not expect."""

OPTIONAL_TEXT = st.none() | st.text(max_size=10)
TABLES = st.none() | st.builds(
    DataCatalogTable,
    database_name=OPTIONAL_TEXT,
    table_name=OPTIONAL_TEXT,
    region=OPTIONAL_TEXT,
    version_id=OPTIONAL_TEXT,
    catalog_id=OPTIONAL_TEXT,
    role_arn=OPTIONAL_TEXT,
)
RECORDS = st.builds(
    FailedRecord,
    raw_data=st.binary(max_size=20),
    error_code=st.text(max_size=10),
    error_message=st.text(max_size=10),
    arrival_timestamp=st.none() | st.integers(0, 2**53),
    attempt_ending_timestamp=st.none() | st.integers(0, 2**53),
    attempts_made=st.integers(0, 9),
    sequence_number=OPTIONAL_TEXT,
    sub_sequence_number=st.none() | st.integers(0, 9),
    data_catalog_table=TABLES,
)


@given(st.lists(RECORDS, max_size=4))
@settings(max_examples=100, deadline=None)
def test_any_records_survive_the_round_trip(records: list[FailedRecord]) -> None:
    assert read_error_object(write_error_object(records)) == ErrorObject(tuple(records), ())


def test_unknown_members_and_other_spellings_are_read() -> None:
    document = {
        "attemptsMade": 4,
        "arrivalTimestamp": "1790000000123",
        "errorCode": "Lambda.FunctionError",
        "errorMessage": "The Lambda function failed.",
        "attemptEndingTimestamp": 1790000060000,
        "rawData": base64.b64encode(b"x").decode(),
        "EsDocumentId": None,
        "dataCatalogTable": {"tableName": "orders", "catalogArn": "arn"},
    }
    (record,) = read_error_object(json.dumps(document).encode() + b"\r\n\n").records
    assert record.error_code == "Lambda.FunctionError"
    assert record.error_message == "The Lambda function failed."
    assert record.arrival_timestamp == 1_790_000_000_123
    assert record.data_catalog_table == DataCatalogTable(table_name="orders")
    newer = {"ErrorCode": "C", "ErrorMessage": "M", "rawData": ""}
    assert read_error_object(json.dumps(newer).encode()).records[0].error_code == "C"


@pytest.mark.parametrize(
    ("line", "reason"),
    [
        (b"not json", "not JSON"),
        (b'{"rawData":"' + base64.b64encode(b"cut"), "not JSON"),
        (b"[]", "not a JSON object"),
        (b"[" * 10_000, "not JSON"),
        (b'{"rawData":5}', "rawData is missing or not a string"),
        (b'{"lastErrorCode":"c"}', "rawData is missing or not a string"),
        (b'{"rawData":"%%%"}', "rawData is not base64"),
        (b'{"rawData":"","attemptsMade":"many"}', "attemptsMade is not an integer"),
        (b'{"rawData":"","attemptsMade":"--5"}', "attemptsMade is not an integer"),
        (b'{"rawData":"","attemptsMade":"5-"}', "attemptsMade is not an integer"),
        (b'{"rawData":"","attemptsMade":true}', "attemptsMade is not an integer"),
        (b'{"rawData":"","attemptsMade":1.5}', "attemptsMade is not an integer"),
        (b'{"rawData":"","attemptsMade":NaN}', "attemptsMade is not an integer"),
        (b'{"rawData":"","attemptsMade":"\xc2\xb2"}', "attemptsMade is not an integer"),
        (b'{"rawData":"","arrivalTimestamp":1' + b"0" * 30 + b"}", "arrivalTimestamp is not an"),
        (b'{"rawData":"","arrivalTimestamp":"' + b"9" * 5000 + b'"}', "arrivalTimestamp is not an"),
        (b'{"rawData":"","arrivalTimestamp":' + b"9" * 5000 + b"}", ""),
        (b'{"rawData":"","subSequenceNumber":"first"}', "subSequenceNumber is not an integer"),
        (b'{"rawData":"\xc3\xa9"}', "rawData is not base64"),
        (b'{"a":' * 100_000, "not JSON"),
        (b"[" * 100_000 + b"]" * 100_000, "not JSON"),
        (b'{"rawData":"","sequenceNumber":5}', "sequenceNumber is not a string"),
        (b'{"rawData":"","dataCatalogTable":"t"}', "dataCatalogTable is not an object"),
        (b'\xff{"rawData":""}', "not JSON"),
    ],
)
def test_a_corrupt_line_is_reported_and_the_others_are_read(line: bytes, reason: str) -> None:
    body = RECORD.to_line() + line + b"\n" + RECORD.to_line()
    content = read_error_object(body)
    assert content.records == (RECORD, RECORD)
    (corrupt,) = content.corrupt_lines
    assert (corrupt.line, corrupt.content) == (2, line)
    assert corrupt.reason.startswith(reason)


@given(st.data())
@settings(max_examples=300, deadline=None)
def test_no_bytes_in_a_line_affect_the_other_lines(data: st.DataObject) -> None:
    line = bytearray(RECORD.to_line().rstrip(b"\n"))
    for _ in range(data.draw(st.integers(1, 4))):
        start = data.draw(st.integers(0, len(line)))
        stop = data.draw(st.integers(start, min(len(line), start + 8)))
        inserted = data.draw(st.binary(max_size=6) | st.sampled_from(MUTATIONS))
        line[start:stop] = inserted.replace(b"\n", b"")
    content = read_error_object(RECORD.to_line() + bytes(line) + b"\n" + RECORD.to_line())
    assert content.records[0] == content.records[-1] == RECORD
    assert len(content.records) + len(content.corrupt_lines) == (3 if line.strip() else 2)
