"""Exports written and read back, and every way in which one can be broken."""

import base64
import gzip
import hashlib
import io
import json
from collections.abc import Callable
from datetime import datetime, timezone
from typing import Any, BinaryIO

import boto3
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from moto import mock_aws

from ddb_pipeline.export.layout import (
    NEW_IMAGES,
    Export,
    ItemChange,
    export_folder,
    new_export_id,
    write_export,
    write_incremental_export,
)
from ddb_pipeline.export.read import (
    ChecksumError,
    ExportError,
    ExportNotFinishedError,
    MalformedExportError,
    read_changes,
    read_export,
    read_items,
)
from ddb_pipeline_tests.support.export_bucket import s3_objects

NOW = datetime(2026, 1, 2, 3, 4, 5, 678_900, tzinfo=timezone.utc)
ARN = "arn:aws:dynamodb:eu-west-1:000000000000:table/search-logs"
FOLDER = "lake/AWSDynamoDB/01767323045678-a1b2c3d4/"


class Objects(dict[str, bytes]):
    """A bucket in memory."""

    def open(self, key: str) -> BinaryIO:
        if key not in self:
            raise FileNotFoundError(key)
        return io.BytesIO(self[key])


def items(count: int) -> list[dict[str, Any]]:
    return [{"id": {"S": str(number)}, "n": {"N": str(number)}} for number in range(count)]


def written(objects: Objects, some: Any, **options: Any) -> Export:
    return write_export(
        some,
        objects.__setitem__,
        table_arn=ARN,
        bucket="bucket",
        prefix="lake",
        export_id="01767323045678-a1b2c3d4",
        export_time=NOW,
        now=lambda: NOW,
        **options,
    )


def all_items(objects: Objects, export: Export) -> list[Any]:
    return [item for file in export.files for item in read_items(objects.open, file)]


def md5(body: bytes) -> str:
    return base64.b64encode(hashlib.md5(body).digest()).decode()


def test_full_layout() -> None:
    objects = Objects()
    export = written(objects, items(5), files=2, table_id="tid")
    fixed = ["_started", "manifest-files.json", "manifest-files.md5", "manifest-summary.json"]
    others = [key for key in objects if "/data/" not in key]
    assert sorted(others) == [FOLDER + name for name in [*fixed, "manifest-summary.md5"]]
    assert objects[f"{FOLDER}_started"] == b""
    assert json.loads(objects[f"{FOLDER}manifest-summary.json"]) == {
        "version": "2020-06-30",
        "exportArn": f"{ARN}/export/01767323045678-a1b2c3d4",
        "startTime": "2026-01-02T03:04:05.678Z",
        "endTime": "2026-01-02T03:04:05.678Z",
        "tableArn": ARN,
        "tableId": "tid",
        "exportTime": "2026-01-02T03:04:05.678Z",
        "s3Bucket": "bucket",
        "s3Prefix": "lake",
        "s3SseAlgorithm": "AES256",
        "s3SseKmsKeyId": None,
        "manifestFilesS3Key": f"{FOLDER}manifest-files.json",
        "billedSizeBytes": 0,
        "itemCount": 5,
        "outputFormat": "DYNAMODB_JSON",
    }
    lines = [json.loads(line) for line in objects[f"{FOLDER}manifest-files.json"].splitlines()]
    assert [line["itemCount"] for line in lines] == [3, 2]
    for line in lines:
        body = objects[line["dataFileS3Key"]]
        assert line["dataFileS3Key"].startswith(f"{FOLDER}data/")
        assert line["dataFileS3Key"].endswith(".json.gz")
        assert line["md5Checksum"] == md5(body)
        assert line["etag"] == hashlib.md5(body).hexdigest()
    for name in ("manifest-files", "manifest-summary"):
        assert objects[f"{FOLDER}{name}.md5"].decode() == md5(objects[f"{FOLDER}{name}.json"])
    first = gzip.decompress(objects[lines[0]["dataFileS3Key"]])
    assert first.splitlines()[0] == b'{"Item":{"id":{"S":"0"},"n":{"N":"0"}}}'
    assert read_export(objects.open, FOLDER) == export


def test_summary_is_written_last() -> None:
    keys: list[str] = []
    write_export(
        items(3),
        lambda key, body: keys.append(key),
        table_arn=ARN,
        bucket="b",
        export_time=NOW,
        export_id="x",
    )
    assert keys[0] == "AWSDynamoDB/x/_started"
    assert keys[-1] == "AWSDynamoDB/x/manifest-summary.json"


