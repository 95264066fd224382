"""Folders and ``s3://`` URLs given to a command, as file systems and paths."""

from pathlib import Path

import click
import pyarrow.fs

S3 = "s3://"


def filesystem_and_path(location: str) -> tuple[pyarrow.fs.FileSystem, str]:
    """The file system of a folder, a file or an ``s3://`` URL, and the path in it.

    Raises:
        click.UsageError: the URL names no bucket.
        click.ClickException: the bucket does not exist, or S3 cannot be reached.
    """
    if not location.startswith(S3):
        return pyarrow.fs.LocalFileSystem(), str(Path(location).absolute())
    path = location[len(S3) :].strip("/")
    if not path:
        raise click.UsageError(f"{location} names no bucket.")
    return bucket_filesystem(path.partition("/")[0]), path


def bucket_filesystem(bucket: str) -> pyarrow.fs.FileSystem:
    """The embedded S3, or the real one if ``DDB_PIPELINE_TARGET`` is ``aws``.

    Raises:
        click.ClickException: the bucket does not exist, or S3 cannot be reached.
    """
    # The configuration and boto3 are slow to import, and local paths need neither.
    from ddb_pipeline.config.settings import Target, load_settings, wanted_target
    from ddb_pipeline.resources.filesystem import real_bucket_filesystem, s3_filesystem

    if wanted_target() is Target.AWS:
        try:
            return real_bucket_filesystem(bucket)
        except OSError as error:
            raise click.ClickException(
                f"Bucket {bucket!r} cannot be used: {' '.join(str(error).split())}. Check its "
                "name, the credentials and the network."
            ) from error
    from ddb_pipeline.embedded.clients import client_arguments
    from ddb_pipeline.embedded.stacks import connect_with_stacks

    return s3_filesystem(client_arguments(connect_with_stacks(load_settings())))
