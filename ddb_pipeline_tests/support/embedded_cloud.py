"""The embedded AWS of a test run as the resource of assets, without any pipeline's stack."""

import os

from ddb_pipeline.config.settings import Settings
from ddb_pipeline.embedded.clients import client_arguments
from ddb_pipeline.embedded.process import Endpoint
from ddb_pipeline.resources.cloud import CloudResource


def embedded_cloud(endpoint: Endpoint) -> CloudResource:
    """The resource that connects to this embedded AWS as to a real account."""
    settings = Settings.model_validate({"target": "aws", "pipelines": [{"name": "logs"}]})
    arguments = {k: v for k, v in client_arguments(endpoint).items() if k != "config"}
    return CloudResource(settings=settings.model_dump(mode="json", exclude_none=True), **arguments)


def new_lake(cloud: CloudResource, stem: str) -> str:
    """Create a database, and a bucket of the same name; returns the name."""
    name = f"{stem}-{os.urandom(4).hex()}"
    cloud.s3.create_bucket(Bucket=name)
    cloud.glue.create_database(DatabaseInput={"Name": name})
    return name
