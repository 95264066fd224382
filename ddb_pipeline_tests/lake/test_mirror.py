"""A prefix of a bucket mirrored to a folder and back."""

import uuid
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from ddb_pipeline.lake.mirror import mirror, publish

pytestmark = pytest.mark.embedded
PREFIX = "relevance/"


@pytest.fixture
def bucket(aws_client: Callable[[str], Any]) -> tuple[Any, str]:
    s3, name = aws_client("s3"), f"mirrored-{uuid.uuid4().hex[:8]}"
    s3.create_bucket(Bucket=name)
    for key in ("a.parquet", "old/b.parquet", "manifest.json"):
        s3.put_object(Bucket=name, Key=PREFIX + key, Body=key.encode())
    return s3, name


def contents(s3: Any, bucket: str) -> dict[str, str]:
    listed = s3.list_objects_v2(Bucket=bucket, Prefix=PREFIX)["Contents"]
    return {
        entry["Key"].removeprefix(PREFIX): s3.get_object(Bucket=bucket, Key=entry["Key"])["Body"]
        .read()
        .decode()
        for entry in listed
    }


def files(folder: Path) -> set[str]:
    return {p.relative_to(folder).as_posix() for p in folder.rglob("*") if p.is_file()}


def test_only_changed_objects_are_fetched(bucket: tuple[Any, str], tmp_path: Path) -> None:
    s3, name = bucket
    assert mirror(s3, name, PREFIX, tmp_path).fetched == 3
    assert mirror(s3, name, PREFIX, tmp_path).fetched == 0
    s3.put_object(Bucket=name, Key=PREFIX + "a.parquet", Body=b"a.parquet, longer")
    s3.delete_object(Bucket=name, Key=PREFIX + "manifest.json")
    assert mirror(s3, name, PREFIX, tmp_path).fetched == 1
    assert files(tmp_path) == {"a.parquet", "old/b.parquet"}
    assert (tmp_path / "a.parquet").read_text() == "a.parquet, longer"
    mirror(s3, name, PREFIX, tmp_path, is_needed=lambda key: "/old/" in key)
    assert files(tmp_path) == {"old/b.parquet"}


def test_new_files_are_uploaded_and_the_manifest_last(
    bucket: tuple[Any, str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    s3, name = bucket
    before = mirror(s3, name, PREFIX, tmp_path)
    (tmp_path / "new").mkdir()
    for path in ("new/c.parquet", "new/.c.parquet.crc", "new/_SUCCESS", "manifest.json"):
        (tmp_path / path).write_text(f"{path}, now")
    (tmp_path / "old" / "b.parquet").unlink()
    s3.put_object(Bucket=name, Key=PREFIX + "of-another.parquet", Body=b"x")
    order: list[str] = []
    upload = s3.upload_file

    def upload_file(file: str, bucket: str, key: str) -> None:
        order.append(key)
        upload(file, bucket, key)

    monkeypatch.setattr(s3, "upload_file", upload_file)
    assert publish(s3, name, PREFIX, before, last=("manifest.json",)) == 2
    assert order == [PREFIX + "new/c.parquet", PREFIX + "manifest.json"]
    assert contents(s3, name) == {
        "a.parquet": "a.parquet",
        "manifest.json": "manifest.json, now",
        "new/c.parquet": "new/c.parquet, now",
        "of-another.parquet": "x",
    }
