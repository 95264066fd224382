"""boto3 clients that the overlay uses to speak to the server it is part of."""

from functools import lru_cache
from typing import Any

import boto3
from botocore.config import Config

from ddb_pipeline.embedded.process import Endpoint


@lru_cache(maxsize=32)
def client(endpoint: str, service: str) -> Any:
    """A client of this very server. Not for use on its event loop, which has to answer it."""
    here = Endpoint(endpoint)
    create: Any = boto3.session.Session().client
    return create(
        service,
        endpoint_url=here.url,
        region_name=here.region,
        aws_access_key_id=here.access_key_id,
        aws_secret_access_key=here.secret_access_key,
        config=Config(proxies={}, s3={"addressing_style": "path"}),
    )
