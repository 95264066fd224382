"""Exports as they are written: full and incremental, with their manifests."""

import base64
import gzip
import hashlib
import json
from datetime import datetime, timezone
from typing import Any

import pytest

from ddb_pipeline.export.layout import (
    NEW_IMAGE,
    Export,
    ItemChange,
    export_folder,
    new_export_id,
    write_export,
    write_incremental_export,
)
from ddb_pipeline.export.manifest import (
    read_export,
)
from ddb_pipeline.export.read import read_changes
from ddb_pipeline_tests.support.export_bucket import (
    ARN,
    FOLDER,
    NOW,
    Objects,
    all_items,
    numbered_items,
    written,
)


def md5(body: bytes) -> str:
    return base64.b64encode(hashlib.md5(body).digest()).decode()


def test_full_layout() -> None:
    objects = Objects()
    export = written(objects, numbered_items(5), files=2, table_id="tid")
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
        numbered_items(3),
        lambda key, body: keys.append(key),
        table_arn=ARN,
        bucket="b",
        export_time=NOW,
        export_id="x",
    )
    assert keys[0] == "AWSDynamoDB/x/_started"
    assert keys[-1] == "AWSDynamoDB/x/manifest-summary.json"


def test_equal_items_produce_equal_bytes() -> None:
    first, second = Objects(), Objects()
    written(first, numbered_items(100))
    written(second, iter(numbered_items(100)))
    assert first == second


def test_an_export_without_items_has_empty_files() -> None:
    objects = Objects()
    export = written(objects, [], files=3)
    assert [file.item_count for file in export.files] == [0, 0, 0]
    assert [gzip.decompress(objects[file.key]) for file in export.files] == [b""] * 3
    assert all_items(objects, read_export(objects.open, FOLDER)) == []


def test_a_full_file_is_followed_by_another() -> None:
    objects = Objects()
    export = written(objects, numbered_items(1000), files=2, file_bytes=1000)
    assert len(export.files) > 20
    assert len({file.key for file in export.files}) == len(export.files)
    found = all_items(objects, read_export(objects.open, FOLDER))
    assert sorted(int(item["n"]["N"]) for item in found) == list(range(1000))


def test_binary_from_boto3_becomes_base64() -> None:
    objects = Objects()
    export = written(objects, [{"b": {"B": b"\x00\xff"}, "bs": {"BS": [b"a"]}}], files=1)
    assert all_items(objects, export) == [{"b": {"B": "AP8="}, "bs": {"BS": ["YQ=="]}}]


def test_a_value_that_is_not_in_the_typed_form() -> None:
    with pytest.raises(TypeError, match="not in DynamoDB's typed form"):
        written(Objects(), [{"a": {"N": 1j}}])


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
    export = incremental(objects, view=NEW_IMAGE)
    found = list(read_changes(objects.open, export.files[0]))
    assert found == [change._replace(old_image=None) for change in CHANGES]


def test_export_id_and_folder() -> None:
    assert new_export_id(NOW).startswith("01767323045678-")
    assert len(new_export_id(NOW)) == 23
    assert export_folder("/a/b/", "id") == "a/b/AWSDynamoDB/id/"
    assert export_folder("", "id") == "AWSDynamoDB/id/"
