"""Data files in Amazon Ion: each value as DynamoDB JSON."""

import gzip
import json
from base64 import b64decode
from collections.abc import Callable, Mapping
from decimal import Decimal
from typing import Any

import pytest

from ddb_pipeline.export.ion import json_line
from ddb_pipeline.export.layout import ItemChange
from ddb_pipeline.export.manifest import (
    MalformedExportError,
)
from ddb_pipeline.export.read import read_blocks, read_changes, read_items
from ddb_pipeline_tests.support.export_bucket import (
    export_of_one_file,
)

ION_FILE = (
    '$ion_1_0 {Item:{id:"0",Authors:$dynamodb_SS::["Author1","Author2"],Price:2d3,'
    "big:12345678901234567890123456789012345678.,small:-1.5d-130,InPublication:false,none:null,"
    "raw:{{AAE=}},raws:$dynamodb_BS::[{{AAE=}}],pages:$dynamodb_NS::[1.,2.50],"
    'list:[1.,{a:"x"},[]],map:{\'we ird\':{},S:"x"}}}\n'
    '$ion_1_0 {Item:{id:"caf\\u00e9 \\"quoted\\"\\n"}}\n'
)


def test_data_file_in_ion() -> None:
    objects, file = export_of_one_file(gzip.compress(ION_FILE.encode()))
    assert list(read_items(objects.open, file, "ION")) == [
        {
            "id": {"S": "0"},
            "Authors": {"SS": ["Author1", "Author2"]},
            "Price": {"N": "2000"},
            "big": {"N": "12345678901234567890123456789012345678"},
            "small": {"N": f"-0.{'0' * 129}15"},
            "InPublication": {"BOOL": False},
            "none": {"NULL": True},
            "raw": {"B": "AAE="},
            "raws": {"BS": ["AAE="]},
            "pages": {"NS": ["1", "2.50"]},
            "list": {"L": [{"N": "1"}, {"M": {"a": {"S": "x"}}}, {"L": []}]},
            "map": {"M": {"we ird": {"M": {}}, "S": {"S": "x"}}},
        },
        {"id": {"S": 'caf\u00e9 "quoted"\n'}},
    ]


def test_change_in_ion() -> None:
    line = '$ion_1_0 {Metadata:{WriteTimestampMicros:5.},Keys:{id:"a"},NewImage:null}\n'
    objects, file = export_of_one_file(gzip.compress(line.encode()), item_count=1)
    assert list(read_changes(objects.open, file, "ION")) == [
        ItemChange({"id": {"S": "a"}}, None, None, 5)
    ]


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ('{Item:{id:"0"}', "',' is missing"),
        ('{Item:{id:"0', "a text without end"),
        ("{Item:{at:2026-11-24T}}", "an unknown token"),
        ("{Item:{at:$other::[1.]}}", "type SYMBOL"),
        ("{Item:{at:word}}", "type SYMBOL"),
        ("{Item:{at:null.string}}", "is missing"),
        ("{Item:{at:1.5e0}}", "an unknown token"),
        ("{Item:{at:(1. 2.)}}", "an unknown token"),
        ("{Item:{at:'''long'''}}", "begins no value"),
        ("{Item:{at:/* comment */1.}}", "an unknown token"),
        ("{Item:{$10:1.}}", "is not a field's name"),
        ("{Item:{null:1.}}", "is not a field's name"),
        ("{Item:{at:1.,at:2.}}", "a name comes twice"),
        ('{Item:{at:$dynamodb_NS::["a"]}}', "an element of $dynamodb_NS is of another type"),
        ("{Item:{at:1d999999999}}", "outside of DynamoDB's range"),
        ("{Item:{at:1d-999999999999999999999}}", "outside of DynamoDB's range"),
        ("{Item:{at:{{AA=A=}}}}", "not base64"),
        ("{Item:{at:{{AAE=}}", "',' is missing"),
        ("{Item:{at:{{AAE=", "a blob without end"),
        (r'{Item:{at:"\ud800"}}', "half a surrogate pair"),
        (r'{Item:{at:"\U00110000"}}', "an escape past Unicode"),
        (r'{Item:{at:"\q"}}', "an unknown escape"),
        ('{Item:{at:"\0"}}', "a text without end"),
        ("{Item:1.}", "not a struct"),
        ("[1]", "'{' is missing"),
        ("{Item:{}} {Item:{}}", "something follows"),
        ("{Item:{a:" + "[" * 100 + "]" * 100 + "}}", "nested deeper"),
        ("{Item:{a:" + "[" * 100_000, "nested deeper"),
        ("", "'{' is missing"),
    ],
)
def test_a_value_that_dynamodb_does_not_write_rejects_its_line(text: str, reason: str) -> None:
    good = '$ion_1_0 {Item:{id:"1"}}'
    body = gzip.compress(f"{good}\n$ion_1_0 {text}\n{good}".encode())
    objects, file = export_of_one_file(body, item_count=3)
    [(block, [rejected])] = read_blocks(objects.open, file, "ION")
    assert block == b'{"Item":{"id":{"S":"1"}}}\n' * 2
    assert reason in rejected.reason
    assert rejected.line == f"$ion_1_0 {text}".encode()
    with pytest.raises(MalformedExportError, match="line 1 cannot be read"):
        list(read_items(objects.open, file, "ION"))


