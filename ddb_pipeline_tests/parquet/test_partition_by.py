"""Partition directories of a dataset."""

from pathlib import Path

import pytest

from ddb_pipeline.parquet.partition_by import PartitionBy
from ddb_pipeline.parquet.parts import PartOptions
from ddb_pipeline_tests.support.exports import (
    converted,
    order,
    rows_of,
    write_local_export,
)


@pytest.mark.parametrize(
    ("by", "directories"),
    [
        (PartitionBy("hash", "id", 4), {f"id_bucket={number}" for number in range(4)}),
        (PartitionBy("date", "day"), {f"day_date=2026-11-{d:02d}" for d in range(1, 29)}),
        (PartitionBy("", "note"), {"note=caf%C3%A9", "note=__HIVE_DEFAULT_PARTITION__"}),
    ],
)
def test_partitions(tmp_path: Path, by: PartitionBy, directories: set[str]) -> None:
    source = write_local_export(tmp_path, map(order, range(300)))
    result = converted(source, tmp_path / "lake", options=PartOptions(partition_by=by))
    assert {part.path.partition("/")[0] for part in result.parts} == directories
    rows = rows_of(tmp_path / "lake")
    assert [row["n"] for row in rows] == list(range(300))
    assert rows[3]["note"] == "café"
