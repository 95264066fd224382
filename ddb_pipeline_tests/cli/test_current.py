"""``ddb-pipeline current``: a chain of exports as AWS lays them out becomes the table."""

import json
import random
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pyarrow.dataset as ds
import pyarrow.fs
import pytest
from click.testing import CliRunner

from ddb_pipeline.cli.main import cli
from ddb_pipeline.embedded.process import Endpoint
from ddb_pipeline.errors import DdbPipelineError
from ddb_pipeline.lake.current.chain import (
    GapError,
    OtherTableError,
    OverlapError,
    WrongExportError,
)
from ddb_pipeline.lake.current.keys import KeyColumnError, canonical_text
from ddb_pipeline.lake.current.manifest import ManifestError
from ddb_pipeline.lake.root import LakeRoot
from ddb_pipeline_tests.support.random_histories import same
from ddb_pipeline_tests.support.table_history import Chain, Item, random_history, write_chain


def current(*arguments: Any) -> Any:
    """The command's JSON object."""
    return json.loads(text_of(*arguments, "--json"))


def text_of(*arguments: Any, status: int = 0) -> str:
    result = CliRunner().invoke(cli, ["current", *map(str, arguments)])
    if result.exception is not None and not isinstance(result.exception, SystemExit):
        raise result.exception
    assert result.exit_code == status, result.output
    return result.output if status else result.stdout


def changes(folders: list[Path]) -> list[str]:
    return [word for folder in folders for word in ("--changes", str(folder))]


def assert_is_table(rows: list[dict[str, Any]], items: dict[str, Item]) -> None:
    left = {canonical_text(key): item for key, item in items.items()}
    for row in rows:
        item = dict(left.pop(row.pop("ddb_keys")))
        for name, value in row.items():
            if not name.startswith("ddb_") and name != "key_bucket":
                assert same(item.pop(name, {"NULL": True}), value), (name, value)
        assert not item
    assert not left


def rows_in(folder: Path) -> list[dict[str, Any]]:
    rows: list[dict[str, Any]] = ds.dataset(folder, partitioning="hive").to_table().to_pylist()
    return rows


def chain_in(folder: Path, key_types: str = "S", incrementals: int = 20) -> Chain:
    return write_chain(
        folder,
        random_history(random.Random(7), key_types=key_types),
        incrementals=incrementals,
    )


@pytest.mark.parametrize("key_types", ["S", "NB", "SN"])
def test_a_full_export_and_twenty_incremental_ones(tmp_path: Path, key_types: str) -> None:
    chain = chain_in(tmp_path / "exports", key_types)
    view = tmp_path / "view"
    arguments = [view, "--full", chain.full, *changes(chain.changes)]
    found = current(*arguments)
    items = chain.items(20)
    assert_is_table(rows_in(view), items)
    assert found["rows"] == len(items)
    assert found["buckets"] == found["buckets_rewritten"] == 1
    assert len(found["applied"]) == 21
    assert found["as_of"] == "2026-11-20T20:00:00Z"
    assert found["conflicts"] == []
    assert found["key"] == sorted(("id", "at")[: len(key_types)])
    assert found["deletes_applied"] >= 0
    assert found["seconds"] > 0
    # The same again.
    before = {path: path.stat().st_mtime_ns for path in view.rglob("*") if path.is_file()}
    again = current(*arguments)
    assert (again["applied"], again["buckets_rewritten"]) == ([], 0)
    assert (again["rows"], again["version"]) == (found["rows"], found["version"])
    assert len(again["skipped"]) == 21
    assert {path: path.stat().st_mtime_ns for path in view.rglob("*") if path.is_file()} == before


def test_export_after_export(tmp_path: Path) -> None:
    chain = chain_in(tmp_path / "exports")
    view = tmp_path / "view"
    # Alone, the full export does not state the key.
    first = current(view, "--full", chain.full)
    assert (first["rows"], first["key"]) == (len(chain.items(0)), [])
    deleted = 0
    for number, folder in enumerate(chain.changes, 1):
        found = current(view, "--changes", folder)
        deleted += found["deletes_applied"]
        assert found["rows"] == len(chain.items(number))
        assert_is_table(rows_in(view), chain.items(number))
    assert deleted > 0
    # "mixed" was a number first, and a text later.
    assert ["mixed", "string"] in found["columns"]
    listed = text_of(view, "--list").split()
    assert listed == [str(path) for path in sorted(view.rglob("*.parquet"))]
    assert current(view)["rows"] == found["rows"]
    assert text_of(view).startswith(f"{found['rows']} rows as of 2026-11-20T20:00:00Z")


def test_more_buckets(tmp_path: Path) -> None:
    chain = chain_in(tmp_path / "exports", incrementals=2)
    view = tmp_path / "view"
    current(view, "--full", chain.full, "--key", "id", "--buckets", 2)
    grown = current(view, "--buckets", 8)
    assert (grown["buckets"], grown["buckets_rewritten"]) == (8, 8)
    found = current(view, *changes(chain.changes))
    assert found["buckets"] == 8
    assert_is_table(rows_in(view), chain.items(2))
    assert {path.parent.name for path in view.rglob("*.parquet")} == {
        f"key_bucket={number}" for number in range(8)
    }


