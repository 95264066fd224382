"""The versions of a current view that readers of the catalog see, each in a folder of its own.

The view's own folder holds the files of two versions while one is published. Readers of a table
list a folder, so the files of a version are copied into a new one, and one write of the catalog
table switches to it. Older folders stay for queries that have begun.
"""

from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from itertools import pairwise
from typing import TYPE_CHECKING, Final

from ddb_pipeline.glue.catalog import (
    CatalogTable,
    TableReference,
    create_table,
    find_table,
    update_table,
)
from ddb_pipeline.glue.lake_table import parquet_definition, storage_descriptor
from ddb_pipeline.hive.types import Column
from ddb_pipeline.lake.current.manifest import Manifest
from ddb_pipeline.lake.current.rows import ORIGIN_COLUMNS
from ddb_pipeline.lake.layout import CURRENT_PREFIX, CURRENT_VERSIONS_PREFIX
from ddb_pipeline.lake.objects import list_folders, list_objects
from ddb_pipeline.lake.root import LakeRoot

if TYPE_CHECKING:
    from mypy_boto3_glue.client import GlueClient
    from mypy_boto3_glue.type_defs import TableInputTypeDef
    from mypy_boto3_s3.client import S3Client

GRACE_SECONDS: Final = 3600.0
"""How long the files of a version stay after the next one is there."""
COPIES: Final = 8
DELETED_AT_ONCE: Final = 1000


def version_prefix(manifest: Manifest) -> str:
    """The prefix of a version's files."""
    return f"{CURRENT_VERSIONS_PREFIX}{manifest.version:010d}-{manifest.run}/"


def publish_version(
    s3: "S3Client",
    glue: "GlueClient",
    lake: LakeRoot,
    reference: TableReference,
    manifest: Manifest,
    now: float,
) -> str:
    """Have the catalog table read a version; returns its location.

    Does nothing where it reads this version already. Older versions are removed after their time.

    Raises:
        CatalogError: the catalog table cannot be written.
    """
    prefix = version_prefix(manifest)
    location = lake.uri(prefix)
    columns = (*manifest.columns, *ORIGIN_COLUMNS)
    table = find_table(glue, reference)
    if table is not None and location_of(table) == location and table.columns == columns:
        return location
    copy_version(s3, lake, manifest, prefix)
    if table is None:
        create_table(glue, reference, parquet_definition(reference.name, location, columns))
    update_table(glue, reference, lambda found: pointed(found, location, columns))
    remove_versions(s3, lake, prefix, now)
    return location


def copy_version(s3: "S3Client", lake: LakeRoot, manifest: Manifest, prefix: str) -> None:
    """Copy the files of a version, without their rows leaving S3."""

    def copy(number: int, path: str) -> None:
        s3.copy_object(
            Bucket=lake.bucket,
            Key=lake.object_key(f"{prefix}bucket-{number:05d}.parquet"),
            CopySource={"Bucket": lake.bucket, "Key": lake.object_key(f"{CURRENT_PREFIX}{path}")},
        )

    with ThreadPoolExecutor(COPIES, thread_name_prefix="copy") as pool:
        list(pool.map(copy, range(len(manifest.paths)), manifest.paths))


def location_of(table: CatalogTable) -> str:
    """The location of a table's data."""
    storage = table.definition.get("StorageDescriptor")
    return storage.get("Location", "") if storage else ""


def pointed(
    table: CatalogTable, location: str, columns: Sequence[Column]
) -> "TableInputTypeDef | None":
    """The table's definition with another location and columns; None where it has them."""
    if location_of(table) == location and table.columns == tuple(columns):
        return None
    return {**table.definition, "StorageDescriptor": storage_descriptor(location, columns)}


def remove_versions(s3: "S3Client", lake: LakeRoot, current: str, now: float) -> None:
    """Remove the files of versions that another one replaced long enough ago."""
    prefixes = sorted(list_folders(s3, lake, CURRENT_VERSIONS_PREFIX))
    others = [prefix for prefix in prefixes if prefix != current]
    for prefix, following in pairwise([*others, current]):
        written = [stored.modified_at for stored in list_objects(s3, lake, following, limit=1)]
        if written and written[0] <= now - GRACE_SECONDS:
            _remove(s3, lake, prefix)


def _remove(s3: "S3Client", lake: LakeRoot, prefix: str) -> None:
    keys = [lake.object_key(stored.key) for stored in list_objects(s3, lake, prefix)]
    for start in range(0, len(keys), DELETED_AT_ONCE):
        chosen = keys[start : start + DELETED_AT_ONCE]
        s3.delete_objects(Bucket=lake.bucket, Delete={"Objects": [{"Key": key} for key in chosen]})
