"""Catalog tables read as their readers in SQL read them: by their locations, with their types.

Which files a table has is what the catalog says: a partition or a table is switched to other files
by one write there. Files whose name, or a folder of whose path, begins with ``_`` or ``.`` are not
read, as Hive, Spark and Athena do.
"""

from collections.abc import Iterable, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING, Any, Final

import pyarrow.fs

from ddb_pipeline.arrow_types import arrow_schema
from ddb_pipeline.errors import DdbPipelineError
from ddb_pipeline.glue.catalog import CatalogTable, TableReference
from ddb_pipeline.glue.partition_pages import all_partitions, partitions_with
from ddb_pipeline.glue.partitions import CatalogPartition
from ddb_pipeline.parquet.dataset import PartitionFiles, may_match, parquet_dataset

if TYPE_CHECKING:
    import pyarrow.dataset as ds
    from mypy_boto3_glue.client import GlueClient

LISTERS: Final = 16
"""Partitions that are listed at the same time."""
_SCHEMES: Final = ("s3://", "s3a://", "s3n://", "file://")


class MissingPartitionError(DdbPipelineError):
    """A table has no partition with the wanted values."""


def catalog_dataset(
    glue: "GlueClient",
    filesystem: pyarrow.fs.FileSystem,
    table: CatalogTable,
    *,
    partitions: Sequence[Sequence[str]] | None = None,
    allow_missing: bool = False,
    filters: Sequence[Any] | None = None,
) -> "ds.Dataset":
    """A table's rows with the table's present columns and types, partition keys last.

    Args:
        glue: a client of the table's catalog.
        filesystem: where the table's locations are; its paths are ``bucket/key``.
        table: the table.
        partitions: values of the partitions to read, in the order of the table's partition keys;
            all where None is given.
        allow_missing: read nothing for partitions that do not exist, instead of failing.
        filters: of partitions that these exclude, the files are not listed. The rows are not
            filtered: give them to ``parquet.dataset.scanner`` too.

    Raises:
        MissingPartitionError: see ``allow_missing``.
        CatalogError: the catalog cannot be read.
        RowFilterError: a filter does not fit a partition key.
    """
    keys = table.partition_keys
    schema = arrow_schema((*table.columns, *keys))
    if not keys:
        files = [PartitionFiles(data_files(filesystem, table.location), {})]
        return parquet_dataset(filesystem, files, schema)
    names = [key.name for key in keys]
    found: Iterable[CatalogPartition] = (
        all_partitions(glue, table.reference)
        if partitions is None
        else _existing(glue, table.reference, partitions, allow_missing)
    )
    key_schema = arrow_schema(keys)
    chosen = [
        (dict(zip(names, partition.values, strict=True)), partition.location) for partition in found
    ]
    chosen = [entry for entry in chosen if may_match(filters, entry[0], key_schema)]
    with ThreadPoolExecutor(LISTERS, thread_name_prefix="list") as pool:
        listed = pool.map(lambda entry: data_files(filesystem, entry[1]), chosen)
        files = [
            PartitionFiles(paths, values) for (values, _), paths in zip(chosen, listed, strict=True)
        ]
    return parquet_dataset(filesystem, files, schema)


def data_files(filesystem: pyarrow.fs.FileSystem, location: str) -> tuple[str, ...]:
    """The paths of the files under a location, in their order; nothing where there is none."""
    return tuple(info.path for info in stored_files(filesystem, location))


def stored_files(filesystem: pyarrow.fs.FileSystem, location: str) -> list[pyarrow.fs.FileInfo]:
    """Like :func:`data_files`, with the files' sizes and times."""
    root = location_path(location)
    selector = pyarrow.fs.FileSelector(root, recursive=True, allow_not_found=True)
    found = [
        info
        for info in filesystem.get_file_info(selector)
        if info.is_file and info.size and _is_data(info.path[len(root) :])
    ]
    return sorted(found, key=lambda info: info.path)


def location_path(location: str) -> str:
    """The path of a location in its file system: ``bucket/key`` of an S3 URI."""
    for scheme in _SCHEMES:
        location = location.removeprefix(scheme)
    return location.rstrip("/")


def _existing(
    glue: "GlueClient",
    reference: TableReference,
    wanted: Sequence[Sequence[str]],
    allow_missing: bool,
) -> list[CatalogPartition]:
    found = partitions_with(glue, reference, wanted)
    missing = [values for values in wanted if tuple(values) not in found]
    if missing and not allow_missing:
        shown = ", ".join("/".join(values) for values in missing[:5])
        raise MissingPartitionError(
            f"Table {reference} has no partition {shown}"
            f"{f' and {len(missing) - 5} more' if len(missing) > 5 else ''}. Materialise them, or "
            "allow them to be missing."
        )
    return [found[tuple(values)] for values in wanted if tuple(values) in found]


def _is_data(relative: str) -> bool:
    return not any(part.startswith(("_", ".")) for part in relative.split("/"))
