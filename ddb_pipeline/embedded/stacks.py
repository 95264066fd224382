"""The stacks of the configured pipelines, deployed to the embedded AWS from the one template."""

from collections.abc import Sequence

from botocore.exceptions import ClientError
from filelock import FileLock

from ddb_pipeline.client_errors import error_code
from ddb_pipeline.config.pipeline import PipelineConfig
from ddb_pipeline.config.settings import Settings
from ddb_pipeline.deploy.bundle import build_bundles
from ddb_pipeline.deploy.existing_bucket import existing_buckets, prepare_bucket
from ddb_pipeline.deploy.stack import (
    creating_first,
    deploy_stack,
    is_deployed,
    stack_parameters,
    upload_code,
)
from ddb_pipeline.embedded.clients import shared_client
from ddb_pipeline.embedded.home import FILE_MODE, FOLDER_MODE
from ddb_pipeline.embedded.process import Endpoint, connect

CODE_BUCKET = "embedded-function-code"
CREATED_FILE = "created"
DEPLOY_TIMEOUT_SECONDS = 120
ALREADY_EXISTS = ("AlreadyExistsException", "BucketAlreadyOwnedByYou", "BucketAlreadyExists")


def connect_with_stacks(settings: Settings) -> Endpoint:
    """Start the embedded AWS where it does not run; deploy what changed of each pipeline's stack.

    One process at a time deploys; the others wait for it.

    Raises:
        EmbeddedError: the embedded AWS could not be started.
        DeployError: a stack could not be deployed.
    """
    settings.home.mkdir(mode=FOLDER_MODE, parents=True, exist_ok=True)
    home = settings.home / "embedded"
    endpoint = connect(home)
    created = home / CREATED_FILE
    if not created.exists():
        created.touch(mode=FILE_MODE)
    with FileLock(home / "deploy.lock", timeout=DEPLOY_TIMEOUT_SECONDS, mode=FILE_MODE):
        deploy_changed(endpoint, settings.pipelines)
    return endpoint


def deploy_changed(endpoint: Endpoint, pipelines: Sequence[PipelineConfig]) -> None:
    """Deploy the stacks that are not deployed as configured.

    Raises:
        DeployError: a stack could not be deployed.
    """
    cloudformation = shared_client(endpoint, "cloudformation")
    bundles = build_bundles()
    changed = [
        (pipeline, parameters)
        for pipeline in creating_first(pipelines)
        if not is_deployed(
            cloudformation,
            pipeline.stack,
            parameters := stack_parameters(pipeline, CODE_BUCKET, bundles),
        )
    ]
    if not changed:
        return
    s3 = shared_client(endpoint, "s3")
    s3.create_bucket(Bucket=CODE_BUCKET)
    create_existing(endpoint, pipelines)
    for pipeline, parameters in changed:
        upload_code(s3, CODE_BUCKET, bundles)
        deploy_stack(cloudformation, pipeline.stack, parameters, delay_seconds=1)
    for bucket, users in existing_buckets(pipelines).items():
        prepare_bucket(s3, bucket, users)


def create_existing(endpoint: Endpoint, pipelines: Sequence[PipelineConfig]) -> None:
    """Create the buckets and databases that exist in the account but not in the embedded AWS."""
    created_buckets = {each.bucket for each in pipelines if not each.existing_bucket}
    created_databases = {each.database for each in pipelines if not each.existing_database}
    s3, glue = shared_client(endpoint, "s3"), shared_client(endpoint, "glue")
    for bucket in {each.bucket for each in pipelines} - created_buckets:
        try:
            s3.create_bucket(Bucket=bucket)
        except ClientError as error:
            if error_code(error) not in ALREADY_EXISTS:
                raise
    for database in {each.database for each in pipelines} - created_databases:
        try:
            glue.create_database(DatabaseInput={"Name": database})
        except ClientError as error:
            if error_code(error) not in ALREADY_EXISTS:
                raise
