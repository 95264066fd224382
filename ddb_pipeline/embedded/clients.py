"""boto3 clients of the embedded AWS."""

from functools import lru_cache
from typing import Any

import boto3
from botocore.config import Config

from ddb_pipeline.embedded.process import Endpoint


def client_arguments(endpoint: Endpoint) -> dict[str, Any]:
    """Return the arguments of ``boto3.client`` for the embedded AWS and for nothing else."""
    return {
        "endpoint_url": endpoint.url,
        "region_name": endpoint.region,
        "aws_access_key_id": endpoint.credentials.access_key_id,
        "aws_secret_access_key": endpoint.credentials.secret_access_key,
        "config": Config(
            retries={"mode": "standard", "max_attempts": 3},
            proxies={},
            s3={"addressing_style": "path"},
        ),
    }


@lru_cache(maxsize=32)
def shared_client(endpoint: Endpoint, service: str) -> Any:
    """Return this process's one client of a service.

    The server's own services use it as well. They must not call it on the server's event loop,
    which has to answer the request.
    """
    create: Any = boto3.session.Session().client
    return create(service, **client_arguments(endpoint))
