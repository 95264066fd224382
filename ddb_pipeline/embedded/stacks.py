"""The stacks of the configured pipelines, deployed to the embedded AWS from the one template."""

from collections.abc import Callable, Iterable, Mapping, Sequence
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
from ddb_pipeline.deploy.parameters import REGION_MARK, regional_bucket
from ddb_pipeline.deploy.stack import DeployError, upload_code
from ddb_pipeline.embedded.clients import shared_client
from ddb_pipeline.embedded.home import FILE_MODE, FOLDER_MODE
from ddb_pipeline.embedded.process import REGION, Endpoint, connect
from ddb_pipeline.embedded.regions import embedded_region

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
        deploy_changed(endpoint, settings.pipelines, settings.lake, settings.region)
    return endpoint


def deploy_changed(
    endpoint: Endpoint,
    pipelines: Sequence[PipelineConfig],
    lake: LakeConfig | None = None,
    region: str = REGION,
) -> None:
    """Deploy the stacks that are not deployed as configured.

    Args:
        endpoint: the embedded AWS.
        pipelines: all pipelines.
        lake: the stack that some of them share.
        region: the settings' region.

    Raises:
        DeployError: a stack could not be deployed.
    """
    endpoints = {
        each.region: replace(endpoint, region=embedded_region(each.region, region))
        for each in pipelines
    }
    bundles, code = build_bundles(), code_bucket(endpoints, region)
    planned = waves(lake, pipelines, pipelines, code, bundles)
    account = account_of(endpoints)
    create_existing(endpoints, pipelines, lake)
    if all(is_deployed(account, each) for wave in planned for each in wave):
        return
    urls = {}
    for name, each in endpoints.items():
        bucket = regional_bucket(code, name)
        create_bucket(each, bucket)
        urls[name] = upload_code(shared_client(each, "s3"), bucket, bundles)
    account = account_of(endpoints, urls)
    for result in deploy_stacks(account, planned, parallel=1):
        if result.outcome in (Outcome.FAILED, Outcome.NOT_BEGUN):
            raise DeployError(f"{result.stack}: {result.reason}")
    for bucket, users in existing_buckets(pipelines).items():
        prepare_bucket(shared_client(endpoints[users[0].region], "s3"), bucket, users)


def code_bucket(regions: Iterable[str], home: str) -> str:
    """The bucket of the functions' zips, which each region has for itself where there are several.

    Args:
        regions: the regions of the pipelines.
        home: the settings' region.
    """
    return (
        CODE_BUCKET
        if {each or home for each in regions} == {home}
        else f"{CODE_BUCKET}-{REGION_MARK}"
    )


def account_of(
    endpoints: Mapping[str, Endpoint], template_urls: Mapping[str, str] | None = None
) -> Account:
    """The embedded AWS as an account, with its part in each region."""
    urls = template_urls or {}
    regions = {
        name: Account(
            shared_client(endpoint, "cloudformation"),
            shared_client(endpoint, "glue"),
            shared_client(endpoint, "dynamodb"),
            shared_client(endpoint, "s3"),
            urls.get(name, ""),
            delay_seconds=1,
            embedded=True,
        )
        for name, endpoint in endpoints.items()
    }
    return replace(next(iter(regions.values())), regions=regions)


def create_existing(
    endpoints: Mapping[str, Endpoint],
    pipelines: Sequence[PipelineConfig],
    lake: LakeConfig | None,
) -> None:
    """Create what exists in the account but not in the embedded AWS, which is empty at first."""
    buckets = {each.bucket: each.region for each in pipelines if each.existing_bucket}
    databases = {(each.region, each.database) for each in pipelines if each.existing_database}
    created = {each.bucket for each in pipelines if not each.existing_bucket}
    databases -= {(each.region, each.database) for each in pipelines if not each.existing_database}
    members = {each.region for each in pipelines if lake is not None and each.lake_name}
    if lake is not None and not lake.existing_bucket:
        created.add(lake.bucket)
    if lake is not None and not lake.existing_database:
        databases -= {(region, lake.database or lake.name) for region in members}
    for bucket, region in buckets.items():
        if bucket not in created:
            create_bucket(endpoints[region], bucket)
    for region, database in databases:
        glue = shared_client(endpoints[region], "glue")
        _create(partial(glue.create_database, DatabaseInput={"Name": database}))
    for each in pipelines:
        if each.existing_table and not each.stream_arn:
            dynamodb = shared_client(endpoints[each.region], "dynamodb")
            _create(partial(dynamodb.create_table, **table_of(each)))


def create_bucket(endpoint: Endpoint, bucket: str) -> None:
    """Create a bucket in the endpoint's region unless it is there."""
    place: Any = {"CreateBucketConfiguration": {"LocationConstraint": endpoint.region}}
    request = {"Bucket": bucket, **({} if endpoint.region == REGION else place)}
    _create(partial(shared_client(endpoint, "s3").create_bucket, **request))


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
