"""Folders and URLs that a command is given, as file systems and paths."""

from pathlib import Path

import click
import pyarrow.fs

from ddb_pipeline.config.settings import Target, load_settings, wanted_target
from ddb_pipeline.resources.filesystem import real_bucket_filesystem, s3_filesystem

S3 = "s3://"


def located(place: str) -> tuple[pyarrow.fs.FileSystem, str]:
    """The file system of a folder or ``s3://`` URL, and the path in it.

    Raises:
        click.UsageError: the URL names no bucket, or one that is not there.
    """
    if not place.startswith(S3):
        return pyarrow.fs.LocalFileSystem(), str(Path(place).absolute())
    path = place[len(S3) :].strip("/")
    if not path:
        raise click.UsageError(f"{place} names no bucket.")
    return s3_of(path.partition("/")[0]), path


def s3_of(bucket: str) -> pyarrow.fs.FileSystem:
    """The embedded S3, or the real one where ``DDB_PIPELINE_TARGET=aws`` asks for it."""
    if wanted_target() is Target.AWS:
        try:
            return real_bucket_filesystem(bucket)
        except OSError as error:
            raise click.UsageError(f"Bucket {bucket!r}: {error}") from error
    # Slow to import, and needed here alone.
    from ddb_pipeline.embedded.clients import client_arguments
    from ddb_pipeline.embedded.stacks import connect_with_stacks

    return s3_filesystem(client_arguments(connect_with_stacks(load_settings())))
