"""The first rows of a dataset on its page, without the attributes that no page shows."""

import re
from collections.abc import Collection, Mapping

import dagster as dg
import pyarrow as pa
import pyarrow.fs
import pyarrow.parquet as pq

from ddb_pipeline.config.pipeline import PipelineConfig
from ddb_pipeline.defs.checks import configured_redaction
from ddb_pipeline.hive.names import KEYS, column_name
from ddb_pipeline.resources.table_metadata import preview

HIDDEN = "(hidden)"


def preview_metadata(
    pipeline: PipelineConfig, filesystem: pyarrow.fs.FileSystem, path: str
) -> Mapping[str, dg.MetadataValue]:
    """The first rows of a Parquet file; nothing where the configuration shows none."""
    if not pipeline.assets.preview_rows:
        return {}
    rows = first_rows(filesystem, path, pipeline.assets.preview_rows)
    return {"preview": dg.MetadataValue.md(preview(hidden(rows, hidden_attributes(pipeline))))}


def first_rows(filesystem: pyarrow.fs.FileSystem, path: str, count: int) -> pa.Table:
    """The first rows of a Parquet file."""
    with pq.ParquetFile(path, filesystem=filesystem) as file:
        batch = next(file.iter_batches(batch_size=count), None)
        schema = file.schema_arrow
    return schema.empty_table() if batch is None else pa.Table.from_batches([batch])


def hidden_attributes(pipeline: PipelineConfig) -> frozenset[str]:
    """The attributes whose values no page shows: configured, dropped or pseudonymised."""
    redaction = configured_redaction(pipeline)
    paths = (*redaction.dropped, *redaction.pseudonymised)
    return frozenset((*pipeline.assets.hidden_attributes, *(path[0] for path in paths)))


def hidden(rows: pa.Table, attributes: Collection[str]) -> pa.Table:
    """The rows with ``(hidden)`` for each value of these attributes, and of the text of the keys.

    An attribute's column has a suffix where an item has two names of one column (``hive.names``).
    """
    names = [re.escape(column_name(attribute)) for attribute in attributes]
    is_hidden = re.compile(f"(?:{'|'.join(names)})(?:_[0-9a-f]{{8}})?|{KEYS}").fullmatch
    for position, name in enumerate(rows.column_names):
        if names and is_hidden(name):
            rows = rows.set_column(position, name, pa.array([HIDDEN] * rows.num_rows, pa.string()))
    return rows