def test_what_is_refused_changes_nothing(tmp_path: Path) -> None:
    chain = chain_in(tmp_path / "exports", incrementals=4)
    other = write_chain(
        tmp_path / "other",
        random_history(random.Random(1)),
        incrementals=1,
        table_arn="arn:aws:dynamodb:eu-west-1:000000000000:table/other",
    )
    view = tmp_path / "view"
    one, two, three, _ = chain.changes
    cases: list[tuple[list[Any], type[DdbPipelineError], tuple[str, ...]]] = [
        (["--changes", two], GapError, ("2026-11-20T01:00:00Z", "2026-11-20T00:00:00Z")),
        (changes([one, three]), GapError, ("2026-11-20T01:00:00Z", "2026-11-20T02:00:00Z")),
        (changes([other.changes[0]]), OtherTableError, ("table/other", "table/orders")),
        (["--changes", chain.full], WrongExportError, ("--full",)),
        (["--full", other.full], OtherTableError, ("table/other", "table/orders")),
        (["--full", one], WrongExportError, ("incremental",)),
        ([*changes([one]), "--key", "id,other"], KeyColumnError, ("'other'",)),
    ]
    before = current(view, "--full", chain.full, "--key", "id")
    for arguments, error, named in cases:
        with pytest.raises(error) as raised:
            text_of(view, *arguments)
        assert all(text in str(raised.value) for text in named), raised.value
        assert current(view)["version"] == before["version"]
    current(view, *changes([one, two]))
    longer = write_chain(
        tmp_path / "longer",
        chain.history,
        incrementals=1,
        every=(chain.times[2] - chain.times[0]) / 4,
    )
    with pytest.raises(OverlapError, match=r"00:30.*02:00"):
        text_of(view, *changes(longer.changes))


@pytest.mark.parametrize(
    ("arguments", "reason"),
    [
        ([], "no current view yet"),
        (["--list"], "no current view yet"),
        (["--full", "x", "--buckets", "0"], "0 is not in the range"),
    ],
)
def test_calls_without_a_view(tmp_path: Path, arguments: list[str], reason: str) -> None:
    assert reason in text_of(tmp_path / "view", *arguments, status=2)


def test_a_folder_with_something_else(tmp_path: Path) -> None:
    chain = chain_in(tmp_path / "exports", incrementals=1)
    (tmp_path / "view").mkdir()
    (tmp_path / "view" / "notes.txt").write_text("x")
    with pytest.raises(ManifestError, match=r"notes\.txt"):
        text_of(tmp_path / "view", "--full", chain.full)


def test_a_key_that_is_none(tmp_path: Path) -> None:
    chain = chain_in(tmp_path / "exports", incrementals=1)
    with pytest.raises(KeyColumnError, match="'nothing'"):
        text_of(tmp_path / "view", "--full", chain.full, "--key", "nothing")


def test_a_damaged_export_changes_nothing(tmp_path: Path) -> None:
    chain = chain_in(tmp_path / "exports", incrementals=2)
    view = tmp_path / "view"
    before = current(view, "--full", chain.full, "--changes", chain.changes[0])
    shutil.rmtree(tmp_path / "exports" / "AWSDynamoDB" / "data")
    with pytest.raises(DdbPipelineError, match="not in the bucket"):
        text_of(view, "--changes", chain.changes[1])
    assert current(view)["version"] == before["version"]
    assert [path.name for path in tmp_path.glob(".view*")] == []


@pytest.mark.embedded
def test_in_buckets(
    tmp_path: Path,
    embedded_aws: Endpoint,
    aws_client: Callable[[str], Any],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    from ddb_pipeline.cli import current as command
    from ddb_pipeline.embedded.clients import client_arguments
    from ddb_pipeline.lake.current.object_store import S3Manifest
    from ddb_pipeline.lake.current.store import BucketStore
    from ddb_pipeline.resources.filesystem import s3_filesystem

    s3 = aws_client("s3")
    s3.create_bucket(Bucket="current-view")
    filesystem = s3_filesystem(client_arguments(embedded_aws))
    chain = chain_in(tmp_path / "exports", incrementals=3)
    pyarrow.fs.copy_files(
        str(tmp_path / "exports"), "current-view/exports", destination_filesystem=filesystem
    )

    def located(location: str) -> tuple[pyarrow.fs.FileSystem, str]:
        return filesystem, location.removeprefix("s3://")

    def store(destination: str) -> BucketStore:
        path = located(destination)[1]
        key = f"{path.partition('/')[2]}/_current/manifest.json"
        return BucketStore(filesystem, path, S3Manifest(s3, LakeRoot("current-view"), key))

    monkeypatch.setattr(command, "filesystem_and_path", located)
    monkeypatch.setattr(command, "open_store", store)
    view = "s3://current-view/lake/view"
    exports = [
        f"s3://current-view/exports/{folder.relative_to(tmp_path / 'exports')}"
        for folder in (chain.full, *chain.changes)
    ]
    for number, export in enumerate(exports):
        found = current(view, "--changes" if number else "--full", export, "--buckets", 2)
        assert found["rows"] == len(chain.items(number))
    table = ds.dataset("current-view/lake/view", filesystem=filesystem, partitioning="hive")
    assert_is_table(table.to_table().to_pylist(), chain.items(3))
    listed = text_of(view, "--list").split()
    keys = [o["Key"] for o in s3.list_objects_v2(Bucket="current-view", Prefix="lake/")["Contents"]]
    names = [key for key in keys if key.endswith(".parquet")]
    assert sorted(listed) == [f"s3://current-view/{name}" for name in names]
    others = {key for key in keys if key not in names and not key.endswith("/")}
    assert {key.split("/")[2] for key in others} == {"_current"}
    assert not [key for key in others if "/work-" in key]
    again = current(view, "--full", exports[0], "--changes", exports[3])
    assert again["buckets_rewritten"] == 0
