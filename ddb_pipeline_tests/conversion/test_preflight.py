"""What Firehose would do to documents: refusals, drops and coercions by path."""

import json
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from ddb_pipeline.conversion.convert import convert
from ddb_pipeline.conversion.options import DELIVERY_OPTIONS
from ddb_pipeline.conversion.preflight import Preflight
from ddb_pipeline.conversion.preflight_report import (
    MAX_EXAMPLES,
    MAX_SHOWN,
    PreflightReport,
    Verdict,
)
from ddb_pipeline.hive.types import Column

REFUSED, DROPPED, COERCED = Verdict


def preflight(columns: dict[str, str], *documents: bytes) -> PreflightReport:
    check = Preflight([Column(name, text) for name, text in columns.items()])
    for number, document in enumerate(documents, 1):
        check.check(document, f"line {number}")
    return check.report()


def found(report: PreflightReport) -> list[tuple[Verdict, str]]:
    return [(finding.verdict, finding.path) for finding in report.findings]


@pytest.mark.parametrize(
    ("hive_type", "value", "expected"),
    [
        ("bigint", "1", []),
        ("bigint", "null", []),
        ("bigint", '"7"', [(COERCED, "c")]),
        ("bigint", "7.5", [(REFUSED, "c")]),
        ("bigint", "9223372036854775808", [(REFUSED, "c")]),
        ("bigint", "true", [(REFUSED, "c")]),
        ("tinyint", "128", [(REFUSED, "c")]),
        ("double", "0.1", []),
        ("double", "12345678901234567890.5", [(COERCED, "c")]),
        ("double", "1E400", [(COERCED, "c")]),
        ("double", "1E-400", [(COERCED, "c")]),
        ("double", '"1.5"', [(COERCED, "c")]),
        ("float", "0.1", []),
        ("float", "16777217", [(COERCED, "c")]),
        ("string", '"x"', []),
        ("string", "5", [(COERCED, "c")]),
        ("string", '{"a":1}', [(COERCED, "c")]),
        ("boolean", "false", []),
        ("boolean", '"yes"', [(COERCED, "c")]),
        ("timestamp", '"2026-01-01 00:00:00"', []),
        ("timestamp", "1700000000", [(COERCED, "c")]),
        ("timestamp", '"yesterday"', [(REFUSED, "c")]),
        ("timestamp", '"2026-01-01T00:00:00.123456Z"', []),
        ("timestamp", '"2026-01-01T00:00:00.123456789Z"', [(COERCED, "c")]),
        ("timestamp", '"2026-01-01T00:00:00+05:30"', [(COERCED, "c")]),
        ("timestamp", '"2026-01-01T00:00:00+05:00"', []),
        ("timestamp", '"2026-02-30 00:00:00"', [(COERCED, "c")]),
        ("date", '"2026-01-01"', []),
        ("date", '"2026-02-30"', [(COERCED, "c")]),
        ("date", '"2026-01-01T23:59:59-12:00"', [(COERCED, "c")]),
        ("char(3)", '"a "', [(COERCED, "c")]),
        ("char(3)", '"a"', []),
        ("string", r'"\ud800"', [(COERCED, "c")]),
        ("string", r'"\ud83d\ude00"', []),
        ("array<bigint>", "[1,2]", []),
        ("array<bigint>", "1", [(COERCED, "c")]),
        ("array<bigint>", '""', [(COERCED, "c")]),
        ("array<bigint>", '[1,"x",2]', [(REFUSED, "c[]")]),
        ("struct<a:int,B:string>", '{"a":1,"b":"x"}', []),
        ("struct<a:int,B:string>", '{"a":1,"b":2}', [(COERCED, "c.b")]),
        ("struct<a:int,B:string>", '{"a":"x","b":"y"}', [(REFUSED, "c.a")]),
        ("struct<a:int>", '{"a":1,"other":2}', [(DROPPED, "c.other")]),
        ("struct<a:int>", '{"a":1,"other":null}', []),
        ("struct<a:int>", "[1]", [(COERCED, "c")]),
        ("struct<a:int>", "[1,2]", [(DROPPED, "c"), (COERCED, "c")]),
        ("struct<a:int>", '"x"', [(REFUSED, "c")]),
        ("map<string,bigint>", '{"k":1}', []),
        ("map<string,bigint>", '{"Key":1,"KEY":2}', []),
        ("struct<a:int>", '{"A":1}', [(DROPPED, "c.A")]),
        ("map<string,bigint>", '{"k":"x"}', [(REFUSED, "c[]")]),
        ("map<string,struct<a:int>>", '{"k":{"a":1,"b":2}}', [(DROPPED, "c[].b")]),
        ("array<struct<a:array<int>>>", '[{"a":[1]},{"a":[1,"x"]}]', [(REFUSED, "c[].a[]")]),
    ],
)
def test_values(hive_type: str, value: str, expected: list[tuple[Verdict, str]]) -> None:
    assert found(preflight({"c": hive_type}, f'{{"c":{value}}}'.encode())) == expected