def test_same_items_same_bytes() -> None:
    first, second = Objects(), Objects()
    written(first, items(100))
    written(second, iter(items(100)))
    assert first == second


def test_no_items_leave_empty_files() -> None:
    objects = Objects()
    export = written(objects, [], files=3)
    assert [file.item_count for file in export.files] == [0, 0, 0]
    assert [gzip.decompress(objects[file.key]) for file in export.files] == [b""] * 3
    assert all_items(objects, read_export(objects.open, FOLDER)) == []


def test_full_files_are_closed_and_others_begun() -> None:
    objects = Objects()
    export = written(objects, items(1000), files=2, file_bytes=1000)
    assert len(export.files) > 20
    assert len({file.key for file in export.files}) == len(export.files)
    found = all_items(objects, read_export(objects.open, FOLDER))
    assert sorted(int(item["n"]["N"]) for item in found) == list(range(1000))


def test_binary_from_boto3_becomes_base64() -> None:
    objects = Objects()
    export = written(objects, [{"b": {"B": b"\x00\xff"}, "bs": {"BS": [b"a"]}}], files=1)
    assert all_items(objects, export) == [{"b": {"B": "AP8="}, "bs": {"BS": ["YQ=="]}}]


def test_value_outside_of_the_typed_form() -> None:
    with pytest.raises(TypeError, match="not in DynamoDB's typed form"):
        written(Objects(), [{"a": {"N": 1j}}])


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


# Incremental

CHANGES = [
    ItemChange({"id": {"S": "new"}}, {"id": {"S": "new"}}, None, 1_700_000_000_000_001),
    ItemChange(
        {"id": {"S": "changed"}},
        {"id": {"S": "changed"}, "n": {"N": "2"}},
        {"id": {"S": "changed"}, "n": {"N": "1"}},
        1_700_000_000_000_002,
    ),
    ItemChange({"id": {"S": "gone"}}, None, {"id": {"S": "gone"}}, 1_700_000_000_000_003),
]


def incremental(objects: Objects, **options: Any) -> Export:
    return write_incremental_export(
        CHANGES,
        objects.__setitem__,
        table_arn=ARN,
        bucket="bucket",
        export_id="x",
        from_time=datetime(2026, 1, 1, tzinfo=timezone.utc),
        to_time=datetime(2026, 1, 1, 1, tzinfo=timezone.utc),
        files=1,
        now=lambda: NOW,
        **options,
    )


def test_incremental_layout() -> None:
    objects = Objects()
    export = incremental(objects)
    summary = json.loads(objects["AWSDynamoDB/x/manifest-summary.json"])
    assert summary["version"] == "2023-08-01"
    assert summary["exportType"] == "INCREMENTAL_EXPORT"
    assert summary["outputView"] == "NEW_AND_OLD_IMAGES"
    assert summary["exportFromTime"] == "2026-01-01T00:00:00.000Z"
    assert summary["exportToTime"] == "2026-01-01T01:00:00.000Z"
    assert summary["s3Prefix"] is None
    assert "exportTime" not in summary
    read = read_export(objects.open, "AWSDynamoDB/x")
    assert read == export
    assert read.summary.incremental
    assert list(read_changes(objects.open, read.files[0])) == CHANGES
    line = gzip.decompress(objects[read.files[0].key]).splitlines()[2]
    assert json.loads(line) == {
        "Metadata": {"WriteTimestampMicros": {"N": "1700000000000003"}},
        "Keys": {"id": {"S": "gone"}},
        "OldImage": {"id": {"S": "gone"}},
    }


def test_incremental_with_new_images_only() -> None:
    objects = Objects()
    export = incremental(objects, view=NEW_IMAGES)
    found = list(read_changes(objects.open, export.files[0]))
    assert found == [change._replace(old_image=None) for change in CHANGES]


def test_null_image_is_a_delete() -> None:
    objects = Objects()
    export = incremental(objects)
    line = {
        "Metadata": {"WriteTimestampMicros": {"N": "5"}},
        "Keys": {"id": {"S": "a"}},
        "NewImage": None,
    }
    body = gzip.compress(json.dumps(line).encode() + b"\n")
    objects[export.files[0].key] = body
    file = export.files[0]._replace(item_count=1, md5=md5(body))
    assert list(read_changes(objects.open, file)) == [ItemChange(line["Keys"], None, None, 5)]  # type: ignore[arg-type]


