"""Publication of a dataset: complete, by one writer, and once."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pyarrow.compute as pc
import pyarrow.dataset
import pyarrow.fs
import pytest

from ddb_pipeline.embedded.clients import client_arguments
from ddb_pipeline.embedded.process import Endpoint
from ddb_pipeline.export.convert import convert_export
from ddb_pipeline.parquet.partition_by import PartitionBy
from ddb_pipeline.parquet.parts import PartOptions
from ddb_pipeline.parquet.publish import Destination, PublishError
from ddb_pipeline.resources.filesystem import s3_filesystem
from ddb_pipeline_tests.support.exports import (
    COLUMNS,
    converted,
    opened,
    order,
    write_local_export,
)


def test_a_repeated_call_changes_nothing_and_other_options_are_refused(tmp_path: Path) -> None:
    source = write_local_export(tmp_path, map(order, range(50)))
    first = converted(source, tmp_path / "lake")
    before = {p: p.stat().st_mtime_ns for p in (tmp_path / "lake").rglob("*")}
    assert converted(source, tmp_path / "lake") == first
    assert {p: p.stat().st_mtime_ns for p in (tmp_path / "lake").rglob("*")} == before
    with pytest.raises(PublishError, match="is not empty"):
        converted(source, tmp_path / "lake", options=PartOptions(compression="gzip"))


def test_a_second_writer_is_refused(tmp_path: Path) -> None:
    source = write_local_export(tmp_path, map(order, range(20)))
    seen: list[str] = []

    def again(tasks: Any, work: Any, report_items: Any) -> Any:
        with pytest.raises(PublishError, match="Another process"):
            converted(source, tmp_path / "lake")
        seen.append("refused")
        return (work.run(task, report_items) for task in tasks)

    assert converted(source, tmp_path / "lake", run_tasks=again).rows == 20
    assert seen == ["refused"]
    assert sorted(path.name for path in tmp_path.iterdir()) == ["AWSDynamoDB", "lake"]


def test_staging_folders_of_other_options_are_deleted(tmp_path: Path) -> None:
    source = write_local_export(tmp_path, map(order, range(20)))

    def stop(tasks: Any, work: Any, report_items: Any) -> Any:
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        converted(
            source, tmp_path / "lake", run_tasks=stop, options=PartOptions(compression="gzip")
        )
    assert [path for path in tmp_path.iterdir() if ".converting" in path.name]
    converted(source, tmp_path / "lake")
    assert sorted(path.name for path in tmp_path.iterdir()) == ["AWSDynamoDB", "lake"]


def test_in_an_object_store(
    embedded_aws: Endpoint, aws_client: Callable[[str], Any], tmp_path: Path
) -> None:
    s3 = aws_client("s3")
    s3.create_bucket(Bucket="convert-export")
    filesystem = s3_filesystem(client_arguments(embedded_aws))
    source = write_local_export(tmp_path, map(order, range(200)))
    target = Destination(filesystem, "convert-export/lake/orders")
    by = PartOptions(partition_by=PartitionBy("hash", "id", 2))
    options = PartOptions(compression="gzip")

    def stop(tasks: Any, work: Any, report_items: Any) -> Any:
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        convert_export(*opened(source), COLUMNS, target, options=options, run_tasks=stop)
    result = convert_export(*opened(source), COLUMNS, target, options=by)
    keys = {o["Key"] for o in s3.list_objects_v2(Bucket="convert-export")["Contents"]}
    expected = {f"lake/orders/{part.path}" for part in result.parts} | {"lake/orders/_SUCCESS"}
    assert {key for key in keys if not key.endswith("/")} == expected
    table = pyarrow.dataset.dataset(
        "convert-export/lake/orders", filesystem=filesystem, partitioning="hive"
    ).to_table()
    assert pc.sum(table["n"]).as_py() == sum(range(200))
    assert convert_export(*opened(source), COLUMNS, target, options=by) == result
