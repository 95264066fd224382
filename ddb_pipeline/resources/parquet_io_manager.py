"""An IO manager that keeps assets as Parquet, in S3 or a folder, and reads the lake's tables.

::

    from ddb_pipeline.resources.parquet_io_manager import ParquetIOManager

    @dg.asset(ins={"orders": dg.AssetIn(["shop", "parquet_stream"])})
    def large_orders(orders: pd.DataFrame) -> pd.DataFrame:
        return orders[orders["total"] > 100]

    dg.Definitions(
        assets=[large_orders, dg.AssetSpec(["shop", "parquet_stream"])],
        resources={"io_manager": ParquetIOManager(root="s3://your-bucket/assets")},
    )

An output is a ``pyarrow.Table``, ``pyarrow.RecordBatchReader``, ``pandas.DataFrame``,
``polars.DataFrame``, ``polars.LazyFrame`` or ``duckdb.DuckDBPyRelation``, or for several partitions
in one run a dict of these by partition key. An input is what its annotation says; several
partitions are one table, or with ``dict[str, ...]`` a dict.

Metadata of an asset (``@dg.asset(metadata=...)``):

- ``dagster/table_name``, such as ``shop.large_orders``: the output is registered as this table in
  the Glue Data Catalog, with types that Hive, Spark and Athena read.
- ``partition_expr``: the partition columns, see ``partition_values``.

Metadata of an input (``dg.AssetIn(metadata=...)``):

- ``columns``: the names of the columns to read;
- ``filters``: the rows to read, as ``pandas.read_parquet`` takes them, such as
  ``[["total", ">", 100]]``;
- ``allow_missing_partitions``: True to read nothing for partitions that do not exist;
- ``dagster/table_name``: read this catalog table;
- ``ddb_pipeline/region``, ``ddb_pipeline/catalog_id``: the table's region, and the account whose
  catalog has it, where they are others than the IO manager's;
- ``partition_expr``: the table's partition keys.

An input whose asset this IO manager has not written is read from its catalog table. The name of the
table is in the metadata of the input, of the upstream asset, or of its latest materialization, in
this order. All assets of the pipelines have it.
"""

from collections.abc import Mapping, Sequence
from datetime import timedelta
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final, cast, get_args, get_origin

import dagster as dg
import pyarrow.fs
from pydantic import Field, PrivateAttr

from ddb_pipeline.config.settings import load_settings
from ddb_pipeline.glue.asset_table import AssetTable
from ddb_pipeline.glue.catalog import CatalogTable, TableReference, read_table
from ddb_pipeline.lake.catalog_dataset import catalog_dataset
from ddb_pipeline.parquet.parts import PartOptions
from ddb_pipeline.resources.asset_data import (
    AssetDataError,
    AssetFolder,
    Registration,
    Stored,
    Written,
    read_asset,
    write_asset,
)
from ddb_pipeline.resources.cloud import CloudResource
from ddb_pipeline.resources.frames import FrameError, frame_of
from ddb_pipeline.resources.iceberg import catalog_iceberg_dataset, is_iceberg_table
from ddb_pipeline.resources.partition_values import PARTITION_EXPR, folder_name, partition_values
from ddb_pipeline.resources.table_metadata import (
    COLUMN_SCHEMA,
    PARTITION_ROW_COUNT,
    ROW_COUNT,
    TABLE_CATALOG,
    TABLE_NAME,
    TABLE_REGION,
    URI,
    arrow_column_schema,
    column_schema,
    preview,
)

if TYPE_CHECKING:
    import pyarrow.dataset as ds

COLUMNS: Final = "columns"
FILTERS: Final = "filters"
ALLOW_MISSING: Final = "allow_missing_partitions"
S3: Final = "s3://"


