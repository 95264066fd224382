"""The Parquet of Dagster assets: written in one step, read in any form, registered on request.

Plain values in, plain values out; ``parquet_io_manager`` translates Dagster's contexts.
"""

from collections.abc import Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from datetime import timedelta
from itertools import chain
from typing import TYPE_CHECKING, Any, Final

import pyarrow as pa
import pyarrow.fs

from ddb_pipeline.arrow_types import arrow_schema
from ddb_pipeline.errors import DdbPipelineError
from ddb_pipeline.glue.asset_table import (
    AssetTable,
    publish_partition,
    publish_table,
    stored_columns,
)
from ddb_pipeline.hive.types import Column
from ddb_pipeline.parquet.dataset import PartitionFiles, parquet_dataset
from ddb_pipeline.parquet.generations import (
    Generation,
    current_generation,
    drop_superseded,
    make_current,
    new_generation,
)
from ddb_pipeline.parquet.parts import PartOptions
from ddb_pipeline.parquet.publish import Destination
from ddb_pipeline.resources.frames import FrameError, rows_of
from ddb_pipeline.resources.partition_values import partition_folder

if TYPE_CHECKING:
    import pyarrow.dataset as ds
    from mypy_boto3_glue.client import GlueClient

READERS: Final = 16
"""Manifests that are read at the same time."""
BATCH_ROWS: Final = 100_000
"""Rows that are converted at a time."""


class AssetDataError(DdbPipelineError):
    """The data of an asset cannot be found, or its partitions not be read as one table."""


@dataclass(frozen=True, slots=True)
class AssetFolder:
    """Where an asset's data is.

    Attributes:
        filesystem: the file system.
        path: the asset's folder in it.
        uri: the same folder as a URI.
    """

    filesystem: pyarrow.fs.FileSystem
    path: str
    uri: str

    def destination(self, values: Mapping[str, str]) -> Destination:
        """The folder of a partition; of the asset if it has none."""
        return Destination(self.filesystem, self._inside(self.path, values))

    def location(self, values: Mapping[str, str], generation: str) -> str:
        """The URI of the files of a generation."""
        return f"{self._inside(self.uri, values)}/{generation}/"

    @staticmethod
    def _inside(folder: str, values: Mapping[str, str]) -> str:
        return f"{folder}/{partition_folder(values)}" if values else folder


@dataclass(frozen=True, slots=True)
class Registration:
    """The catalog table in which an output is registered, and a client of its catalog."""

    glue: "GlueClient"
    table: AssetTable


@dataclass(frozen=True, slots=True)
class Written:
    """What was written.

    Attributes:
        generation: the new files.
        location: their folder as a URI.
        columns: of the catalog table; None if the output is not registered.
        first_rows: the first rows, as they were given.
    """

    generation: Generation
    location: str
    columns: tuple[Column, ...] | None
    first_rows: pa.Table


@dataclass(frozen=True, slots=True)
class Stored:
    """What was written of an asset, or of some of its partitions.

    Attributes:
        dataset: the rows, with the partition columns after those that were written.
        columns: the columns that were written.
        missing: the partitions that were not.
    """

    dataset: "ds.Dataset"
    columns: tuple[str, ...]
    missing: tuple[Mapping[str, str], ...]


def write_asset(
    folder: AssetFolder,
    frame: Any,
    values: Mapping[str, str],
    *,
    options: PartOptions,
    keep: timedelta,
    preview_rows: int,
    registration: Registration | None = None,
) -> Written:
    """Write an asset, or one of its partitions, and have readers read it from now on.

    Args:
        folder: the asset's folder.
        frame: the rows, in a form that ``frames.rows_of`` takes.
        values: the values of the partition; empty for an asset without partitions.
        options: how the files are written; a registered output has the lake's types.
        keep: how long the files before stay for their readers.
        preview_rows: number of rows to return.
        registration: where the output is registered, if it is.

    Raises:
        FrameError: the object cannot be written.
        PublishError: the files cannot be written.
        CatalogError: the output cannot be registered as it is.
    """
    reader = rows_of(frame, unnamed_index=registration is None)
    columns = (
        stored_columns(registration.glue, registration.table, reader.schema)
        if registration
        else None
    )
    batches = _batches(reader)
    first = next(batches, reader.schema.empty_table())
    rows = chain([first], batches)
    stored = rows if columns is None else (_stored(each, columns) for each in rows)
    destination = folder.destination(values)
    with new_generation(destination, stored, reader.schema, options) as generation:
        location = folder.location(values, generation.name)
        make_current(destination, generation)
    if registration and columns is not None:
        _register(registration, folder, columns, values, location)
    drop_superseded(destination, generation.name, keep)
    return Written(generation, location, columns, first.slice(0, preview_rows))


