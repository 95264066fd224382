"""The stacks of the configured pipelines, deployed to the embedded AWS from the one template."""

from collections.abc import Sequence
from dataclasses import replace

from botocore.exceptions import ClientError
from filelock import FileLock

from ddb_pipeline.client_errors import error_code
from ddb_pipeline.config.lake_stack import LakeConfig
from ddb_pipeline.config.pipeline import PipelineConfig
from ddb_pipeline.config.settings import Settings
from ddb_pipeline.deploy.bundle import build_bundles
from ddb_pipeline.deploy.estate import (
    Account,
    Outcome,
    deploy_stacks,
    is_deployed,
    waves,
)
from ddb_pipeline.deploy.existing_bucket import existing_buckets, prepare_bucket
from ddb_pipeline.deploy.stack import DeployError, upload_code
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
        deploy_changed(endpoint, settings.pipelines, settings.lake)
    return endpoint


def deploy_changed(
    endpoint: Endpoint, pipelines: Sequence[PipelineConfig], lake: LakeConfig | None = None
) -> None:
    """Deploy the stacks that are not deployed as configured.

    Raises:
        DeployError: a stack could not be deployed.
    """
    s3, glue = shared_client(endpoint, "s3"), shared_client(endpoint, "glue")
    bundles = build_bundles()
    planned = waves(lake, pipelines, pipelines, CODE_BUCKET, bundles)
    account = Account(shared_client(endpoint, "cloudformation"), glue, "", delay_seconds=1)
    if all(is_deployed(account, each) for wave in planned for each in wave):
        return
    s3.create_bucket(Bucket=CODE_BUCKET)
    account = replace(account, template_url=upload_code(s3, CODE_BUCKET, bundles))
    create_existing(endpoint, pipelines, lake)
    for result in deploy_stacks(account, planned, parallel=1):
        if result.outcome in (Outcome.FAILED, Outcome.NOT_BEGUN):
            raise DeployError(f"{result.stack}: {result.reason}")
    for bucket, users in existing_buckets(pipelines).items():
        prepare_bucket(s3, bucket, users)


def create_existing(
    endpoint: Endpoint, pipelines: Sequence[PipelineConfig], lake: LakeConfig | None
) -> None:
    """Create the buckets and databases that exist in the account but not in the embedded AWS."""
    created_buckets = {each.bucket for each in pipelines if not each.existing_bucket}
    created_databases = {each.database for each in pipelines if not each.existing_database}
    if lake is not None and not lake.existing_bucket:
        created_buckets.add(lake.bucket)
    if lake is not None and not lake.existing_database:
        created_databases.add(lake.database or lake.name)
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
