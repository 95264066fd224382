"""Reports about the service's conversion: one check for each of them."""

import io
import json
from collections.abc import Callable
from datetime import date, datetime
from typing import Any

import pyarrow.parquet as pq
import pytest

from ddb_pipeline.conversion.convert import convert
from ddb_pipeline.conversion.serde import ConversionError, OpenXJsonSerDe
from ddb_pipeline.conversion.serde.base import JsonSerDe
from ddb_pipeline.conversion.serde.hive_json import HiveJsonSerDe
from ddb_pipeline.embedded.services.firehose.configuration import (
    ConfigurationError,
    delivery_configuration,
)
from ddb_pipeline.embedded.services.firehose.prefix import PARQUET_EXTENSION
from ddb_pipeline.firehose.error_objects import FailedRecord
from ddb_pipeline_tests.support.recordings import lines

REPORTED = {case["id"]: case["reported"] for case in lines("firehose_reported.jsonl")}


def error_of(serde: JsonSerDe, value: Any) -> ConversionError:
    with pytest.raises(ConversionError) as caught:
        serde.deserialize(json.dumps({"c": value}).encode())
    return caught.value


def value_of(hive_type: str, value: Any) -> Any:
    return OpenXJsonSerDe([("c", hive_type)]).deserialize(json.dumps({"c": value}).encode())["c"]


def refused(reported: dict[str, Any], serde: JsonSerDe, value: Any) -> None:
    error = error_of(serde, value)
    assert error.code == reported.get("lastErrorCode", error.code)
    if "lastErrorMessage" in reported:
        assert error.message == reported["lastErrorMessage"]
    assert reported.get("lastErrorMessage_contains", "") in error.message


def parse_error(reported: dict[str, Any]) -> None:
    with pytest.raises(ConversionError) as caught:
        OpenXJsonSerDe([("c", "string")]).deserialize(b"this is not json at all\n")
    assert caught.value.code == reported["lastErrorCode"]
    assert caught.value.message.startswith(reported["lastErrorMessage_prefix"])


def openx_is_lenient(reported: dict[str, Any]) -> None:
    assert value_of("array<string>", "x") == ["x"]
    assert value_of("struct<a:string>", ["x"]) == {"a": "x"}
    assert value_of("int", "3") == 3
    assert value_of("string", {"nested": 1}) == '{"nested":1}'


def epoch(reported: dict[str, Any]) -> None:
    for seconds in (0, 1518033528, -1518033528, 10**11):
        assert value_of("timestamp", seconds) == value_of("timestamp", str(seconds))
        assert (value_of("timestamp", seconds) - datetime(1970, 1, 1)).total_seconds() == seconds
    assert value_of("timestamp", 10**12) == datetime(2001, 9, 9, 1, 46, 40)
    assert value_of("timestamp", -(10**12)) == datetime(1938, 4, 24, 22, 13, 20)
    assert value_of("timestamp", 1518033528.25).microsecond == 250_000


def far_epoch(reported: dict[str, Any]) -> None:
    assert value_of("timestamp", int(reported["json_value"])).year == 2092


def space_form(reported: dict[str, Any]) -> None:
    assert value_of("timestamp", "2026-9-7 1:2:3") == datetime(2026, 9, 7, 1, 2, 3)
    error_of(OpenXJsonSerDe([("c", "timestamp")]), "2026-9-7T12:00:02Z")


def one_digit_date(reported: dict[str, Any]) -> None:
    assert value_of("date", "2026-9-7") == date(2026, 9, 7)


def documented_timestamps(reported: dict[str, Any]) -> None:
    assert [value_of("timestamp", text) for text in reported["examples"]] == [
        datetime(2017, 2, 7, 15, 13, 1, 392_560),
        datetime(2017, 2, 7, 15, 13, 1, 140_000),
        datetime(2018, 2, 7, 19, 58, 48),
        datetime(2018, 2, 7, 19, 58, 48, 123_000),
        datetime(2018, 2, 7, 19, 58, 48, 123_000),
    ]


def hive_timestamps(reported: dict[str, Any]) -> None:
    millis = HiveJsonSerDe([("c", "timestamp")], timestamp_formats=["millis"])
    joda = HiveJsonSerDe([("c", "timestamp")], timestamp_formats=["dd/MM/yyyy"])
    plain = HiveJsonSerDe([("c", "timestamp")])
    assert millis.deserialize(b'{"c":1000}') == {"c": datetime(1970, 1, 1, 0, 0, 1)}
    assert joda.deserialize(b'{"c":"07/09/2026"}') == {"c": datetime(2026, 9, 7)}
    assert plain.deserialize(b'{"c":"2026-09-07 00:00:00"}') == {"c": datetime(2026, 9, 7)}


def concatenated(reported: dict[str, Any]) -> None:
    assert convert([reported["ok"].encode()], [("a", "int")]).rows == 2
    assert len(convert([reported["not_ok"].encode()], [("a", "int")]).failures) == 1


def invalid_schema(hive_type: str) -> Callable[[dict[str, Any]], None]:
    def check(reported: dict[str, Any]) -> None:
        (failure,) = convert([b"{}"], [("ok", "int"), ("c", hive_type)]).failures
        assert failure.code == reported["lastErrorCode"]
        expected = reported.get("lastErrorMessage") or (
            reported["lastErrorMessage_form"]
            .replace("position N", "position 0")
            .replace("<type string>", hive_type)
            .replace("<token>", hive_type.partition("<")[0])
        )
        assert failure.message == expected

    return check


def error_line(reported: dict[str, Any]) -> None:
    line = FailedRecord(raw_data=b"", error_code="c", error_message="m").to_line()
    assert list(json.loads(line)) == reported["order"]


def parquet_object(reported: dict[str, Any]) -> None:
    assert reported["extension"] == PARQUET_EXTENSION
    parquet = convert([b'{"c":1}'], [("c", "int")]).parquet
    assert parquet is not None
    column = pq.ParquetFile(io.BytesIO(parquet)).metadata.row_group(0).column(0)
    assert column.compression == reported["default_codec"]


def refused_configuration(reported: dict[str, Any]) -> None:
    # test_configuration compares each message with its report.
    with pytest.raises(ConfigurationError):
        delivery_configuration({})


HIVE = HiveJsonSerDe
CHECKS: dict[str, Callable[[dict[str, Any]], None]] = {
    "F01": parse_error,
    "F02": lambda r: refused(r, OpenXJsonSerDe([("c", "double")]), "oops"),
    "F03": lambda r: refused(r, HIVE([("c", "array<string>")]), "x"),
    "F04": lambda r: refused(r, HIVE([("c", "struct<a:int>")]), [1]),
    "F05": lambda r: refused(r, HIVE([("c", "int")]), "7"),
    "F06": lambda r: refused(r, HIVE([("c", "string")]), {"a": 1}),
    "F07": openx_is_lenient,
    "F08": epoch,
    "F09": far_epoch,
    "F10": space_form,
    "F11": one_digit_date,
    "F12": documented_timestamps,
    "F13": hive_timestamps,
    "F14": concatenated,
    "F15": invalid_schema("binary"),
    "F16": invalid_schema("set<string>"),
    "F17": error_line,
    "F18": parquet_object,
    "F19": refused_configuration,
    "F20": refused_configuration,
    "F21": refused_configuration,
    "F22": refused_configuration,
    "F23": refused_configuration,
}


def test_every_report_has_a_check() -> None:
    assert CHECKS.keys() == REPORTED.keys()


@pytest.mark.parametrize("report", sorted(REPORTED))
def test_report(report: str) -> None:
    CHECKS[report](REPORTED[report])