def read_asset(folder: AssetFolder, partitions: Sequence[Mapping[str, str]]) -> Stored | None:
    """The current data of an asset, or of some partitions of it; None if none of it was written.

    Args:
        folder: the asset's folder.
        partitions: the values of each partition; one that is empty for an asset without.

    Raises:
        AssetDataError: the types of the partitions have no common one.
        PublishError: a manifest is damaged.
    """
    with ThreadPoolExecutor(READERS, thread_name_prefix="manifest") as pool:
        read = pool.map(lambda values: current_generation(folder.destination(values)), partitions)
        found = list(zip(partitions, read, strict=True))
    missing = tuple(values for values, generation in found if generation is None)
    present = [(values, generation) for values, generation in found if generation is not None]
    if not present:
        return None
    schema = common_schema([generation.schema for _, generation in present])
    keys = [name for name in present[0][0] if name not in schema.names]
    files = [
        PartitionFiles(
            tuple(
                f"{folder.destination(values).path}/{generation.name}/{part.path}"
                for part in generation.parts
            ),
            {name: values[name] for name in keys},
        )
        for values, generation in present
    ]
    columns = tuple(schema.names)
    for name in keys:
        schema = schema.append(pa.field(name, pa.string()))
    return Stored(parquet_dataset(folder.filesystem, files, schema), columns, missing)


def common_schema(schemas: Sequence[pa.Schema]) -> pa.Schema:
    """The schema as which all partitions are read.

    Raises:
        AssetDataError: two partitions have types of a column that no type holds.
    """
    unified = schemas[0]
    for schema in schemas[1:]:
        if schema.equals(unified):
            continue
        try:
            unified = pa.unify_schemas([unified, schema], promote_options="permissive")
        except (pa.ArrowInvalid, pa.ArrowTypeError) as error:
            raise AssetDataError(
                f"The partitions cannot be read as one table: {error}. Load them as a dict, or "
                "materialise the older ones again."
            ) from error
    return unified


def _batches(reader: pa.RecordBatchReader) -> Iterator[pa.Table]:
    for batch in reader:
        for start in range(0, len(batch), BATCH_ROWS):
            yield pa.Table.from_batches([batch.slice(start, BATCH_ROWS)])


def _stored(rows: pa.Table, columns: Sequence[Column]) -> pa.Table:
    """The rows with the types of the catalog's columns; each value stays what it is."""
    arrays = []
    schema = arrow_schema(columns)
    for field in schema:
        try:
            arrays.append(rows.column(field.name).cast(field.type))
        except (pa.ArrowInvalid, pa.ArrowNotImplementedError, pa.ArrowTypeError) as error:
            found = rows.schema.field(field.name).type
            raise FrameError(
                f"Column {field.name} of type {found} cannot be registered as "
                f"{dict(columns)[field.name]}: {error}. Round or cast it, or do not register the "
                "asset."
            ) from error
    return pa.table(arrays, schema=schema)


def _register(
    registration: Registration,
    folder: AssetFolder,
    columns: tuple[Column, ...],
    values: Mapping[str, str],
    location: str,
) -> None:
    if not values:
        publish_table(registration.glue, registration.table, columns, location)
        return
    publish_partition(
        registration.glue,
        registration.table,
        columns,
        root=f"{folder.uri}/",
        values=tuple(values.values()),
        location=location,
    )
