"""The stacks of the configured pipelines, deployed to the embedded AWS from the one template."""

from collections.abc import Callable, Sequence
from dataclasses import replace
from functools import partial
from typing import Any

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
ALREADY_EXISTS = (
    "AlreadyExistsException",
    "BucketAlreadyOwnedByYou",
    "BucketAlreadyExists",
    "ResourceInUseException",
)


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
    account = Account(
        shared_client(endpoint, "cloudformation"),
        glue,
        shared_client(endpoint, "dynamodb"),
        s3,
        template_url="",
        delay_seconds=1,
        embedded=True,
    )
    create_existing(endpoint, pipelines, lake)
    if all(is_deployed(account, each) for wave in planned for each in wave):
        return
    s3.create_bucket(Bucket=CODE_BUCKET)
    account = replace(account, template_url=upload_code(s3, CODE_BUCKET, bundles))
    for result in deploy_stacks(account, planned, parallel=1):
        if result.outcome in (Outcome.FAILED, Outcome.NOT_BEGUN):
            raise DeployError(f"{result.stack}: {result.reason}")
    for bucket, users in existing_buckets(pipelines).items():
        prepare_bucket(s3, bucket, users)


def create_existing(
    endpoint: Endpoint, pipelines: Sequence[PipelineConfig], lake: LakeConfig | None
) -> None:
    """Create what exists in the account but not in the embedded AWS, which is empty at first."""
    buckets = {each.bucket for each in pipelines if each.existing_bucket}
    databases = {each.database for each in pipelines if each.existing_database}
    buckets -= {each.bucket for each in pipelines if not each.existing_bucket}
    databases -= {each.database for each in pipelines if not each.existing_database}
    if lake is not None and not lake.existing_bucket:
        buckets.discard(lake.bucket)
    if lake is not None and not lake.existing_database:
        databases.discard(lake.database or lake.name)
    s3, glue = shared_client(endpoint, "s3"), shared_client(endpoint, "glue")
    dynamodb = shared_client(endpoint, "dynamodb")
    for bucket in buckets:
        _create(partial(s3.create_bucket, Bucket=bucket))
    for database in databases:
        _create(partial(glue.create_database, DatabaseInput={"Name": database}))
    for each in pipelines:
        if each.existing_table and not each.stream_arn:
            _create(partial(dynamodb.create_table, **table_of(each)))


def _create(request: Callable[[], object]) -> None:
    """Create a resource unless it is there."""
    try:
        request()
    except ClientError as error:
        if error_code(error) not in ALREADY_EXISTS:
            raise


def table_of(pipeline: PipelineConfig) -> dict[str, Any]:
    """A table with the configured keys and a stream, as CreateTable takes it."""
    keys = [(pipeline.partition_key, pipeline.partition_key_type.value, "HASH")]
    if pipeline.sort_key:
        keys.append((pipeline.sort_key, pipeline.sort_key_type.value, "RANGE"))
    return {
        "TableName": pipeline.dynamodb_table,
        "BillingMode": "PAY_PER_REQUEST",
        "AttributeDefinitions": [
            {"AttributeName": name, "AttributeType": kind} for name, kind, _ in keys
        ],
        "KeySchema": [{"AttributeName": name, "KeyType": role} for name, _, role in keys],
        "StreamSpecification": {"StreamEnabled": True, "StreamViewType": "NEW_AND_OLD_IMAGES"},
    }