class ParquetIOManager(dg.ConfigurableIOManager):
    """Writes outputs as Parquet and loads inputs from it; see the module's documentation."""

    root: str = Field(description="A folder or an s3:// URI, under which assets have folders.")
    cloud: dg.ResourceDependency[CloudResource | None] = Field(
        default=cast(Any, None),
        description="The AWS of S3 and the catalog; by default that of the pipelines' settings.",
    )
    compression: str = Field(default="zstd", description="zstd, snappy, gzip, lz4 or none.")
    file_mb: int = Field(default=256, ge=1, description="Size of the files in MiB.")
    preview_rows: int = Field(default=5, ge=0, description="Rows in the metadata; 0 for none.")
    keep_hours: float = Field(
        default=24.0,
        ge=0,
        description="How long replaced files stay for runs that read them.",
    )
    _own_cloud: CloudResource | None = PrivateAttr(default=None)

    def handle_output(self, context: dg.OutputContext, obj: Any) -> None:
        """Write an output; see the module's documentation.

        Raises:
            DdbPipelineError: it cannot be written or registered.
        """
        if obj is None:
            context.log.debug("The output is None: nothing is written.")
            return
        if not context.has_asset_key or not context.has_asset_partitions:
            context.add_output_metadata(self._metadata(self._write(context, obj, {}), ROW_COUNT))
            return
        keys = context.asset_partition_keys
        expression = (context.definition_metadata or {}).get(PARTITION_EXPR)
        frames = obj if isinstance(obj, Mapping) else dict.fromkeys(keys[:1], obj)
        if set(frames) != set(keys):
            raise FrameError(
                f"The run is for {len(keys)} partitions of {context.asset_key.to_user_string()}, "
                f"and the output has {len(frames)}. Return a dict of the rows by partition key."
            )
        written = [
            self._write(context, frames[key], values_of(context, key, expression)) for key in keys
        ]
        # Dagster has one set of metadata for all partitions of a run.
        rows = sum(each.generation.rows for each in written)
        metadata = self._metadata(written[-1], PARTITION_ROW_COUNT)
        context.add_output_metadata(
            metadata if len(keys) == 1 else {**metadata, PARTITION_ROW_COUNT: rows}
        )

    def load_input(self, context: dg.InputContext) -> Any:
        """Load an input; see the module's documentation.

        Raises:
            DdbPipelineError: there is no data, or not in the form that the input asks for.
        """
        annotation = context.dagster_type.typing_type
        if not context.has_asset_key or not context.has_asset_partitions:
            return self._frame(context, annotation, None)
        keys = context.asset_partition_keys
        if get_origin(annotation) is not dict:
            return self._frame(context, annotation, keys)
        form = get_args(annotation)[1]
        return {key: self._frame(context, form, [key]) for key in keys}

    def _write(self, context: dg.OutputContext, frame: Any, values: Mapping[str, str]) -> Written:
        table = (context.definition_metadata or {}).get(TABLE_NAME)
        registration = None
        if table and context.has_asset_key:
            asset = context.asset_key.to_user_string()
            target = AssetTable(table_reference(table), asset, tuple(values))
            registration = Registration(self._aws().glue, target)
        return write_asset(
            self._folder(context),
            frame,
            values,
            options=PartOptions(
                compression=self.compression,
                file_bytes=self.file_mb * 1024 * 1024,
                arrow_types=registration is None,
            ),
            keep=timedelta(hours=self.keep_hours),
            preview_rows=self.preview_rows,
            registration=registration,
        )

    def _metadata(self, written: Written, rows: str) -> dict[str, Any]:
        generation = written.generation
        schema = (
            arrow_column_schema(generation.schema)
            if written.columns is None
            else column_schema(written.columns)
        )
        found: dict[str, Any] = {
            COLUMN_SCHEMA: dg.MetadataValue.table_schema(schema),
            rows: dg.MetadataValue.int(generation.rows),
            URI: dg.MetadataValue.text(written.location),
            "files": dg.MetadataValue.int(len(generation.parts)),
            "bytes": dg.MetadataValue.int(generation.size),
        }
        if self.preview_rows:
            found["preview"] = dg.MetadataValue.md(preview(written.first_rows))
        return found

    def _frame(self, context: dg.InputContext, annotation: Any, keys: Sequence[str] | None) -> Any:
        wanted = context.definition_metadata or {}
        columns, filters = wanted.get(COLUMNS), wanted.get(FILTERS)
        stored = None if wanted.get(TABLE_NAME) else self._stored(context, keys)
        if stored is None:
            dataset = self._catalog_dataset(context, keys, filters)
            return frame_of(annotation, dataset, columns, filters)
        return frame_of(annotation, stored.dataset, columns or stored.columns, filters)

    def _stored(self, context: dg.InputContext, keys: Sequence[str] | None) -> Stored | None:
        """What this IO manager has written for an input; None if nothing."""
        expression = declared(context, PARTITION_EXPR)
        partitions = [{}] if keys is None else [values_of(context, k, expression) for k in keys]
        stored = read_asset(self._folder(context), partitions)
        if stored and stored.missing and not declared(context, ALLOW_MISSING):
            shown = ", ".join("/".join(values.values()) for values in stored.missing[:5])
            raise AssetDataError(
                f"{len(stored.missing)} of {len(partitions)} partitions of {name_of(context)} were "
                f"not written: {shown}. Materialise them, or set {ALLOW_MISSING} in the metadata "
                "of the input."
            )
        return stored

    def _catalog_dataset(
        self, context: dg.InputContext, keys: Sequence[str] | None, filters: Any
    ) -> "ds.Dataset":
        """The catalog table of an input that this IO manager has not written."""
        name = declared(context, TABLE_NAME) or materialized_table(context)
        if not name:
            raise AssetDataError(
                f"Nothing was written for {name_of(context)} under {self.root}, and no catalog "
                f"table of it is known. Materialise it, or set {TABLE_NAME} in the metadata of "
                "the input to DATABASE.TABLE."
            )
        region = str(declared(context, TABLE_REGION) or "")
        cloud = self._aws().in_region(region, str(declared(context, TABLE_CATALOG) or ""))
        table = read_table(cloud.glue, table_reference(name))
        if is_iceberg_table(table):
            return catalog_iceberg_dataset(cloud, table)
        return catalog_dataset(
            cloud.glue,
            cloud.filesystem(),
            table,
            partitions=None if keys is None else catalog_values(context, table, keys),
            allow_missing=bool(declared(context, ALLOW_MISSING)),
            filters=filters,
        )

    def _folder(self, context: dg.InputContext | dg.OutputContext) -> AssetFolder:
        names = context.asset_key.path if context.has_asset_key else context.get_identifier()
        inside = "/".join(map(folder_name, names))
        if self.root.startswith(S3):
            uri = f"{self.root.rstrip('/')}/{inside}"
            return AssetFolder(self._aws().filesystem(), uri.removeprefix(S3), uri)
        path = f"{Path(self.root).absolute().as_posix()}/{inside}"
        return AssetFolder(pyarrow.fs.LocalFileSystem(), path, f"file://{path}")

    def _aws(self) -> CloudResource:
        if self.cloud is not None:
            return self.cloud
        if self._own_cloud is None:
            self._own_cloud = CloudResource.of(load_settings())
        return self._own_cloud


