"""Manifests that are read: verified, and refused with a reason where they are broken."""

import re
from collections.abc import Callable

import boto3
import pytest
from moto import mock_aws

from ddb_pipeline.export.layout import (
    md5_text,
    write_export,
)
from ddb_pipeline.export.manifest import (
    ChecksumError,
    ExportError,
    ExportNotFinishedError,
    MalformedExportError,
    read_export,
)
from ddb_pipeline.export.read import read_items
from ddb_pipeline_tests.support.export_bucket import (
    ARN,
    FOLDER,
    NOW,
    Objects,
    numbered_items,
    s3_objects,
    written,
)


def rewrite(objects: Objects, name: str, change: Callable[[bytes], bytes]) -> None:
    """Change a manifest and give it the checksum that belongs to it."""
    body = change(objects[f"{FOLDER}{name}.json"])
    objects[f"{FOLDER}{name}.json"] = body
    objects[f"{FOLDER}{name}.md5"] = md5_text(body).encode()


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
    (
        removed("manifest-files.json"),
        ExportNotFinishedError,
        "manifest-files.json",
        "summary does",
    ),
    (
        removed("manifest-files.md5"),
        ChecksumError,
        "manifest-files.json",
        "checksum object is",
    ),
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
        "hold 5 items, the summary states 6",
    ),
    (
        replaced("manifest-files", b"dataFileS3Key", b"key"),
        MalformedExportError,
        "manifest-files.json",
        "line 1 does not describe a data file",
    ),
    (
        lambda objects: rewrite(objects, "manifest-files", lambda body: b"[1]\n"),
        MalformedExportError,
        "manifest-files.json",
        "line 1: it is not a JSON object",
    ),
    (
        lambda objects: rewrite(objects, "manifest-summary", lambda body: b"{"),
        MalformedExportError,
        "manifest-summary.json",
        "it is not JSON",
    ),
]


@pytest.mark.parametrize(("breaking", "error", "key", "reason"), BROKEN)
def test_broken_manifest(
    breaking: Callable[[Objects], None], error: type[ExportError], key: str, reason: str
) -> None:
    objects = Objects()
    written(objects, numbered_items(5))
    breaking(objects)
    with pytest.raises(error) as raised:
        read_export(objects.open, FOLDER)
    assert raised.value.key == FOLDER + key
    assert reason in str(raised.value)


def test_checksum_by_its_documented_name() -> None:
    objects = Objects()
    export = written(objects, numbered_items(5))
    for name in ("manifest-summary", "manifest-files"):
        objects[f"{FOLDER}{name}.checksum"] = objects.pop(f"{FOLDER}{name}.md5")
    assert read_export(objects.open, f"{FOLDER}manifest-summary.json") == export


def test_from_a_bucket() -> None:
    with mock_aws():
        s3 = boto3.client("s3", region_name="us-east-1")
        s3.create_bucket(Bucket="lake")
        export = write_export(
            numbered_items(50),
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


@pytest.mark.parametrize(
    ("member", "value"),
    [
        ("itemCount", "Infinity"),
        ("itemCount", "NaN"),
        ("itemCount", "1e400"),
        ("itemCount", "-1"),
        ("itemCount", "true"),
        ("itemCount", '"5"'),
        ("itemCount", "9" * 400),
        ("itemCount", "9" * 5000),
        ("itemCount", "[" * 5000),
        ("dataFileS3Key", '"data/a\\u0000b"'),
        ("dataFileS3Key", '"data/\\ud800"'),
        ("dataFileS3Key", "[]"),
        ("md5Checksum", "5"),
        ("tableArn", '"\\u0000"'),
        ("outputFormat", "{}"),
        ("s3Prefix", '"\\udfff"'),
        ("billedSizeBytes", "1e400"),
    ],
)
def test_a_member_that_dynamodb_does_not_write(member: str, value: str) -> None:
    objects = Objects()
    written(objects, numbered_items(5), files=1)
    for name in ("manifest-summary", "manifest-files"):
        rewrite(
            objects,
            name,
            lambda body: re.sub(
                rb'("%s":)("[^"]*"|[^,}]*)' % member.encode(),
                lambda found: found[1] + value.encode(),
                body,
            ),
        )
    with pytest.raises(MalformedExportError):
        read_export(objects.open, FOLDER)
