"""A prefix of a bucket mirrored to a folder and back."""

import uuid
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from ddb_pipeline.lake.layout import DeliveryHour, hour_of_key
from ddb_pipeline.lake.mirror import UnsafeKeyError, mirror, relative_paths, upload_changes
from ddb_pipeline.lake.objects import StoredObject
from ddb_pipeline.lake.root import LakeRoot

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


@pytest.mark.embedded
def test_only_changed_objects_are_fetched(
    bucket: tuple[Any, str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    s3, name = bucket
    mirror(s3, LakeRoot(name), PREFIX, tmp_path)
    assert files(tmp_path) == {"a.parquet", "old/b.parquet", "manifest.json"}
    fetched = recorded_transfers(monkeypatch, s3, "download_file")
    mirror(s3, LakeRoot(name), PREFIX, tmp_path)
    assert fetched == []
    s3.put_object(Bucket=name, Key=PREFIX + "a.parquet", Body=b"a.parquet, longer")
    s3.delete_object(Bucket=name, Key=PREFIX + "manifest.json")
    mirror(s3, LakeRoot(name), PREFIX, tmp_path)
    assert len(fetched) == 1
    assert files(tmp_path) == {"a.parquet", "old/b.parquet"}
    assert (tmp_path / "a.parquet").read_text() == "a.parquet, longer"
    mirror(s3, LakeRoot(name), PREFIX, tmp_path, start_after=PREFIX + "a.parquet")
    assert files(tmp_path) == {"old/b.parquet"}


@pytest.mark.embedded
def test_new_files_are_uploaded_and_the_manifest_last(
    bucket: tuple[Any, str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    s3, name = bucket
    before = mirror(s3, LakeRoot(name), PREFIX, tmp_path)
    (tmp_path / "new").mkdir()
    for path in ("new/c.parquet", "new/.c.parquet.crc", "new/_SUCCESS", "manifest.json"):
        (tmp_path / path).write_text(f"{path}, now")
    (tmp_path / "old" / "b.parquet").unlink()
    s3.put_object(Bucket=name, Key=PREFIX + "of-another.parquet", Body=b"x")
    uploaded = recorded_transfers(monkeypatch, s3, "upload_file")
    upload_changes(s3, LakeRoot(name), PREFIX, before, last=("manifest.json",))
    assert [key for _, _, key in uploaded] == [PREFIX + "new/c.parquet", PREFIX + "manifest.json"]
    assert contents(s3, name) == {
        "a.parquet": "a.parquet",
        "manifest.json": "manifest.json, now",
        "new/c.parquet": "new/c.parquet, now",
        "of-another.parquet": "x",
    }


@pytest.mark.embedded
@pytest.mark.parametrize("name", ["/outside", "../outside", "old/../../outside"])
def test_nothing_is_written_outside_of_the_folder(
    bucket: tuple[Any, str], tmp_path: Path, name: str
) -> None:
    s3, bucket_name = bucket
    key = PREFIX + (f"{tmp_path}/outside" if name.startswith("/") else name)
    s3.put_object(Bucket=bucket_name, Key=key, Body=b"hostile")
    folder = tmp_path / "copies" / "relevance"
    with pytest.raises(UnsafeKeyError) as raised:
        mirror(s3, LakeRoot(bucket_name), PREFIX, folder)
    assert repr(key) in str(raised.value)
    assert files(tmp_path) == set()


@pytest.mark.parametrize(
    ("name", "reason"),
    [
        ("/etc/x", "part that is empty"),
        ("a//b", "part that is empty"),
        ("", "part that is empty"),
        ("..", "'..'"),
        ("a/../b", "'..'"),
        ("./a", "'.'"),
        ("..\\a", "backslash"),
        ("a\0b", "NUL"),
        ("C:a", "drive letter"),
        ("c:/a", "drive letter"),
        ("a/" + "x" * 256, "more than 255 bytes"),
        ("a/" + "é" * 128, "more than 255 bytes"),
    ],
)
def test_a_key_that_leaves_the_folder(name: str, reason: str) -> None:
    with pytest.raises(UnsafeKeyError, match=reason) as raised:
        relative_paths([stored(PREFIX + "a.parquet"), stored(PREFIX + name)], PREFIX)
    assert raised.value.key == PREFIX + name


def test_a_key_of_another_prefix() -> None:
    with pytest.raises(UnsafeKeyError, match="does not begin with"):
        relative_paths([stored("other/a")], PREFIX)


def test_a_file_that_is_a_folder_too() -> None:
    with pytest.raises(UnsafeKeyError, match="is a folder of 'relevance/a/b/c' too"):
        relative_paths([stored(PREFIX + "a"), stored(PREFIX + "a/b/c")], PREFIX)


@pytest.mark.parametrize("name", ["a", "a/b=c/d.parquet", "..a/b..", "...", "é", "a b", "ab:c"])
def test_ordinary_names(name: str) -> None:
    [path] = relative_paths([stored(PREFIX + name)], PREFIX)
    assert path.as_posix() == name


def stored(key: str) -> StoredObject:
    return StoredObject(key, 1, "etag", 0.0)


HOUR = "delivery_date=2026-11-24/delivery_hour=09/"


@pytest.mark.parametrize(
    ("key", "hour"),
    [
        (f"stream/{HOUR}a.parquet", DeliveryHour("2026-11-24", "09")),
        (f"stream/x/{HOUR}a.parquet", None),
        (f"/stream/{HOUR}a.parquet", None),
        (f"other/stream/{HOUR}a.parquet", None),
        (HOUR, None),
        ("stream/delivery_date=2026-11-24/delivery_hour=24/a", None),
        ("stream/delivery_date=2026-11-31/delivery_hour=09/a", None),
        ("stream/delivery_date=2026-13-01/delivery_hour=09/a", None),
        ("stream/delivery_date=٢٠٢٦-11-24/delivery_hour=09/a", None),
        ("stream/delivery_date=2026-11-24/delivery_hour=9/a", None),
    ],
)
def test_the_hour_of_a_key(key: str, hour: DeliveryHour | None) -> None:
    assert hour_of_key(key) == hour
