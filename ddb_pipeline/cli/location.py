"""Where a command's folder or file is: on this machine, or in S3."""

from pathlib import Path

import pyarrow.fs

S3 = "s3://"


def located(place: str) -> tuple[pyarrow.fs.FileSystem, str]:
    """The file system of a path or ``s3://`` URL, and the path in it."""
    if not place.startswith(S3):
        return pyarrow.fs.LocalFileSystem(), str(Path(place).absolute())
    # Dagster's AWS resources are slow to import and needed for S3 alone.
    from ddb_pipeline.config import load_settings
    from ddb_pipeline.resources.cloud import CloudResource

    return CloudResource.of(load_settings()).filesystem(), place[len(S3) :].rstrip("/")
