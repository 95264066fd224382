"""Files accessed through Spark's file systems."""

from pathlib import Path
from typing import Any

import pytest

from ddb_pipeline.spark.arguments import RelevanceError
from ddb_pipeline.spark.storage import Storage


def test_writing_replaces_a_text_and_leaves_no_other_file(session: Any, tmp_path: Path) -> None:
    storage = Storage(session)
    uri = (tmp_path / "deeper" / "manifest.json").as_uri()
    assert storage.read_text(uri) is None
    for text in ("first", "the second, longer, ünïcode"):
        storage.write_text(uri, text)
        assert storage.read_text(uri) == text
    visible = [path.name for path in tmp_path.rglob("*.json*") if not path.name.startswith(".")]
    assert visible == ["manifest.json"]


def test_files_without_data_are_not_listed(session: Any, tmp_path: Path) -> None:
    for name in ("b/x.parquet", "a.parquet", "_SUCCESS", ".hidden", "empty.parquet"):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).write_bytes(b"" if name.startswith("empty") else b"12")
    storage = Storage(session)
    found = storage.files(str(tmp_path))
    assert [file.uri.removeprefix(tmp_path.as_uri().replace("//", "")) for file in found] == [
        "/a.parquet",
        "/b/x.parquet",
    ]
    assert {file.size for file in found} == {2}
    assert storage.folders(str(tmp_path)) == ["b"]
    storage.delete_folder(str(tmp_path / "b"))
    assert storage.folders(str(tmp_path)) == []
    assert not storage.files(str(tmp_path / "nowhere"))
    assert not storage.folders(str(tmp_path / "nowhere"))


def test_a_relative_path_is_refused(session: Any) -> None:
    with pytest.raises(RelevanceError, match="neither a URI nor an absolute path"):
        Storage(session).files("somewhere")
