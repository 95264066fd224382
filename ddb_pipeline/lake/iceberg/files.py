"""Parquet files of the lake as data files of an Iceberg table.

The lake's files have no Iceberg field ids; a table finds their columns by name (its name mapping).
A file is taken as it is if Iceberg reads all its types as the table's. Otherwise its rows are
written again: types that Iceberg does not promote, and INT96 timestamps, which it does not define.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import pyarrow as pa
import pyarrow.fs
import pyarrow.parquet as pq
from pyiceberg.io.pyarrow import (
    compute_statistics_plan,
    data_file_statistics_from_parquet_metadata,
    parquet_path_to_id_mapping,
)
from pyiceberg.manifest import DataFile, DataFileContent, FileFormat
from pyiceberg.table.metadata import TableMetadata
from pyiceberg.typedef import Record

from ddb_pipeline.arrow_types import arrow_schema, hive_columns, parquet_write_options
from ddb_pipeline.hive.types import Column, parse_type
from ddb_pipeline.lake.current.rows import with_columns
from ddb_pipeline.lake.iceberg.types import iceberg_columns, promotable

ROWS_AT_ONCE = 64 * 1024
COMPRESSION = "zstd"
PartitionValues = tuple[int | str, ...]


@dataclass(frozen=True, slots=True)
class Source:
    """A Parquet file whose rows a table is to have.

    Attributes:
        path: the file, as ``bucket/key``.
        name: identifies its content in the table: the last two parts of its path there.
        partition: values of the partition columns.
    """

    path: str
    name: str
    partition: PartitionValues


def content_name(path: str) -> str:
    """What identifies a data file's content: the last two parts of its path or URI."""
    return "/".join(path.rsplit("/", 2)[-2:])


def footer_of(filesystem: pyarrow.fs.FileSystem, path: str) -> tuple[pq.FileMetaData, int]:
    """A Parquet file's footer, and its size in bytes."""
    with filesystem.open_input_file(path) as file:
        return pq.read_metadata(file), int(file.size())


def readable(footer: pq.FileMetaData, columns: Sequence[Column]) -> bool:
    """Whether Iceberg reads a file as a table with these columns."""
    physical = (footer.schema.column(i).physical_type for i in range(footer.num_columns))
    if "INT96" in physical:
        return False
    wanted = {column.name: parse_type(column.type) for column in columns}
    return all(
        name in wanted and promotable(parse_type(kind), wanted[name])
        for name, kind in iceberg_columns(hive_columns(footer.schema.to_arrow_schema()))
    )


def rewrite(
    filesystem: pyarrow.fs.FileSystem, source: str, target: str, columns: Sequence[Column]
) -> None:
    """Write a file's rows with these columns, some rows in memory at a time."""
    schema = arrow_schema(columns)
    with (
        filesystem.open_input_file(source) as file,
        filesystem.open_output_stream(target) as sink,
        pq.ParquetWriter(
            sink, schema, compression=COMPRESSION, **parquet_write_options(int96=False)
        ) as writer,
    ):
        for rows in _batches(pq.ParquetFile(file, coerce_int96_timestamp_unit="us")):
            writer.write_table(with_columns(rows, schema))


def _batches(file: pq.ParquetFile) -> Iterator[pa.Table]:
    for batch in file.iter_batches(ROWS_AT_ONCE, use_threads=False):
        yield pa.Table.from_batches([batch])


def data_file(
    metadata: TableMetadata,
    uri: str,
    footer: pq.FileMetaData,
    size: int,
    partition: PartitionValues,
) -> DataFile:
    """The entry of a file in a table's manifest, with the statistics of the file's footer."""
    schema = metadata.schema()
    statistics = data_file_statistics_from_parquet_metadata(
        footer,
        compute_statistics_plan(schema, metadata.properties),
        parquet_path_to_id_mapping(schema),
    )
    return DataFile.from_args(
        content=DataFileContent.DATA,
        file_path=uri,
        file_format=FileFormat.PARQUET,
        partition=Record(*partition),
        file_size_in_bytes=size,
        sort_order_id=None,
        spec_id=metadata.default_spec_id,
        equality_ids=None,
        key_metadata=None,
        **statistics.to_serialized_dict(),
    )
