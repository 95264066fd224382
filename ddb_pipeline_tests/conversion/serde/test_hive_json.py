"""Hive's JSON SerDe against recorded output of the open-source class and the probed service."""

from typing import Any

import pytest

from ddb_pipeline.conversion.serde.errors import (
    INVALID_SCHEMA,
    MALFORMED_DATA,
    PARSE_ERROR,
    ConversionError,
)
from ddb_pipeline.conversion.serde.hive_json import HiveJsonSerDe
from ddb_pipeline.conversion.serde.joda_time import TimestampFormatError
from ddb_pipeline_tests.support.recordings import (
    assert_probed,
    document,
    lines,
    outcome,
    same_outcome,
)

REFUSED = "the service refuses an object or array in a scalar column, with its own message"
TINY = "a decimal too small for the scale is zero; Hive's class returns null"
INTERNAL_NAMES = "the class maps _col0, _col1 to columns by position; no record has such names"
MICROSECONDS = "columns hold microseconds"
DEEP = "nesting has a limit"

DIFFERENCES = {
    "S0051": REFUSED,
    "S0053": REFUSED,
    "S0054": REFUSED,
    "S0545": TINY,
    "S0562": REFUSED,
    "S0563": REFUSED,
    "S0564": REFUSED,
    "S0565": REFUSED,
    "S0618": TINY,
    "S0635": REFUSED,
    "S0636": REFUSED,
    "S0637": REFUSED,
    "S0638": REFUSED,
    "S0691": TINY,
    "S0708": REFUSED,
    "S0709": REFUSED,
    "S0783": REFUSED,
    "S0784": REFUSED,
    "S0856": REFUSED,
    "S1375": REFUSED,
    "S1968": INTERNAL_NAMES,
    "S1969": INTERNAL_NAMES,
    "S2065": REFUSED,
    "S2082": REFUSED,
    "S2084": DEEP,
    "S2275": REFUSED,
    "S2292": REFUSED,
    "S2300": REFUSED,
    "S2329": MICROSECONDS,
    "S2371": MICROSECONDS,
}

RECORDED = [case for case in lines("serde.jsonl") if case["group"] != "openx_props"]


def serde_of(case: dict[str, Any]) -> HiveJsonSerDe:
    formats = case.get("props", {}).get("timestamp.formats", "")
    return HiveJsonSerDe(
        [tuple(column) for column in case["columns"]],
        timestamp_formats=formats.split(",") if formats else (),
    )


@pytest.mark.parametrize("case", RECORDED, ids=lambda case: case["id"])
def test_cases_recorded_of_the_open_source_class(case: dict[str, Any]) -> None:
    found, expected = outcome(case, serde_of), case["hive_hcat"]
    assert same_outcome(found, expected) != (case["id"] in DIFFERENCES), (found, expected)


def probed_cases() -> list[tuple[dict[str, str], dict[str, Any]]]:
    probed = document("firehose_probed.json")
    scalar = [(probed["hive_scalar"]["schema"], case) for case in probed["hive_scalar"]["cases"]]
    schema = probed[probed["hive_complex"]["schema_same_as"]]["schema"]
    return scalar + [(schema, case) for case in probed["hive_complex"]["cases"]]


@pytest.mark.parametrize(("schema", "case"), probed_cases())
def test_cases_recorded_of_the_probed_service(schema: dict[str, str], case: dict[str, Any]) -> None:
    assert_probed(HiveJsonSerDe(list(schema.items())), case)


def test_the_last_of_repeated_keys_wins() -> None:
    assert HiveJsonSerDe([("a", "int")]).deserialize(b'{"a":1,"A":2}') == {"a": 2}


@pytest.mark.parametrize(
    ("record", "code"), [(b"", MALFORMED_DATA), (b"{", PARSE_ERROR), (b"[{}]", MALFORMED_DATA)]
)
def test_records_that_are_not_objects(record: bytes, code: str) -> None:
    with pytest.raises(ConversionError) as caught:
        list(HiveJsonSerDe([("a", "int")]).rows(record))
    assert caught.value.code == code


@pytest.mark.parametrize("hive_type", ["binary", "uniontype<int,string>", "void", "set<string>"])
def test_unusable_schemas(hive_type: str) -> None:
    with pytest.raises(ConversionError) as caught:
        HiveJsonSerDe([("a", hive_type)])
    assert caught.value.code == INVALID_SCHEMA


@pytest.mark.parametrize("pattern", ["yyyy-MM-dd'T", "yyyy-bb", "'open"])
def test_unusable_timestamp_formats(pattern: str) -> None:
    with pytest.raises(TimestampFormatError):
        HiveJsonSerDe([("a", "timestamp")], timestamp_formats=[pattern])