def declared(context: dg.InputContext, entry: str) -> Any:
    """A metadata entry of the input, or else of the upstream asset; None if neither has it."""
    upstream = context.upstream_output
    above = (upstream.definition_metadata or {}) if upstream else {}
    return (context.definition_metadata or {}).get(entry, above.get(entry))


def materialized_table(context: dg.InputContext) -> str | None:
    """The catalog table that the latest materialization of the upstream asset names."""
    if not context.has_asset_key:
        return None
    event = context.instance.get_latest_materialization_event(context.asset_key)
    found = event.asset_materialization if event else None
    entry = found.metadata.get(TABLE_NAME) if found else None
    return str(entry.value) if entry else None


def values_of(
    context: dg.InputContext | dg.OutputContext, key: str, expression: Any
) -> dict[str, str]:
    """The values of the partition columns for one of the context's partitions."""
    return partition_values(key, context.asset_partitions_def, expression)


def catalog_values(
    context: dg.InputContext, table: CatalogTable, keys: Sequence[str]
) -> list[tuple[str, ...]]:
    """The values of the table's partition keys for the context's partitions.

    Raises:
        AssetDataError: the asset's partitions are not those of the table.
    """
    names = [column.name for column in table.partition_keys]
    expression = declared(context, PARTITION_EXPR)
    if expression is None and len(names) == 1:
        expression = names[0]
    found = [values_of(context, key, expression) for key in keys]
    for values in found[:1]:
        if set(values) != set(names):
            raise AssetDataError(
                f"{name_of(context)} is partitioned by {', '.join(values)}, its catalog table "
                f"{table.reference} by {', '.join(names) or 'nothing'}. Set {PARTITION_EXPR} in "
                "the metadata of the input to the partition keys of the table."
            )
    return [tuple(values[name] for name in names) for values in found]


def table_reference(name: str) -> TableReference:
    """The table of a name such as ``shop.orders``.

    Raises:
        AssetDataError: the name has another form.
    """
    database, dot, table = str(name).partition(".")
    if not (database and dot and table) or "." in table or name != name.lower():
        raise AssetDataError(
            f"{TABLE_NAME} is {name!r}. Give a database and a table of the Glue Data Catalog in "
            "small letters, such as shop.orders."
        )
    return TableReference(database, table)


def name_of(context: dg.InputContext) -> str:
    """The input's asset, or the name of the input, for an error."""
    return context.asset_key.to_user_string() if context.has_asset_key else str(context.name)
