"""The rows of the read matrix in Iceberg tables, read by every engine: the same values.

The current view and the stream, each committed before and after its columns were widened.
Spark and DuckDB read the data files that pyiceberg lists: the Iceberg runtime of this version of
Spark is in no registry of Python packages, and DuckDB's extension has to be downloaded.
"""

import json
import shutil
from collections.abc import Callable, Sequence
from decimal import Decimal
from pathlib import Path
from typing import Any

import duckdb
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from ddb_pipeline.arrow_types import arrow_schema, parquet_write_options
from ddb_pipeline.glue.catalog import CatalogTable, TableReference
from ddb_pipeline.glue.ddl import Dialect, create_statement
from ddb_pipeline.glue.lake_table import parquet_definition
from ddb_pipeline.hive.types import Column, parse_type
from ddb_pipeline.lake.iceberg.evolution import columns_of
from ddb_pipeline.lake.iceberg.files import Source
from ddb_pipeline.lake.iceberg.publish import Target, Wanted, data_files, publish
from ddb_pipeline.lake.iceberg.read import iceberg_dataset
from ddb_pipeline.lake.iceberg.tables import CURRENT_PARTITIONS, STREAM_PARTITIONS
from ddb_pipeline.resources.frames import frame_of
from ddb_pipeline_tests.lake.test_read_matrix import (
    NEW,
    NEW_ROWS,
    OLD,
    OLD_ROWS,
    as_arrow,
    plain,
)
from ddb_pipeline_tests.support.iceberg import local_target, rows_of, table_of

Row = dict[str, Any]
NULL_LISTS_OF_STRUCTS = {"wide_list"}
"""pyiceberg reads their nulls as empty lists (apache/iceberg-python 3833)."""


def source(
    folder: Path,
    name: str,
    partition: tuple[int | str, ...],
    columns: Sequence[Column],
    rows: Sequence[Row],
) -> Source:
    """A file of the lake."""
    path = folder / "lake" / name
    path.parent.mkdir(parents=True, exist_ok=True)
    lines = [{column: as_arrow(row.get(column)) for column, _ in columns} for row in rows]
    table = pa.Table.from_pylist(lines, arrow_schema(columns))
    pq.write_table(table, path, **parquet_write_options(int96=False))
    return Source(str(path), name, partition)


def current(folder: Path) -> Target:
    """A view whose buckets were all written again when its columns were widened."""
    target = local_target(folder, CURRENT_PARTITIONS, "current")
    old = [source(folder, "key_bucket=0/rows-1.parquet", (0,), OLD, OLD_ROWS)]
    publish(target, lambda: Wanted(OLD, tuple(old)))
    new = [
        source(folder, f"key_bucket={bucket}/rows-2.parquet", (bucket,), NEW, rows)
        for bucket, rows in enumerate((OLD_ROWS_AS_NEW, NEW_ROWS))
    ]
    publish(target, lambda: Wanted(NEW, tuple(new)))
    return target


def stream(folder: Path) -> Target:
    """Two hours, the later one compacted when the columns were wider."""
    target = local_target(folder, STREAM_PARTITIONS, "stream")
    for hour, columns, rows in (("09", OLD, OLD_ROWS), ("10", NEW, NEW_ROWS)):
        day = ("2026-11-24", hour)
        found = (source(folder, f"000001-{hour}/part-0000.parquet", day, columns, rows),)
        wanted = Wanted(columns, found, day, copied=False)
        publish(target, lambda wanted=wanted: wanted)  # type: ignore[misc]
    return target


OLD_ROWS_AS_NEW = [
    {**row, **{name: Decimal(row[name]) for name in ("wide_exact", "wide_small") if name in row}}
    for row in OLD_ROWS
]
TABLES: dict[str, Callable[[Path], Target]] = {"current": current, "stream": stream}


@pytest.fixture(scope="module", params=list(TABLES))
def target(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Target:
    """Each table, in a folder of its own."""
    return TABLES[request.param](tmp_path_factory.mktemp(request.param))


def by_pyiceberg(target: Target, folder: Path, spark: Any) -> list[Row]:
    return rows_of(target)


def by_pyarrow(target: Target, folder: Path, spark: Any) -> list[Row]:
    rows: list[Row] = iceberg_dataset(target.filesystem, table_of(target)).to_table().to_pylist()
    return rows


def by_pandas(target: Target, folder: Path, spark: Any) -> list[Row]:
    frame = frame_of(pd.DataFrame, iceberg_dataset(target.filesystem, table_of(target)))
    arrays: Any = {name: pa.chunked_array(pa.array(frame[name].array)) for name in frame.columns}
    columns = {name: array.to_pylist() for name, array in arrays.items()}
    return [dict(zip(columns, row, strict=True)) for row in zip(*columns.values(), strict=True)]


def files_listed_by_pyiceberg_read_by_duckdb(target: Target, folder: Path, spark: Any) -> list[Row]:
    files = [target.path(f.file_path) for f in data_files(target, table_of(target), None)]
    connection = duckdb.connect()
    found: Any = connection.execute("SELECT * FROM read_parquet($1, union_by_name = true)", [files])
    rows: list[Row] = found.to_arrow_table().to_pylist()
    return rows


def files_listed_by_pyiceberg_read_by_spark(target: Target, folder: Path, spark: Any) -> list[Row]:
    found = table_of(target)
    for number, file in enumerate(data_files(target, found, None)):
        shutil.copy(target.path(file.file_path), folder / f"{number}.parquet")
    keys = {column.name for column in target.partition_columns}
    columns = [column for column in columns_of(found.schema()) if column.name not in keys]
    name = f"iceberg_{target.reference.name}"
    definition = parquet_definition(name, folder.as_uri(), columns)
    table = CatalogTable(TableReference("default", name), "0", definition)
    spark.sql(f"DROP TABLE IF EXISTS {name}")
    spark.sql(create_statement(table, Dialect.SPARK, name=name, location=folder.as_uri()))
    form = "map('timestampFormat', 'yyyy-MM-dd HH:mm:ss.SSSSSS')"
    lines = spark.sql(f"SELECT to_json(struct(*), {form}) FROM {name}").collect()
    spark.sql(f"DROP TABLE {name}")
    return [json.loads(line[0], parse_float=Decimal) for line in lines]


ENGINES = [
    by_pyiceberg,
    by_pyarrow,
    by_pandas,
    files_listed_by_pyiceberg_read_by_duckdb,
    files_listed_by_pyiceberg_read_by_spark,
]


@pytest.mark.parametrize("read", ENGINES, ids=lambda read: read.__name__)
def test_every_engine_reads_the_same_values(
    target: Target, read: Callable[..., list[Row]], spark: Any, tmp_path: Path
) -> None:
    found = {row["id"]: row for row in read(target, tmp_path, spark)}
    expected = {row["id"]: row for row in (*OLD_ROWS, *NEW_ROWS)}
    assert set(found) == set(expected)
    for key, row in expected.items():
        for name, kind in NEW:
            hive = parse_type(kind)
            wanted, value = row.get(name), found[key].get(name)
            if read is by_pyiceberg and name in NULL_LISTS_OF_STRUCTS and wanted is None:
                assert not value
                continue
            assert plain(value, hive) == plain(wanted, hive), (key, name)