@pytest.mark.parametrize("hexadecimal", ["e00100eaeea98183dea587be8449", "e00100ea"])
def test_binary_ion_is_refused(hexadecimal: str) -> None:
    """amazon.ion never ends on the first."""
    objects, file = export_of_one_file(gzip.compress(bytes.fromhex(hexadecimal)), item_count=1)
    with pytest.raises(MalformedExportError, match="binary Ion"):
        list(read_blocks(objects.open, file, "ION"))


@pytest.mark.parametrize(
    "value",
    [
        *("0.", "-0.5", "600", "6d2", "1.50d1", "0.00000001", "9.9d125", "1d-130"),
        "12345678901234567890123456789012345678.",
        *("{{}}", "{{ AA E= }}", "null", "true", "false"),
        *('""', r'"\0\a\x41\u00e9\U0001f600\ud83d\ude00"', r'''"it's \"quoted\" \/ \n"'''),
        *("[ ]", "[ 1. , ]", "[[[{a:[]}]]]", '$dynamodb_SS :: [ "a" ]'),
        r"""{'we \' ird':1.,"quoted":2.,$x:3.}""",
    ],
)
def test_values_are_those_of_the_reference_implementation(value: str) -> None:
    from amazon.ion.simpleion import loads

    [found] = json.loads(json_line(f"$ion_1_0 {{Item:{{a:{value}}}}}".encode()))["Item"].items()
    assert plain(found[1]) == reference(loads(f"{{a:{value}}}")["a"])


def plain(typed: dict[str, Any]) -> Any:
    """A value of DynamoDB JSON as a Python value."""
    [(tag, content)] = typed.items()
    if tag == "M":
        return {name: plain(inner) for name, inner in content.items()}
    if tag == "L":
        return [plain(element) for element in content]
    readers: dict[str, Callable[[Any], Any]] = {
        "N": Decimal,
        "B": b64decode,
        "NULL": lambda _: None,
    }
    return readers[tag](content) if tag in readers else content


def reference(value: Any) -> Any:
    if isinstance(value, Mapping):
        return {name: reference(inner) for name, inner in value.items()}
    if isinstance(value, list):
        return [reference(element) for element in value]
    kind = value.ion_type.name
    if kind == "NULL":
        return None
    if kind == "INT":
        return Decimal(value)
    return bool(value) if kind == "BOOL" else value


def test_numbers_are_written_as_in_dynamodb_json() -> None:
    lines = [b'$ion_1_0 {Item:{id:"k1",p:6d2}}', b'$ion_1_0 {Item:{id:"k2",p:0.00000001}}']
    texts = [json.loads(json_line(line))["Item"]["p"]["N"] for line in lines]
    assert texts == ["600", "0.00000001"]


def test_ion_is_streamed() -> None:
    body = gzip.compress(ION_FILE.encode() * 5_000)
    objects, file = export_of_one_file(body, item_count=10_000)
    assert next(read_items(objects.open, file, "ION"))["id"] == {"S": "0"}
    assert sum(1 for _ in read_items(objects.open, file, "ION")) == 10_000
