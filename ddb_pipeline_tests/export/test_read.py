"""Data files that are read: items and changes, and the ways in which a file can be broken."""

import gzip
import json
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from ddb_pipeline.export.layout import (
    ItemChange,
)
from ddb_pipeline.export.manifest import (
    ChecksumError,
    ExportError,
    MalformedExportError,
    read_export,
)
from ddb_pipeline.export.read import read_changes, read_items
from ddb_pipeline_tests.support.export_bucket import (
    FOLDER,
    Objects,
    all_items,
    export_of_one_file,
    written,
)

texts = st.text(max_size=20)


values = st.recursive(
    st.one_of(texts.map(lambda t: {"S": t}), st.just({"NULL": True}), st.just({"N": "1.10"})),
    lambda inner: st.lists(inner, max_size=3).map(lambda elements: {"L": elements}),
    max_leaves=5,
)


@given(st.lists(st.dictionaries(texts, values, max_size=4), max_size=12), st.integers(1, 5))
@settings(max_examples=40)
def test_round_trip(some: list[Any], files: int) -> None:
    objects = Objects()
    written(objects, some, files=files)
    found = all_items(objects, read_export(objects.open, FOLDER))
    assert sorted(map(repr, found)) == sorted(map(repr, some))


# The tests' names hold the bodies: without a time they are the same in every process.
GOOD = gzip.compress(b'{"Item":{"id":{"S":"0"}}}\n{"Item":{"id":{"S":"1"}}}\n', mtime=0)


@pytest.mark.parametrize(
    ("body", "changes", "error", "reason"),
    [
        (GOOD, {"md5": "other"}, ChecksumError, "the manifest states other"),
        (GOOD, {"item_count": 3}, ChecksumError, "holds 2 items, the manifest states 3"),
        (GOOD[:-9], {}, MalformedExportError, "not a complete gzip"),
        (b"plain text", {}, MalformedExportError, "not a complete gzip"),
        (GOOD + b"garbage", {}, MalformedExportError, "not a complete gzip"),
        (gzip.compress(b"{\n", mtime=0), {}, MalformedExportError, "it is not JSON"),
        (
            gzip.compress(b"{}\n", mtime=0),
            {},
            MalformedExportError,
            "it holds no Item",
        ),
        (gzip.compress(b"\xff\n", mtime=0), {}, MalformedExportError, "it is not JSON"),
        (GOOD, {"key": "gone"}, MalformedExportError, "not in the bucket"),
    ],
)
def test_broken_data_file(
    body: bytes, changes: dict[str, Any], error: type[ExportError], reason: str
) -> None:
    objects, file = export_of_one_file(body)
    file = file._replace(**changes)
    with pytest.raises(error) as raised:
        list(read_items(objects.open, file))
    assert raised.value.key == file.key
    assert reason in str(raised.value)


def test_data_file_of_several_gzip_members_and_blank_lines() -> None:
    body = gzip.compress(b'{"Item":{"a":{"S":"0"}}}\r\n\n') + gzip.compress(b'{"Item":{}}')
    objects, file = export_of_one_file(body)
    assert list(read_items(objects.open, file)) == [{"a": {"S": "0"}}, {}]


def test_a_null_image_is_a_deleted_item() -> None:
    line = {
        "Metadata": {"WriteTimestampMicros": {"N": "5"}},
        "Keys": {"id": {"S": "a"}},
        "NewImage": None,
    }
    body = gzip.compress(json.dumps(line).encode() + b"\n")
    objects, file = export_of_one_file(body, item_count=1)
    [change] = read_changes(objects.open, file)
    assert change == ItemChange({"id": {"S": "a"}}, None, None, 5)


def test_change_line_without_keys() -> None:
    objects, file = export_of_one_file(gzip.compress(b'{"Metadata":{}}\n'), item_count=1)
    with pytest.raises(MalformedExportError, match="line 1 is not a changed item"):
        list(read_changes(objects.open, file))
