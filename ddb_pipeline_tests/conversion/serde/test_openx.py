"""The OpenX SerDe against recorded output of the open-source class and of the probed service."""

import json
import re
from collections.abc import Mapping
from datetime import date, datetime
from decimal import Decimal
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from ddb_pipeline.conversion.serde.errors import (
    INVALID_SCHEMA,
    MALFORMED_DATA,
    PARSE_ERROR,
    ConversionError,
)
from ddb_pipeline.conversion.serde.openx import OpenXJsonSerDe
from ddb_pipeline_tests.support.recordings import (
    assert_probed,
    document,
    lines,
    outcome,
    same_outcome,
)

GROUPS = (
    "matrix",
    "scalar",
    "nested",
    "keys",
    "date_string",
    "date_number",
    "timestamp_string",
    "timestamp_number",
    "row",
    "openx_props",
    "depth",
)

UNQUOTED = "the service prints numbers inside an object or array without quotes"
STRICT = "the service accepts only strict JSON"
ISO_FRACTION = "the service documents 1 to 9 fraction digits before Z"
MICROSECONDS = "columns hold microseconds"
WRAPPED = "an instant past the year 9999 wraps around in 64-bit nanoseconds"
BY_SIZE = "the service reads fractions, too, as seconds or milliseconds by their size"
YEARS = "a date outside the years 1 to 9999 is refused, not changed to another date"
NOT_WRITTEN = "void has no Parquet form, so its values do not matter"
NO_COUNTERPART = "ignore.malformed.json is not an option of a delivery stream"
DEEP = "nesting has a limit; the class overflows its stack"

DIFFERENCES = {
    "S1044": WRAPPED,
    "S1057": WRAPPED,
    "S1218": NOT_WRITTEN,
    "S1375": UNQUOTED,
    "S1667": UNQUOTED,
    "S1991": UNQUOTED,
    "S1995": UNQUOTED,
    "S2081": UNQUOTED,
    "S2082": UNQUOTED,
    "S2084": DEEP,
    "S2287": STRICT,
    "S2292": UNQUOTED,
    "S2320": ISO_FRACTION,
    "S2321": ISO_FRACTION,
    "S2323": ISO_FRACTION,
    "S2325": ISO_FRACTION,
    "S2329": MICROSECONDS,
    "S2371": MICROSECONDS,
    "S2419": WRAPPED,
    "S2420": WRAPPED,
    "S2423": WRAPPED,
    "S2428": BY_SIZE,
    "S2450": YEARS,
    "S2457": YEARS,
    "S2458": YEARS,
    "S2483": STRICT,
    "S2502": NO_COUNTERPART,
    "S2506": NO_COUNTERPART,
}

RECORDED = [case for case in lines("serde.jsonl") if case["group"] in GROUPS]


def serde_of(case: Mapping[str, Any]) -> OpenXJsonSerDe:
    properties = case.get("props", {})
    mappings = {
        name.removeprefix("mapping."): key
        for name, key in properties.items()
        if name.startswith("mapping.")
    }
    return OpenXJsonSerDe(
        [tuple(column) for column in case["columns"]],
        case_insensitive=properties.get("case.insensitive") != "false",
        convert_dots=properties.get("dots.in.keys") == "true",
        column_to_json_key=mappings,
    )


@pytest.mark.parametrize("case", RECORDED, ids=lambda case: case["id"])
def test_cases_recorded_of_the_open_source_class(case: dict[str, Any]) -> None:
    found, expected = outcome(case, serde_of), case["openx"]
    assert same_outcome(found, expected) != (case["id"] in DIFFERENCES), (found, expected)


def test_differences_are_few() -> None:
    differing = [case for case in RECORDED if case["id"] in DIFFERENCES]
    assert len(differing) / len(RECORDED) < 0.025


def test_error_messages_are_those_of_java() -> None:
    wrong = []
    for case in RECORDED:
        expected = case["openx"].get("message")
        if expected is None or case["id"] in DIFFERENCES or "binary" in str(case["columns"]):
            continue
        # The class's message ends with the modules of both classes; ours leaves them out.
        expected = expected.split(" (org.openx")[0]
        # The service holds a number as a Long or a Double, the open-source class as a String.
        message = outcome(case, serde_of)["message"]
        message = re.sub("but java.lang.(Long|Double)", "but java.lang.String", message)
        if not message.endswith(expected):
            wrong.append((case["id"], message, expected))
    assert not wrong


def probed_cases() -> list[tuple[dict[str, str], dict[str, Any]]]:
    groups = [document("firehose_probed.json")[name] for name in ("openx_scalar", "openx_complex")]
    return [(group["schema"], case) for group in groups for case in group["cases"]]


