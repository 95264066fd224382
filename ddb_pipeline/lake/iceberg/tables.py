"""The two tables of a pipeline: its current view and the compacted hours of its stream."""

from typing import Final

from ddb_pipeline.hive.types import Column
from ddb_pipeline.lake.current.bucket import BUCKET_COLUMN
from ddb_pipeline.lake.current.manifest import Manifest
from ddb_pipeline.lake.current.rows import DELIVERY_PARTITIONS, ORIGIN_COLUMNS
from ddb_pipeline.lake.hour_generations import Generation
from ddb_pipeline.lake.iceberg.files import Source
from ddb_pipeline.lake.iceberg.publish import Wanted
from ddb_pipeline.lake.layout import DeliveryHour
from ddb_pipeline.lake.root import LakeRoot

CURRENT_PARTITIONS: Final = (Column(BUCKET_COLUMN, "int"),)
STREAM_PARTITIONS: Final = tuple(Column(name, "string") for name in DELIVERY_PARTITIONS)
VERSION: Final = "ddb-pipeline.version"
"""Property of a snapshot: the version of the view, or the generation of an hour, that it shows."""


def wanted_view(manifest: Manifest, view: str) -> Wanted:
    """The files of a version of the current view, each bucket a partition.

    They are copied, since the view deletes its own files when it replaces them. A bucket without
    items has no file.

    Args:
        manifest: the version.
        view: the view's folder, as ``bucket/prefix``.
    """
    return Wanted(
        (*manifest.columns, *ORIGIN_COLUMNS),
        tuple(
            Source(f"{view}/{file.path}", file.path, (bucket,))
            for bucket, file in enumerate(manifest.files)
            if file.rows
        ),
        properties={VERSION: f"{manifest.version}-{manifest.run}"},
    )


def wanted_hour(generation: Generation, hour: DeliveryHour, lake: LakeRoot) -> Wanted:
    """The files of an hour's generation, which the table reads where compaction has written them.

    ``vacuum`` leaves a replaced generation until no snapshot has its files.
    """
    partition = (hour.date, hour.hour)
    return Wanted(
        generation.columns,
        tuple(
            Source(lake.path(key), f"{generation.folder}/{part.path}", partition)
            for key, part in zip(generation.keys(hour), generation.files, strict=True)
        ),
        partition,
        copied=False,
        properties={VERSION: f"{hour.partition_key} {generation.folder}"},
    )
