"""The first rows of a dataset on its page, without the attributes that no page shows."""

from collections.abc import Collection, Mapping

import dagster as dg
import pyarrow as pa
import pyarrow.fs
import pyarrow.parquet as pq

from ddb_pipeline.config.pipeline import PipelineConfig
from ddb_pipeline.hive.names import KEYS
from ddb_pipeline.resources.table_metadata import preview

HIDDEN = "(hidden)"


def preview_metadata(
    pipeline: PipelineConfig, filesystem: pyarrow.fs.FileSystem, path: str
) -> Mapping[str, dg.MetadataValue]:
    """The first rows of a Parquet file; nothing where the configuration shows none."""
    if not pipeline.assets.preview_rows:
        return {}
    rows = first_rows(filesystem, path, pipeline.assets.preview_rows)
    return {"preview": dg.MetadataValue.md(preview(hidden(rows, pipeline.hidden_columns)))}


def first_rows(filesystem: pyarrow.fs.FileSystem, path: str, count: int) -> pa.Table:
    """The first rows of a Parquet file."""
    with pq.ParquetFile(path, filesystem=filesystem) as file:
        batch = next(file.iter_batches(batch_size=count), None)
        schema = file.schema_arrow
    return schema.empty_table() if batch is None else pa.Table.from_batches([batch])


def hidden(rows: pa.Table, columns: Collection[str]) -> pa.Table:
    """The rows with ``(hidden)`` for each value of these columns, and of the text of the keys."""
    names = {*columns, KEYS} if columns else set()
    for position, name in enumerate(rows.column_names):
        if name in names:
            rows = rows.set_column(position, name, pa.array([HIDDEN] * rows.num_rows))
    return rows