# Broken exports


def rewrite(objects: Objects, name: str, change: Callable[[bytes], bytes]) -> None:
    """Change a manifest and give it the checksum that belongs to it."""
    body = change(objects[f"{FOLDER}{name}.json"])
    objects[f"{FOLDER}{name}.json"] = body
    objects[f"{FOLDER}{name}.md5"] = md5(body).encode()


def replaced(name: str, old: bytes, new: bytes) -> Callable[[Objects], None]:
    return lambda objects: rewrite(objects, name, lambda body: body.replace(old, new))


def removed(*names: str) -> Callable[[Objects], None]:
    def remove(objects: Objects) -> None:
        for name in names:
            del objects[FOLDER + name]

    return remove


def cut(name: str) -> Callable[[Objects], None]:
    return lambda objects: objects.update({FOLDER + name: objects[FOLDER + name][:-1]})


BROKEN: list[tuple[Callable[[Objects], None], type[ExportError], str, str]] = [
    (removed("manifest-summary.json"), ExportNotFinishedError, "manifest-summary.json", "running"),
    (removed("manifest-files.json"), ExportNotFinishedError, "manifest-files.json", "summary is"),
    (removed("manifest-files.md5"), ChecksumError, "manifest-files.json", "no checksum object"),
    (cut("manifest-summary.json"), ChecksumError, "manifest-summary.json", "its MD5 is"),
    (cut("manifest-files.json"), ChecksumError, "manifest-files.json", "its MD5 is"),
    (
        replaced("manifest-summary", b"2020-06-30", b"2031-01-01"),
        MalformedExportError,
        "manifest-summary.json",
        "version '2031-01-01' is neither",
    ),
    (
        replaced("manifest-summary", b"tableArn", b"table"),
        MalformedExportError,
        "manifest-summary.json",
        "KeyError('tableArn')",
    ),
    (
        replaced("manifest-summary", b'"itemCount":5', b'"itemCount":6'),
        ChecksumError,
        "manifest-files.json",
        "hold 5 items, the summary says 6",
    ),
    (
        replaced("manifest-files", b"dataFileS3Key", b"key"),
        MalformedExportError,
        "manifest-files.json",
        "line 1 is no data file",
    ),
    (
        lambda objects: rewrite(objects, "manifest-files", lambda body: b"[1]\n"),
        MalformedExportError,
        "manifest-files.json",
        "line 1 is not a JSON object",
    ),
    (
        lambda objects: rewrite(objects, "manifest-summary", lambda body: b"{"),
        MalformedExportError,
        "manifest-summary.json",
        "line 1 is not JSON",
    ),
]


@pytest.mark.parametrize(("breaking", "error", "key", "reason"), BROKEN)
def test_broken_manifest(
    breaking: Callable[[Objects], None], error: type[ExportError], key: str, reason: str
) -> None:
    objects = Objects()
    written(objects, items(5))
    breaking(objects)
    with pytest.raises(error) as raised:
        read_export(objects.open, FOLDER)
    assert raised.value.key == FOLDER + key
    assert reason in str(raised.value)


def test_checksum_by_its_documented_name() -> None:
    objects = Objects()
    export = written(objects, items(5))
    for name in ("manifest-summary", "manifest-files"):
        objects[f"{FOLDER}{name}.checksum"] = objects.pop(f"{FOLDER}{name}.md5")
    assert read_export(objects.open, f"{FOLDER}manifest-summary.json") == export


def data_file(body: bytes, **changes: Any) -> tuple[Objects, Any]:
    objects = Objects()
    export = written(objects, items(2), files=1)
    objects[export.files[0].key] = body
    return objects, export.files[0]._replace(md5=md5(body), **changes)


GOOD = gzip.compress(b'{"Item":{"id":{"S":"0"}}}\n{"Item":{"id":{"S":"1"}}}\n')