@pytest.mark.parametrize(
    "document",
    [
        b"",
        b"{",
        b"[1]",
        b'{"c":1,"c":2}',
        b'{"c":NaN}',
        b"\xff",
        b'{"c":"' + b"x" * 1_024_000 + b'"}',
    ],
)
def test_refusals_of_whole_documents(document: bytes) -> None:
    report = preflight({"c": "string"}, document)
    assert found(report) == [(REFUSED, "(document)")]
    assert report.refused == 1


def test_a_record_of_several_documents() -> None:
    report = preflight({"c": "int"}, b'{"c":1}{"c":"x"}\n{"c":2}{')
    assert report.documents == 4
    assert [(e.document, e.value) for f in report.findings for e in f.examples] == [
        ("line 1, document 4", '{"c":1}{"c":"x"}\n{"c":2}{'),
        ("line 1, document 2", '"x"'),
    ]


@pytest.mark.parametrize("hive_type", ["set<string>", "binary", "array<binary>", "strnig"])
def test_a_column_with_which_no_record_is_converted(hive_type: str) -> None:
    report = preflight(
        {"good": "int", "bad": hive_type}, b'{"good":1,"bad":["a"]}', b'{"good":"x"}'
    )
    first, second = report.findings
    assert (first.verdict, first.path, first.documents) == (REFUSED, "bad", 2)
    assert "InvalidSchema" in first.reason
    assert (second.path, second.documents) == ("good", 1)
    assert report.refused == report.documents == 2
    assert not report.clean


def test_keys_of_a_map_that_are_written_as_others() -> None:
    check = Preflight([Column("m", "array<map<string,int>>"), Column("s", "struct<a_b:int>")])
    item = {
        "M": {"L": [{"M": {"2024-01-01": {"N": "1"}, "a": {"N": "2"}}}]},
        "s": {"M": {"a-b": {"N": "1"}}},
    }
    check.check(b'{"m":[{"2024-01-01":1,"a":2}],"s":{"a_b":1}}', "same", item)
    assert check.report().findings == ()
    check.check(b'{"m":[{"2024_01_01":1,"a":2}],"s":{"a_b":1}}', "others", item)
    (finding,) = check.report().findings
    assert (finding.verdict, finding.path, finding.documents) == (COERCED, "m[]", 1)
    assert finding.examples[0].result == '["2024_01_01","a"]'


def test_the_example_of_a_key_with_a_dot() -> None:
    (finding,) = preflight({"c": "int"}, b'{"c":1,"a.b":"shown"}').findings
    assert (finding.verdict, finding.path) == (DROPPED, "a.b")
    assert finding.examples[0].value == '"shown"'


def test_a_name_declared_twice_is_a_schema_error() -> None:
    check = Preflight([Column("a", "int"), Column("a", "int")])
    check.check(b"{}", "line 1")
    assert found(check.report()) == [(REFUSED, "(schema)")]


def test_counts_examples_and_columns_without_values() -> None:
    documents = [f'{{"c":"{"x" * 200}{n}"}}'.encode() for n in range(5)]
    report = preflight({"c": "int", "never": "string"}, *documents, b'{"c":1,"never":null}')
    (finding,) = report.findings
    assert (report.documents, report.refused, finding.documents) == (6, 5, 5)
    assert len(finding.examples) == MAX_EXAMPLES
    assert all(len(example.value) == MAX_SHOWN for example in finding.examples)
    assert report.absent == ("never",)


def test_a_value_nested_to_the_limit_is_shown_truncated() -> None:
    value = b'{"a":' * 398 + b"1" + b"}" * 398
    (finding,) = preflight({"c": "string"}, b'{"c":' + value + b"}").findings
    assert finding.verdict is COERCED
    assert finding.examples[0].value == ('{"a":' * 16)[: MAX_SHOWN - 1] + "…"


def test_delivery_columns_are_not_reported() -> None:
    columns = {"ddb_event_time": "timestamp", "ddb_event_id": "string"}
    report = preflight(columns, b'{"ddb_event_time":1700000000,"ddb_event_id":"e"}')
    assert (report.findings, report.absent) == ((), ())


SCALARS = st.none() | st.booleans() | st.integers(-(2**70), 2**70) | st.text(max_size=5)
VALUES = st.recursive(
    SCALARS,
    lambda inner: (
        st.lists(inner, max_size=3)
        | st.dictionaries(st.sampled_from(["a", "B", "x"]), inner, max_size=3)
    ),
    max_leaves=8,
)
TYPES = st.recursive(
    st.sampled_from(["int", "bigint", "double", "string", "boolean", "timestamp", "decimal(5,2)"]),
    lambda inner: (
        st.builds("array<{}>".format, inner)
        | st.builds("map<string,{}>".format, inner)
        | st.builds("struct<a:{},b:{}>".format, inner, inner)
    ),
    max_leaves=4,
)


@given(TYPES, VALUES)
@settings(max_examples=300, deadline=None)
def test_the_conversion_refuses_the_same_documents(hive_type: str, value: Any) -> None:
    document = json.dumps({"c": value}).encode()
    report = preflight({"c": hive_type}, document)
    failures = convert([document], [("c", hive_type)], DELIVERY_OPTIONS).failures
    assert report.refused == len(failures)
    assert any(verdict is REFUSED for verdict, _ in found(report)) == bool(failures)
