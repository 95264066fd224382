"""S3 as pyarrow's file system, embedded or real; paths are ``bucket/key``."""

from collections.abc import Mapping
from typing import Any

import pyarrow.fs


def s3_filesystem(client_arguments: Mapping[str, Any]) -> pyarrow.fs.FileSystem:
    """S3 as the boto3 clients of these keyword arguments see it."""
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
    """The same S3 for a child process: what pyarrow and every AWS SDK read from the environment."""
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
    """The real S3, in the bucket's own region, with the credentials that the machine has.

    Raises:
        OSError: there is no such bucket.
    """
    return pyarrow.fs.S3FileSystem(region=pyarrow.fs.resolve_s3_region(bucket))
