"""Incremental exports in DynamoDB's layout: read, their types inferred, converted to datasets."""

import gzip
import json
from collections.abc import Iterable
from datetime import datetime, timedelta, timezone
from pathlib import Path
from typing import Any

import pyarrow.dataset
import pytest

from ddb_pipeline.dynamodb.values import Item
from ddb_pipeline.export.changes import change_rows, key_names, moment_micros
from ddb_pipeline.export.convert import convert_export, infer_export
from ddb_pipeline.export.layout import (
    ION,
    NEW_AND_OLD_IMAGES,
    NEW_IMAGE,
    Export,
    ItemChange,
    md5_text,
    write_incremental_export,
)
from ddb_pipeline.export.manifest import ChecksumError, MalformedExportError
from ddb_pipeline.export.source import ExportFolder
from ddb_pipeline.hive.infer import inferred_schema
from ddb_pipeline.parquet.publish import Destination
from ddb_pipeline_tests.support.exports import ARN, LOCAL, NOW, opened, order, write_local_export

COLUMNS = [("id", "string"), ("n", "bigint"), ("tags", "array<string>"), ("note", "string")]
COLUMNS += [("total", "decimal(12,2)"), ("day", "string")]


def changed(number: int, *, deleted: bool = False) -> ItemChange:
    new: Item | None = None if deleted else order(number)
    key = {"id": order(number)["id"]}
    return ItemChange(key, new, order(number), 1_700_000_000_000_000 + number)


def write_changes(
    folder: Path, changes: Iterable[ItemChange], *, files: int = 3, view: str = NEW_AND_OLD_IMAGES
) -> Path:
    def put(key: str, body: bytes) -> None:
        path = folder / key
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(body)

    export = write_incremental_export(
        changes,
        put,
        table_arn=ARN,
        bucket="b",
        from_time=NOW - timedelta(hours=1),
        to_time=NOW,
        view=view,
        files=files,
        now=lambda: NOW,
    )
    return folder / export.summary.manifest_files_key.rpartition("/")[0]


def rows_in(open_object: ExportFolder, export: Export, **options: Any) -> list[dict[str, Any]]:
    found = []
    for table, rejected in change_rows(open_object, export, COLUMNS, **options):
        assert not rejected
        found += table.to_pylist()
    return sorted(found, key=lambda row: row["ddb_keys"])


@pytest.mark.parametrize("view", [NEW_AND_OLD_IMAGES, NEW_IMAGE])
def test_changes_are_rows_with_key_event_and_time(tmp_path: Path, view: str) -> None:
    changes = [changed(n, deleted=n % 2 == 1) for n in range(4)]
    export = opened(write_changes(tmp_path, changes, view=view))
    rows = rows_in(*export)
    assert [row["ddb_event_name"] for row in rows] == ["UPSERT", "REMOVE", "UPSERT", "REMOVE"]
    assert rows[3] == {
        **{name: None for name, _ in COLUMNS},
        "id": "order 000003",
        "ddb_keys": '{"id":"order 000003"}',
        "ddb_event_name": "REMOVE",
        "ddb_write_time": datetime(2023, 11, 14, 22, 13, 20, 3),
    }
    assert rows[2]["tags"] == ["a", "t2"]
    assert key_names(*export) == ("id",)


def test_types_are_those_of_new_images_and_keys(tmp_path: Path) -> None:
    deleted = ItemChange({"id": {"S": "x"}, "k": {"N": "7"}}, None, {"old": {"S": "o"}}, 5)
    export = opened(write_changes(tmp_path, [changed(3), deleted]))
    found = {c.name: c.type for c in inferred_schema(infer_export(*export)).columns}
    assert "old" not in found
    assert (found["k"], found["id"], found["tags"]) == ("bigint", "string", "set<string>")


@pytest.mark.parametrize("files", [0, 1, 3])
def test_an_empty_window_with_empty_data_files_or_none(tmp_path: Path, files: int) -> None:
    source = write_changes(tmp_path, [])
    open_object, export = opened(source)
    export = Export(export.summary, export.files[:files])
    assert rows_in(open_object, export) == []
    assert key_names(open_object, export) == ()
    assert infer_export(open_object, export).items == 0
    target = tmp_path / "lake"
    assert convert_export(open_object, export, [], Destination(LOCAL, str(target))).rows == 0


def test_a_copy_may_have_the_data_files_beside_the_manifests(tmp_path: Path) -> None:
    source = write_changes(tmp_path / "export", map(changed, range(9)))
    shared = source.parent / "data"
    assert len(list(shared.iterdir())) == 3
    before = rows_in(*opened(source))
    (source / "data").mkdir()
    for file in shared.iterdir():
        file.rename(source / "data" / file.name)
    assert rows_in(*opened(source)) == before


