"""The pipelines' stacks in the embedded AWS, deployed from the one template."""

from typing import Any

import boto3
from botocore.config import Config
from filelock import FileLock

from ddb_pipeline.config.settings import Settings
from ddb_pipeline.deploy.bundle import build_bundles
from ddb_pipeline.deploy.stack import deploy_stack, is_deployed, stack_parameters, upload_code
from ddb_pipeline.embedded.process import Endpoint, connect

CODE_BUCKET = "embedded-function-code"
CREATED_FILE = "created"
DEPLOY_TIMEOUT_SECONDS = 120


def client_arguments(endpoint: Endpoint) -> dict[str, Any]:
    """What ``boto3.client`` needs to speak to the embedded AWS and to nothing else."""
    return {
        "endpoint_url": endpoint.url,
        "region_name": endpoint.region,
        "aws_access_key_id": endpoint.access_key_id,
        "aws_secret_access_key": endpoint.secret_access_key,
        "config": Config(
            retries={"mode": "standard", "max_attempts": 3},
            proxies={},
            s3={"addressing_style": "path"},
        ),
    }


def connect_with_stacks(settings: Settings) -> Endpoint:
    """The embedded AWS with every configured pipeline's stack standing in it.

    Starts it where it does not run and deploys what is missing or has changed; one process at a
    time does so, the others wait for it.

    Raises:
        EmbeddedError: it could not be started.
        DeployError: a stack could not be deployed.
    """
    home = settings.home / "embedded"
    endpoint = connect(home)
    created = home / CREATED_FILE
    if not created.exists():
        created.touch()
    create: Any = boto3.session.Session().client
    arguments = client_arguments(endpoint)
    cloudformation = create("cloudformation", **arguments)
    bundles = build_bundles()
    with FileLock(home / "deploy.lock", timeout=DEPLOY_TIMEOUT_SECONDS):
        for pipeline in settings.pipelines:
            parameters = stack_parameters(pipeline, CODE_BUCKET, bundles)
            if is_deployed(cloudformation, pipeline.stack, parameters):
                continue
            s3 = create("s3", **arguments)
            s3.create_bucket(Bucket=CODE_BUCKET)
            upload_code(s3, pipeline, CODE_BUCKET, bundles)
            deploy_stack(cloudformation, pipeline.stack, parameters, delay_seconds=1)
    return endpoint
