"""Data files in Amazon Ion: each value as DynamoDB JSON."""

import gzip

import pytest

from ddb_pipeline.export.layout import (
    ItemChange,
)
from ddb_pipeline.export.manifest import (
    MalformedExportError,
)
from ddb_pipeline.export.read import read_changes, read_items
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
            "Price": {"N": "2E+3"},
            "big": {"N": "12345678901234567890123456789012345678"},
            "small": {"N": "-1.5E-130"},
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
        ('$ion_1_0 {Item:{id:"0"}', "it is not Ion"),
        ("$ion_1_0 {Item:{at:2026-11-24T}}", "no values of the Ion type TIMESTAMP"),
        ("$ion_1_0 {Item:{at:$other::[1.]}}", "is not a set of DynamoDB"),
        ('$ion_1_0 {Item:{at:$dynamodb_NS::["a"]}}', "is not a set of DynamoDB"),
        ("$ion_1_0 [1]", "in place of an item"),
    ],
)
def test_broken_ion(text: str, reason: str) -> None:
    objects, file = export_of_one_file(gzip.compress(text.encode()), item_count=1)
    with pytest.raises(MalformedExportError) as raised:
        list(read_items(objects.open, file, "ION"))
    assert reason in str(raised.value)


def test_ion_is_streamed() -> None:
    body = gzip.compress(ION_FILE.encode() * 20_000)
    objects, file = export_of_one_file(body, item_count=40_000)
    assert next(read_items(objects.open, file, "ION"))["id"] == {"S": "0"}
    assert sum(1 for _ in read_items(objects.open, file, "ION")) == 40_000
