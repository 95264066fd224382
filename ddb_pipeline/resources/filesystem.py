"""S3 as a pyarrow file system, of the embedded AWS or a real account."""

from collections.abc import Mapping
from typing import Any

import pyarrow.fs


def s3_filesystem(client_arguments: Mapping[str, Any]) -> pyarrow.fs.FileSystem:
    """Return the S3 that boto3 clients with these arguments access; paths are ``bucket/key``."""
    endpoint = client_arguments.get("endpoint_url")
    options: dict[str, Any] = {"region": client_arguments["region_name"]}
    if endpoint:
        scheme, _, host = endpoint.partition("://")
        options |= {"endpoint_override": host, "scheme": scheme}
    if client_arguments.get("aws_access_key_id"):
        options |= {
            "access_key": client_arguments["aws_access_key_id"],
            "secret_key": client_arguments["aws_secret_access_key"],
            "session_token": client_arguments.get("aws_session_token"),
        }
    return pyarrow.fs.S3FileSystem(**options)


def s3_environment(client_arguments: Mapping[str, Any]) -> dict[str, str]:
    """Return the environment by which a child process accesses the same S3.

    pyarrow and every AWS SDK read these variables.
    """
    variables = {
        "AWS_ENDPOINT_URL_S3": client_arguments.get("endpoint_url"),
        "AWS_DEFAULT_REGION": client_arguments.get("region_name"),
        "AWS_REGION": client_arguments.get("region_name"),
        "AWS_ACCESS_KEY_ID": client_arguments.get("aws_access_key_id"),
        "AWS_SECRET_ACCESS_KEY": client_arguments.get("aws_secret_access_key"),
        "AWS_SESSION_TOKEN": client_arguments.get("aws_session_token"),
    }
    return {name: str(value) for name, value in variables.items() if value}


def real_bucket_filesystem(bucket: str) -> pyarrow.fs.FileSystem:
    """Return real S3 in the bucket's region, with the machine's default credentials.

    Raises:
        OSError: the bucket does not exist.
    """
    return pyarrow.fs.S3FileSystem(region=pyarrow.fs.resolve_s3_region(bucket))