@pytest.mark.parametrize(("schema", "case"), probed_cases())
def test_cases_recorded_of_the_probed_service(schema: dict[str, str], case: dict[str, Any]) -> None:
    assert_probed(OpenXJsonSerDe(list(schema.items())), case)


@pytest.mark.parametrize(
    ("text", "instant"), document("firehose_probed.json")["openx_timestamp_examples"]
)
@pytest.mark.parametrize("quoted", [False, True])
def test_epoch_numbers_and_their_strings(text: str, instant: str, quoted: bool) -> None:
    serde = OpenXJsonSerDe([("t", "timestamp")])
    value = json.dumps(text) if quoted else text
    row = serde.deserialize(f'{{"t":{value}}}'.encode())
    assert row["t"] == datetime.fromisoformat(instant)


@pytest.mark.parametrize(
    ("hive_type", "value", "expected"),
    [
        # The size decides between seconds and milliseconds, not the number of digits.
        ("timestamp", "0001518033528", datetime(2018, 2, 7, 19, 58, 48)),
        ("timestamp", -1518033528, datetime(1921, 11, 24, 4, 1, 12)),
        ("timestamp", "2017-02-07T15:13:01.39256Z", datetime(2017, 2, 7, 15, 13, 1, 392560)),
        ("timestamp", "2017-02-07 15:13:01.14", datetime(2017, 2, 7, 15, 13, 1, 140000)),
        ("timestamp", "2026-9-7 1:2:3", datetime(2026, 9, 7, 1, 2, 3)),
        ("date", "2026-9-7", date(2026, 9, 7)),
        ("array<string>", "x", ["x"]),
        ("int", "42", 42),
        ("string", {"b": [1, 2.50, True, "x"]}, '{"b":[1,2.5,true,"x"]}'),
    ],
)
def test_reported_coercions(hive_type: str, value: Any, expected: Any) -> None:
    serde = OpenXJsonSerDe([("c", hive_type)])
    assert serde.deserialize(json.dumps({"c": value}).encode()) == {"c": expected}


def test_an_epoch_number_past_the_year_9999_wraps_around() -> None:
    serde = OpenXJsonSerDe([("t", "timestamp")])
    assert serde.deserialize(b'{"t":999999999999}')["t"].year == 2092


def test_the_iso_form_needs_two_digits() -> None:
    with pytest.raises(ConversionError) as caught:
        OpenXJsonSerDe([("t", "timestamp")]).deserialize(b'{"t":"2026-9-7T12:00:02Z"}')
    assert caught.value.code == MALFORMED_DATA


@pytest.mark.parametrize(
    ("record", "code"),
    [
        (b'{"a":1', PARSE_ERROR),
        (b'{"a":1,}', PARSE_ERROR),
        (b"{'a':1}", PARSE_ERROR),
        (b"{a:1}", PARSE_ERROR),
        (b'{"a"=>1}', PARSE_ERROR),
        (b'{"a":1;"b":2}', PARSE_ERROR),
        (b'{"a":NaN}', PARSE_ERROR),
        (b'{"a":01}', PARSE_ERROR),
        (b'{"a":"x\ny"}', PARSE_ERROR),
        (b'{"a":"\xc3("}', PARSE_ERROR),
        (b'{"a":1} and then some', PARSE_ERROR),
        (b'{"a":' + b"[" * 100_000, PARSE_ERROR),
        (b'{"a":' + b"[" * 100_000 + b"]" * 100_000 + b"}", PARSE_ERROR),
        (b'{"a":' * 5000 + b"1" + b"}" * 5000, PARSE_ERROR),
        (b'{"a":1,"a":2}', MALFORMED_DATA),
        (b'{"a":1,"A":2}', MALFORMED_DATA),
        (b'{"z":{"q":1,"Q":2}}', MALFORMED_DATA),
        (b'[{"a":1}]', MALFORMED_DATA),
        (b"17", MALFORMED_DATA),
        (b"", MALFORMED_DATA),
        (b" \n\t", MALFORMED_DATA),
    ],
)
def test_records_that_are_not_objects(record: bytes, code: str) -> None:
    with pytest.raises(ConversionError) as caught:
        OpenXJsonSerDe([("a", "int")]).deserialize(record)
    assert caught.value.code == code


def test_brackets_in_strings_do_not_count_as_nesting() -> None:
    text = "[{" * 2000
    row = OpenXJsonSerDe([("a", "string")]).deserialize(json.dumps({"a": text}).encode())
    assert row == {"a": text}


