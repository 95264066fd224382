"""An Iceberg table's rows as a dataset of Arrow, with the lake's own reader.

pyiceberg reads a null list of structs as an empty list (its version 0.12, apache/iceberg-python
3833). Here it only tells which files a snapshot has.
"""

import pyarrow as pa
import pyarrow.dataset as ds
import pyarrow.fs
from pyiceberg.table import Table

from ddb_pipeline.arrow_types import arrow_schema
from ddb_pipeline.lake.catalog_dataset import location_path
from ddb_pipeline.lake.iceberg.evolution import columns_of
from ddb_pipeline.parquet.dataset import PartitionFiles, parquet_dataset


def iceberg_dataset(filesystem: pyarrow.fs.FileSystem, table: Table) -> ds.Dataset:
    """The rows of a table's current snapshot, with the table's present columns and types."""
    names = [partition.name for partition in table.spec().fields]
    schema: pa.Schema = arrow_schema(columns_of(table.schema()))
    files = [
        PartitionFiles(
            (location_path(task.file.file_path),),
            {name: str(task.file.partition[position]) for position, name in enumerate(names)},
        )
        for task in table.scan().plan_files()
    ]
    return parquet_dataset(filesystem, files, schema)