def test_data_files_are_verified(tmp_path: Path) -> None:
    source = write_changes(tmp_path, map(changed, range(9)))
    file = min((source.parent / "data").iterdir())
    body = file.read_bytes()
    file.write_bytes(gzip.compress(gzip.decompress(body) + b"\n"))
    with pytest.raises(ChecksumError, match="MD5"):
        rows_in(*opened(source))
    file.unlink()
    with pytest.raises(MalformedExportError, match="not in the bucket"):
        rows_in(*opened(source))


def test_ion_as_the_developer_guide_shows_it(tmp_path: Path) -> None:
    change = (
        '{Keys:{id:"a"},Metadata:{WriteTimestampMicros:1684374845117899.},'
        'OldImage:{id:"a",tags:$dynamodb_SS::["x"]},NewImage:{id:"a",n:12.,tags:$dynamodb_SS::["y"]}}'
    )
    deleted = '{Keys:{id:"b"},Metadata:{WriteTimestampMicros:1684374845117900.},NewImage:null}'
    for number, lines in enumerate(
        ([change, deleted], [f"{{Record:{change}}}", f"{{Record:{deleted}}}"])
    ):
        source = write_changes(tmp_path / str(number), [], files=1)
        text = "".join(f"$ion_1_0 {line}\n" for line in lines)
        rewrite(source, gzip.compress(text.encode()), 2, ION)
        rows = rows_in(*opened(source))
        assert [row["ddb_keys"] for row in rows] == ['{"id":"a"}', '{"id":"b"}']
        assert (rows[0]["n"], rows[0]["tags"], rows[1]["n"]) == (12, ["y"], None)
        assert rows[0]["ddb_write_time"] == datetime(2023, 5, 18, 1, 54, 5, 117899)
        assert rows[1]["ddb_event_name"] == "REMOVE"


def rewrite(source: Path, body: bytes, items: int, output_format: str) -> None:
    """Replace the one data file of an export, and state its format."""
    [file] = (source.parent / "data").iterdir()
    file.write_bytes(body)
    manifest = json.loads((source / "manifest-files.json").read_text())
    manifest |= {"md5Checksum": md5_text(body), "itemCount": items}
    summary = json.loads((source / "manifest-summary.json").read_text())
    summary |= {"outputFormat": output_format, "itemCount": items}
    for name, document in (("manifest-files", manifest), ("manifest-summary", summary)):
        text = json.dumps(document).encode()
        (source / f"{name}.json").write_bytes(text)
        (source / f"{name}.md5").write_text(md5_text(text))


def test_a_full_export_as_changes_at_its_time(tmp_path: Path) -> None:
    export = opened(write_local_export(tmp_path, map(order, range(5))))
    rows = rows_in(*export, key_names=("id", "n"))
    assert [row["ddb_keys"] for row in rows][1] == '{"id":"order 000001","n":1}'
    assert {row["ddb_write_time"] for row in rows} == {NOW.replace(tzinfo=None)}
    assert moment_micros(export[1], export[1].summary.export_time) == NOW.timestamp() * 1e6


def test_a_dataset_of_changes(tmp_path: Path) -> None:
    source = write_changes(tmp_path, [changed(n, deleted=n % 3 == 0) for n in range(30)])
    target = Destination(LOCAL, str(tmp_path / "lake"))
    converted = convert_export(*opened(source), COLUMNS, target)
    assert (converted.rows, converted.rejected, converted.exact_lines) == (30, 0, 0)
    table = pyarrow.dataset.dataset(tmp_path / "lake").to_table()
    expected = rows_in(*opened(source))
    assert table.column_names == list(expected[0])
    found = sorted(table.to_pylist(), key=lambda row: row["ddb_keys"])
    assert [row | {"ddb_write_time": None} for row in found] == [
        row | {"ddb_write_time": None} for row in expected
    ]
    times = [row["ddb_write_time"].replace(tzinfo=timezone.utc) for row in found]
    assert times == [row["ddb_write_time"].replace(tzinfo=timezone.utc) for row in expected]
    assert convert_export(*opened(source), COLUMNS, target) == converted


def test_a_line_that_is_no_change_is_rejected_whole(tmp_path: Path) -> None:
    source = write_changes(tmp_path, [], files=1)
    good = b'{"Metadata":{"WriteTimestampMicros":{"N":"5"}},"Keys":{"id":{"S":"a"}}}'
    wrong = b'{"Metadata":{"WriteTimestampMicros":{"N":"5"}},"Keys":{"id":{"S":"a"}},"NewImage":7}'
    extra = good[:-1] + b',"NewImage":{"id":{"S":"a"},"other":{"N":"1"}}}'
    rewrite(source, gzip.compress(b"\n".join([good, wrong, extra])), 3, "DYNAMODB_JSON")
    [(table, rejected)] = change_rows(*opened(source), COLUMNS)
    assert len(table) == 1
    assert {line.line: (line.path, line.reason) for line in rejected} == {
        wrong: ("", "NewImage is not an object"),
        extra: ("other", "there is no column for this attribute"),
    }