def test_a_value_nested_to_the_limit_becomes_text_in_a_string_column() -> None:
    row = OpenXJsonSerDe([("a", "string")]).deserialize(b'{"a":' + b"[" * 399 + b"]" * 399 + b"}")
    assert row == {"a": "[" * 399 + "]" * 399}


def test_rows_of_a_record_end_at_the_document_that_fails() -> None:
    rows = OpenXJsonSerDe([("a", "int")]).rows(b'{"a":1}\n{"a":2}{"a":"x"}{"a":4}')
    assert next(rows) == {"a": 1}
    assert next(rows) == {"a": 2}
    with pytest.raises(ConversionError):
        next(rows)


@pytest.mark.parametrize(
    ("hive_type", "message"),
    [
        (
            "set<string>",
            "The schema is invalid. Error parsing the schema: Error: type expected at the position "
            "0 of 'set<string>' but 'set' is found.",
        ),
        (
            "array<binary>",
            "The schema is invalid. One or more columns have types that are not supported by "
            "org.openx.data.JsonSerDe",
        ),
        (
            "array<" * 5000 + "int" + ">" * 5000,
            "The schema is invalid. Error parsing the schema: The type is nested deeper than 128 "
            "levels. Declare what lies deeper as string, which holds JSON text.",
        ),
    ],
)
def test_unusable_schemas(hive_type: str, message: str) -> None:
    with pytest.raises(ConversionError) as caught:
        OpenXJsonSerDe([("ok", "string"), ("bad", hive_type)])
    assert (caught.value.code, caught.value.message) == (INVALID_SCHEMA, message)


@pytest.mark.parametrize(
    ("hive_type", "text", "expected"),
    [
        ("decimal(38,18)", "0.1000000000000000055511151231257827", "0.100000000000000006"),
        ("decimal(38,0)", "9" * 38, "9" * 38),
        ("decimal(10,2)", "1.005", "1.01"),
        ("decimal(10,2)", "-1.005", "-1.01"),
        ("decimal(10,2)", "1e7", "10000000.00"),
        ("decimal(10,2)", "99999999.995", None),
        ("decimal(10,2)", "1e999999999", None),
        ("decimal(10,2)", "1e-999999999", "0.00"),
        ("decimal(5,5)", "0.99999", "0.99999"),
        ("decimal(5,5)", "1", None),
    ],
)
def test_decimals_are_converted_exactly_with_that_option(
    hive_type: str, text: str, expected: str | None
) -> None:
    serde = OpenXJsonSerDe([("c", hive_type)], decimals="convert")
    record = f'{{"c":{text}}}'.encode()
    if expected is None:
        with pytest.raises(ConversionError, match="does not fit"):
            serde.deserialize(record)
    else:
        assert serde.deserialize(record) == {"c": Decimal(expected)}


JSON_VALUES = st.recursive(
    st.none()
    | st.booleans()
    | st.integers()
    | st.floats(allow_nan=False, allow_infinity=False)
    | st.text(),
    lambda inner: (
        st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=4), inner, max_size=4)
    ),
    max_leaves=12,
)
TYPES = st.sampled_from(
    [
        "string",
        "tinyint",
        "bigint",
        "float",
        "double",
        "boolean",
        "date",
        "timestamp",
        "decimal(10,2)",
        "char(3)",
        "array<string>",
        "map<string,string>",
        "map<int,array<double>>",
        "struct<a:int,b:array<struct<c:string>>>",
        "uniontype<int,string>",
    ]
)


def outcome_of(serde: OpenXJsonSerDe, record: bytes) -> list[list[str]] | str:
    """The column names of each row of a record, or the code of its error."""
    try:
        return [list(row) for row in serde.rows(record)]
    except ConversionError as error:
        return error.code


@given(st.dictionaries(st.sampled_from("abcd"), JSON_VALUES), st.lists(TYPES, max_size=4))
@settings(max_examples=300, deadline=None)
def test_any_document_is_a_row_or_a_conversion_error(
    document: dict[str, Any], types: list[str]
) -> None:
    columns = list(zip("abcd", types, strict=False))
    serde = OpenXJsonSerDe(columns, decimals="convert")
    outcome = outcome_of(serde, json.dumps(document).encode())
    assert outcome in (MALFORMED_DATA, [[name for name, _ in columns]])


@given(st.binary(max_size=40) | st.text('{}[]":,\\u0aA1.eE-+ ', max_size=30).map(str.encode))
@settings(max_examples=500, deadline=None)
def test_any_bytes_are_rows_or_a_conversion_error(record: bytes) -> None:
    serde = OpenXJsonSerDe([("a", "string")])
    outcome = outcome_of(serde, record)
    assert isinstance(outcome, list) or outcome in (PARSE_ERROR, MALFORMED_DATA)