@pytest.mark.parametrize(
    ("body", "changes", "error", "reason"),
    [
        (GOOD, {"md5": "other"}, ChecksumError, "the manifest says other"),
        (GOOD, {"item_count": 3}, ChecksumError, "holds 2 items, the manifest says 3"),
        (GOOD[:-9], {}, MalformedExportError, "not whole gzip"),
        (b"plain text", {}, MalformedExportError, "not whole gzip"),
        (GOOD + b"garbage", {}, MalformedExportError, "not whole gzip"),
        (gzip.compress(b"{\n"), {}, MalformedExportError, "line 1 is not JSON"),
        (gzip.compress(b"{}\n"), {}, MalformedExportError, "line 1 holds no Item"),
        (gzip.compress(b"\xff\n"), {}, MalformedExportError, "line 1 is not JSON"),
        (GOOD, {"key": "gone"}, MalformedExportError, "not in the bucket"),
    ],
)
def test_broken_data_file(
    body: bytes, changes: dict[str, Any], error: type[ExportError], reason: str
) -> None:
    objects, file = data_file(body)
    file = file._replace(**changes)
    with pytest.raises(error) as raised:
        list(read_items(objects.open, file))
    assert raised.value.key == file.key
    assert reason in str(raised.value)


def test_data_file_of_several_gzip_members_and_blank_lines() -> None:
    body = gzip.compress(b'{"Item":{"a":{"S":"0"}}}\r\n\n') + gzip.compress(b'{"Item":{}}')
    objects, file = data_file(body)
    assert list(read_items(objects.open, file)) == [{"a": {"S": "0"}}, {}]


def test_change_line_without_keys() -> None:
    objects, file = data_file(gzip.compress(b'{"Metadata":{}}\n'), item_count=1)
    with pytest.raises(MalformedExportError, match="line 1 is no item state"):
        list(read_changes(objects.open, file))


def test_export_id_and_folder() -> None:
    assert new_export_id(NOW).startswith("01767323045678-")
    assert len(new_export_id(NOW)) == 23
    assert export_folder("/a/b/", "id") == "a/b/AWSDynamoDB/id/"
    assert export_folder("", "id") == "AWSDynamoDB/id/"


def test_from_a_bucket() -> None:
    with mock_aws():
        s3 = boto3.client("s3", region_name="us-east-1")
        s3.create_bucket(Bucket="lake")
        export = write_export(
            items(50),
            lambda key, body: s3.put_object(Bucket="lake", Key=key, Body=body) and None,
            table_arn=ARN,
            bucket="lake",
            export_time=NOW,
        )
        folder = export.summary.manifest_files_key.rpartition("/")[0]
        open_object = s3_objects(s3, "lake")
        found = [
            i for f in read_export(open_object, folder).files for i in read_items(open_object, f)
        ]
        assert sorted(int(item["n"]["N"]) for item in found) == list(range(50))
        with pytest.raises(ExportNotFinishedError):
            read_export(open_object, "elsewhere")


ION_FILE = (
    '$ion_1_0 {Item:{id:"0",Authors:$dynamodb_SS::["Author1","Author2"],Price:2d3,'
    "big:12345678901234567890123456789012345678.,small:-1.5d-130,InPublication:false,none:null,"
    "raw:{{AAE=}},raws:$dynamodb_BS::[{{AAE=}}],pages:$dynamodb_NS::[1.,2.50],"
    'list:[1.,{a:"x"},[]],map:{\'we ird\':{},S:"x"}}}\n'
    '$ion_1_0 {Item:{id:"caf\\u00e9 \\"quoted\\"\\n"}}\n'
)


def test_data_file_in_ion() -> None:
    objects, file = data_file(gzip.compress(ION_FILE.encode()))
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
    objects, file = data_file(gzip.compress(line.encode()), item_count=1)
    assert list(read_changes(objects.open, file, "ION")) == [
        ItemChange({"id": {"S": "a"}}, None, None, 5)
    ]


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ('$ion_1_0 {Item:{id:"0"}', "it is not Ion"),
        ("$ion_1_0 {Item:{at:2026-11-24T}}", "no values of Ion's type TIMESTAMP"),
        ("$ion_1_0 {Item:{at:$other::[1.]}}", "is no set of DynamoDB's"),
        ('$ion_1_0 {Item:{at:$dynamodb_NS::["a"]}}', "is no set of DynamoDB's"),
        ("$ion_1_0 [1]", "where an item should"),
    ],
)
def test_broken_ion(text: str, reason: str) -> None:
    objects, file = data_file(gzip.compress(text.encode()), item_count=1)
    with pytest.raises(MalformedExportError) as raised:
        list(read_items(objects.open, file, "ION"))
    assert reason in str(raised.value)


def test_ion_is_read_as_it_is_needed() -> None:
    body = gzip.compress(ION_FILE.encode() * 20_000)
    objects, file = data_file(body, item_count=40_000)
    assert next(read_items(objects.open, file, "ION"))["id"] == {"S": "0"}
    assert sum(1 for _ in read_items(objects.open, file, "ION")) == 40_000
