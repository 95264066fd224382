"""A prefix of a bucket mirrored to a folder and back."""

import uuid
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from ddb_pipeline.lake.mirror import mirror, upload_changes

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


def recorded_transfers(
    monkeypatch: pytest.MonkeyPatch, s3: Any, method: str
) -> list[tuple[str, ...]]:
    """The arguments of each call of a method of the client from now on."""
    calls: list[tuple[str, ...]] = []
    transfer = getattr(s3, method)

    def record(*arguments: str) -> None:
        calls.append(arguments)
        transfer(*arguments)

    monkeypatch.setattr(s3, method, record)
    return calls


def test_only_changed_objects_are_fetched(
    bucket: tuple[Any, str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    s3, name = bucket
    mirror(s3, name, PREFIX, tmp_path)
    assert files(tmp_path) == {"a.parquet", "old/b.parquet", "manifest.json"}
    fetched = recorded_transfers(monkeypatch, s3, "download_file")
    mirror(s3, name, PREFIX, tmp_path)
    assert fetched == []
    s3.put_object(Bucket=name, Key=PREFIX + "a.parquet", Body=b"a.parquet, longer")
    s3.delete_object(Bucket=name, Key=PREFIX + "manifest.json")
    mirror(s3, name, PREFIX, tmp_path)
    assert len(fetched) == 1
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
    uploaded = recorded_transfers(monkeypatch, s3, "upload_file")
    upload_changes(s3, name, PREFIX, before, last=("manifest.json",))
    assert [key for _, _, key in uploaded] == [PREFIX + "new/c.parquet", PREFIX + "manifest.json"]
    assert contents(s3, name) == {
        "a.parquet": "a.parquet",
        "manifest.json": "manifest.json, now",
        "new/c.parquet": "new/c.parquet, now",
        "of-another.parquet": "x",
    }
