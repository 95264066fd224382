"""Schemas in the footers of Parquet files."""

from collections.abc import Iterable

import pyarrow as pa
import pyarrow.parquet as pq

from ddb_pipeline.parquet.publish import Destination


def differing_schemas(
    destination: Destination, paths: Iterable[str], schema: pa.Schema
) -> dict[str, str]:
    """The files of a dataset whose columns or types differ from ``schema``, with their schemas.

    Columns that are directories of a file's path, such as ``day=2026-11-24``, are not in the file.
    """
    differing: dict[str, str] = {}
    for path in paths:
        found: pa.Schema = pq.read_schema(
            f"{destination.path}/{path}", filesystem=destination.filesystem
        )
        in_path = {directory.partition("=")[0] for directory in path.split("/")[:-1]}
        expected = pa.schema([field for field in schema if field.name not in in_path])
        if not _as_stored(found).equals(_as_stored(expected)):
            differing[path] = found.to_string()
    return differing


def _as_stored(schema: pa.Schema) -> pa.Schema:
    """The schema without Arrow's own metadata, and with timestamps of one unit.

    A timestamp stored as INT96 reads as nanoseconds, whatever it was written from.
    """
    fields = [
        field.with_type(pa.timestamp("us")) if pa.types.is_timestamp(field.type) else field
        for field in schema
    ]
    return pa.schema([field.remove_metadata() for field in fields])
