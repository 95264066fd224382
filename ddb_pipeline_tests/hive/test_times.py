"""Dates and timestamps: the same on every version of Python, exact or refused."""

from collections.abc import Callable
from datetime import datetime

import pytest

from ddb_pipeline.conversion.serde.times import parse_timestamp
from ddb_pipeline.export.rows.reader import ExportReader
from ddb_pipeline.hive.times import read_date, read_epoch, read_timestamp
from ddb_pipeline.hive.undecodable import UndecodableValueError

TIME = datetime(2024, 5, 1, 10)


@pytest.mark.parametrize(
    ("text", "moment"),
    [
        ("2024-05-01T10:00:00Z", TIME),
        ("2024-05-01 10:00:00", TIME),
        ("2024-05-01T10:00", TIME),
        ("2024-05-01", datetime(2024, 5, 1)),
        ("2024-05-01T10:00:00.5Z", TIME.replace(microsecond=500_000)),
        ("2024-05-01T10:00:00,5Z", TIME.replace(microsecond=500_000)),
        ("2024-05-01T10:00:00.123456000", TIME.replace(microsecond=123_456)),
        ("2024-05-01T12:00:00+02:00", TIME),
        ("2024-05-01T12:00:00+0200", TIME),
        ("2024-05-01T12:00:00+02", TIME),
        ("2024-05-01T04:30:00-05:30", TIME),
        ("0001-01-01T00:00:00Z", datetime(1, 1, 1)),
        ("9999-12-31T23:59:59.999999Z", datetime.max),
        ("1714557600", TIME),
        ("1714557600123", TIME.replace(microsecond=123_000)),
        ("20240501T100000Z", "not an ISO 8601"),
        ("2024-05-01T10", "not an ISO 8601"),
        ("2024-05-01x10:00:00", "not an ISO 8601"),
        ("2024-W18-3T10:00:00", "not an ISO 8601"),
        ("2024-05-01T10:00:00.Z", "not an ISO 8601"),
        ("2024-05-01T10:00:00.1234567890Z", "not an ISO 8601"),
        ("2024-05-01T24:00:00", "not an ISO 8601"),
        ("2024-05-01T10:00:60", "not an ISO 8601"),
        ("2024-02-30T10:00:00", "not an ISO 8601"),
        ("2024-05-01T10:00:00+24:00", "not an ISO 8601"),
        ("2024-05-01T10:00:00+02:60", "not an ISO 8601"),
        ("٢٠٢٤-05-01T10:00:00", "not an ISO 8601"),
        ("2024-05-01T10:00:00Z\n", "not an ISO 8601"),
        ("0000-01-01T00:00:00", "not an ISO 8601"),
        ("10000-01-01T00:00:00", "not an ISO 8601"),
        ("", "not an ISO 8601"),
        ("2024-05-01T10:00:00.1234567Z", "digits past microseconds"),
        ("2024-05-01T10:00:00.000000001", "digits past microseconds"),
        ("0001-01-01T00:00:00+01:00", "outside of the years"),
        ("9999-12-31T23:59:59-00:01", "outside of the years"),
        ("9223372036854775807", "outside of the years"),
    ],
)
def test_a_text(text: str, moment: datetime | str) -> None:
    assert_reads(read_timestamp, text, moment)


@pytest.mark.parametrize(
    ("number", "moment"),
    [
        ("0", datetime(1970, 1, 1)),
        ("-1", datetime(1969, 12, 31, 23, 59, 59)),
        ("1714557600", TIME),
        ("1714557600000", TIME),
        ("1.7145576E+9", TIME),
        ("1714557600.123456", TIME.replace(microsecond=123_456)),
        ("1714557600123.456", TIME.replace(microsecond=123_456)),
        ("253402300799", datetime(9999, 12, 31, 23, 59, 59)),
        ("253402300800", "outside of the years"),
        ("999999999999", "outside of the years"),
        ("-62135596801", "outside of the years"),
        ("1E+400", "outside of the years"),
        ("1E+999999999", "outside of the years"),
        ("1714557600.1234567", "digits past microseconds"),
        ("1E-130", "digits past microseconds"),
        ("1E-999999999", "digits past microseconds"),
    ],
)
def test_a_number(number: str, moment: datetime | str) -> None:
    assert_reads(read_epoch, number, moment)


def assert_reads(read: Callable[[str], datetime], text: str, moment: datetime | str) -> None:
    if isinstance(moment, datetime):
        assert read(text) == moment
        return
    with pytest.raises(UndecodableValueError, match=moment):
        read(text)


@pytest.mark.parametrize("number", ["0", "-1", "1714557600", "999999999", "1714557600123"])
def test_epoch_numbers_are_those_of_the_stream(number: str) -> None:

    assert read_epoch(number) == parse_timestamp(number)


def test_numbers_and_texts_in_one_column() -> None:
    block = b"\n".join(
        [
            b'{"Item":{"t":{"N":"1714557600"}}}',
            b'{"Item":{"t":{"N":"1714557600000"}}}',
            b'{"Item":{"t":{"S":"2024-05-01T10:00:00Z"}}}',
            b'{"Item":{"t":{"S":"0001-01-01T00:00:00+01:00"}}}',
            b'{"Item":{"t":{"BOOL":true}}}',
        ]
    )
    rows = ExportReader([("t", "timestamp")]).rows(block)
    assert rows.table["t"].to_pylist() == [TIME] * 3
    assert {line.line.decode()[14:20] for line in rows.rejected} == {'"S":"0', '"BOOL"'}


@pytest.mark.parametrize(
    "text", ["20240501", "2024-W18-3", "2024-5-1", "2024-02-30", "2024-05-01 "]
)
def test_other_texts_are_not_dates(text: str) -> None:
    with pytest.raises(UndecodableValueError, match="not a date"):
        read_date(text)


@pytest.mark.parametrize(
    "line", [b'{"Item":{"id":{"s":"k"}}}', b'{"Item":{"id":{}}}', b'{"Item":{}}', b"{}"]
)
def test_without_columns_every_line_is_rejected(line: bytes) -> None:
    rows = ExportReader([]).rows(line + b"\n\n" + line)
    assert (len(rows.table), len(rows.rejected)) == (0, 2)
    assert all(rejected.reason for rejected in rows.rejected)
