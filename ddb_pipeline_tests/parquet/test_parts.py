"""Parquet files: encodings, sizes, and how many are open at once."""

import os
from pathlib import Path

import pyarrow.parquet as pq

from ddb_pipeline.export.convert import convert_export
from ddb_pipeline.parquet.partition_by import PartitionBy
from ddb_pipeline.parquet.parts import MAX_OPEN_FILES, PartOptions
from ddb_pipeline.parquet.publish import Destination
from ddb_pipeline_tests.support.exports import (
    COLUMNS,
    LOCAL,
    converted,
    opened,
    order,
    rows_of,
    write_local_export,
)


def test_compression_statistics_and_dictionaries(tmp_path: Path) -> None:
    source = write_local_export(tmp_path, map(order, range(2000)))
    converted(source, tmp_path / "lake", options=PartOptions(compression="snappy"))
    [path] = (tmp_path / "lake").glob("*.parquet")
    metadata = pq.read_metadata(path)
    group = metadata.row_group(0)
    by_name = {group.column(i).path_in_schema: group.column(i) for i in range(group.num_columns)}
    assert by_name["n"].compression == "SNAPPY"
    assert (by_name["n"].statistics.min, by_name["n"].statistics.max) == (0, 1999)
    assert by_name["tags.list.element"].has_dictionary_page
    assert not by_name["id"].has_dictionary_page
    assert b"ARROW:schema" not in (metadata.metadata or {})


def test_more_partitions_than_files_open_at_once(tmp_path: Path) -> None:
    items = [order(number) | {"id": {"S": f"p{number % 90}"}} for number in range(900)]
    source = write_local_export(tmp_path, items)
    options = PartOptions(partition_by=PartitionBy("", "id"), row_group_bytes=4096)
    result = converted(source, tmp_path / "lake", options=options)
    assert len({part.path.partition("/")[0] for part in result.parts}) == 90 > MAX_OPEN_FILES
    assert [row["n"] for row in rows_of(tmp_path / "lake")] == list(range(900))


def test_files_of_a_chosen_size(tmp_path: Path) -> None:
    items = [order(n) | {"pad": {"S": os.urandom(400).hex()}} for n in range(12_000)]
    source = write_local_export(tmp_path, items, files=1)
    options = PartOptions(row_group_bytes=256 * 1024, file_bytes=1024 * 1024)
    target = tmp_path / "lake"
    result = convert_export(
        *opened(source), [*COLUMNS, ("pad", "string")], Destination(LOCAL, str(target)),
        options=options,
    )  # fmt: skip
    assert len(result.parts) > 2
    assert all(part.size < 3 * 1024 * 1024 for part in result.parts)
    assert sum(part.rows for part in result.parts) == 12_000
