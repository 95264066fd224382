"""Deployment of many stacks: in waves, several at a time, and again from where it stopped.

What is deployed as configured costs one request. A stack of which another deployment was killed is
waited for, and one whose creation failed is deleted and created. The first wave has the stacks with
what others use; the next one begins when it has succeeded.
"""

import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import Future, ThreadPoolExecutor, as_completed
from dataclasses import dataclass, field, replace
from enum import Enum
from typing import TYPE_CHECKING

from botocore.exceptions import BotoCoreError, ClientError

from ddb_pipeline.client_errors import access_error
from ddb_pipeline.config.lake_stack import LakeConfig
from ddb_pipeline.config.names import lake_table, shared_table_arn
from ddb_pipeline.config.pipeline import PipelineConfig
from ddb_pipeline.deploy.bundle import Bundle
from ddb_pipeline.deploy.parameters import (
    EXISTING_CATALOG_TABLES,
    EXISTING_STREAM_ARN,
    Stack,
    flag,
    lake_stack,
    pipeline_stack,
    regional_bucket,
)
from ddb_pipeline.deploy.stack import (
    NEVER_CREATED,
    ChangeSet,
    DeployError,
    FoundStack,
    ResourceChange,
    create_change_set,
    delete_stack,
    discard_change_set,
    execute_change_set,
    find_stack,
)
from ddb_pipeline.dynamodb.table_streams import found_stream
from ddb_pipeline.errors import DdbPipelineError
from ddb_pipeline.glue.catalog import find_table

if TYPE_CHECKING:
    from mypy_boto3_cloudformation.client import CloudFormationClient
    from mypy_boto3_dynamodb.client import DynamoDBClient
    from mypy_boto3_glue.client import GlueClient
    from mypy_boto3_s3.client import S3Client

WAIT_SECONDS = 1200.0
"""How long the deployment of another process is waited for."""
IN_PROGRESS = "_IN_PROGRESS"
STUCK = "UPDATE_ROLLBACK_FAILED"


class Outcome(Enum):
    """What a deployment did with a stack."""

    CREATED = "created"
    CHANGED = "changed"
    UNCHANGED = "unchanged"
    PLANNED = "planned"
    REMOVED = "removed"
    FAILED = "failed"
    NOT_BEGUN = "not begun"


@dataclass(frozen=True, slots=True)
class StackResult:
    """A stack after its deployment.

    Attributes:
        stack: its name.
        outcome: what was done.
        creates: whether the stack did not exist.
        changes: the resources that were changed, or would be.
        outputs: the stack's outputs, where it was created or changed.
        reason: why it failed.
    """

    stack: str
    outcome: Outcome
    creates: bool = False
    changes: tuple[ResourceChange, ...] = ()
    outputs: Mapping[str, str] | None = None
    reason: str = ""


@dataclass(frozen=True, slots=True)
class Account:
    """Where stacks are deployed.

    Attributes:
        template_url: where CloudFormation reads the template.
        delay_seconds: time between two looks at a stack that is being changed.
        embedded: whether it is the embedded AWS, in which a kill may leave anything and nobody
            else deploys: nothing is waited for, and what is there is used.
        regions: the same account in the regions of pipelines, by region.
    """

    cloudformation: "CloudFormationClient"
    glue: "GlueClient"
    dynamodb: "DynamoDBClient"
    s3: "S3Client"
    template_url: str
    delay_seconds: int = 5
    embedded: bool = False
    regions: Mapping[str, "Account"] = field(default_factory=dict)

    def in_region(self, region: str) -> "Account":
        """The account in a region."""
        return self.regions.get(region, self)


@dataclass(frozen=True, slots=True)
class Planned:
    """A stack to deploy, the pipeline that it is for (None for a lake's), and its region."""

    stack: Stack
    pipeline: PipelineConfig | None = None
    region: str = ""


Waves = Sequence[Sequence[Planned]]
OnResult = Callable[[StackResult], None]


def waves(
    lake: LakeConfig | None,
    pipelines: Sequence[PipelineConfig],
    configured: Sequence[PipelineConfig],
    code_bucket: str,
    bundles: Mapping[str, Bundle],
) -> list[list[Planned]]:
    """The stacks of these pipelines, those first that create what others use.

    Args:
        lake: the lake, whose stack is deployed with its pipelines.
        pipelines: the pipelines to deploy.
        configured: all pipelines; the lake's stack is about those of the lake.
        code_bucket: the bucket of the functions' zips; ``{region}`` stands for a stack's region.
        bundles: the functions' zips by name.

    Raises:
        LakeConfigError: the lake's stack cannot be deployed as it is configured.
    """
    found: list[list[Planned]] = [[], [], []]
    members = [each for each in pipelines if lake is not None and each.lake_name == lake.name]
    if lake is not None and members:
        region = members[0].region
        stack = lake_stack(lake, configured, regional_bucket(code_bucket, region), bundles)
        found[0].append(Planned(stack, region=region))
    for each in pipelines:
        bucket = regional_bucket(code_bucket, each.region)
        planned = Planned(pipeline_stack(each, bucket, bundles), each, each.region)
        found[1 if _creates_for_others(each, configured) else 2].append(planned)
    return [wave for wave in found if wave]


def _creates_for_others(pipeline: PipelineConfig, pipelines: Sequence[PipelineConfig]) -> bool:
    return any(
        (other.existing_bucket and not pipeline.existing_bucket and other.bucket == pipeline.bucket)
        or (
            other.existing_database
            and not pipeline.existing_database
            and (other.region, other.database) == (pipeline.region, pipeline.database)
        )
        for other in pipelines
    )


def deploy_stacks(
    account: Account,
    planned: Waves,
    *,
    parallel: int,
    dry_run: bool = False,
    on_result: OnResult = lambda result: None,
) -> list[StackResult]:
    """Deploy stacks, ``parallel`` at a time; a stack that fails stops none of its wave.

    Args:
        dry_run: create change sets, and discard them.
        on_result: called with each result as it comes.
    """
    results: list[StackResult] = []
    for wave in planned:
        if any(result.outcome is Outcome.FAILED for result in results):
            reason = "what it uses was not deployed"
            done = [StackResult(each.stack.name, Outcome.NOT_BEGUN, reason=reason) for each in wave]
            for result in done:
                on_result(result)
            results += done
            continue
        results += _wave(account, wave, parallel, dry_run, on_result)
    return results


def _wave(
    account: Account, wave: Sequence[Planned], parallel: int, dry_run: bool, on_result: OnResult
) -> Iterator[StackResult]:
    with ThreadPoolExecutor(parallel, thread_name_prefix="deploy") as pool:
        running: list[Future[StackResult]] = [
            pool.submit(deploy_one, account, planned, dry_run=dry_run) for planned in wave
        ]
        try:
            for future in as_completed(running):
                on_result(future.result())
                yield future.result()
        except BaseException:
            # Those that have begun end; the next deployment does the others.
            pool.shutdown(wait=False, cancel_futures=True)
            raise


def deploy_one(account: Account, planned: Planned, *, dry_run: bool = False) -> StackResult:
    """Deploy a stack; the result says so where it fails."""
    name, account = planned.stack.name, account.in_region(planned.region)
    try:
        found = usable_stack(account, name, dry_run=dry_run)
        stack = settled(account, planned, found)
        if found is None and not account.embedded:
            check_nothing_exists(account, stack)
        if found is not None and found.has(stack):
            return StackResult(name, Outcome.UNCHANGED)
        change_set = create_change_set(account.cloudformation, stack, account.template_url)
        if change_set is None:
            return StackResult(name, Outcome.UNCHANGED)
        return _executed(account, change_set, dry_run=dry_run)
    except (DdbPipelineError, ClientError, BotoCoreError) as error:
        return _failed(name, error)


def is_deployed(account: Account, planned: Planned) -> bool:
    """Whether a stack is complete and as it is to be.

    Raises:
        DeployError: it cannot be described.
    """
    account = account.in_region(planned.region)
    found = find_stack(account.cloudformation, planned.stack.name)
    return found is not None and found.has(settled(account, planned, found))


def _executed(account: Account, change_set: ChangeSet, *, dry_run: bool) -> StackResult:
    creates, changes = change_set.creates_stack, change_set.changes
    if dry_run:
        discard_change_set(account.cloudformation, change_set)
        return StackResult(change_set.stack, Outcome.PLANNED, creates, changes)
    outputs = execute_change_set(
        account.cloudformation, change_set, delay_seconds=account.delay_seconds
    )
    outcome = Outcome.CREATED if creates else Outcome.CHANGED
    return StackResult(change_set.stack, outcome, creates, changes, outputs)


def usable_stack(account: Account, name: str, *, dry_run: bool) -> FoundStack | None:
    """The stack in a state in which it can be changed; None where it is to be created.

    Waits for a change that is in progress, and deletes a stack whose creation failed.

    Raises:
        DeployError: it cannot be brought into such a state.
    """
    deadline = time.monotonic() + WAIT_SECONDS
    while True:
        found = find_stack(account.cloudformation, name)
        if found is None or account.embedded or not found.status.endswith(IN_PROGRESS):
            break
        if time.monotonic() > deadline or dry_run:
            raise DeployError(f"Stack {name!r} is being changed ({found.status}). Wait for it.")
        time.sleep(account.delay_seconds)
    if found is None or found.status in NEVER_CREATED:
        if found is not None and not dry_run:
            delete_stack(account.cloudformation, name, delay_seconds=account.delay_seconds)
        return None
    if found.status == STUCK:
        raise DeployError(
            f"Stack {name!r} is {STUCK}. Run aws cloudformation continue-update-rollback "
            f"--stack-name {name}, then deploy again."
        )
    return found


def settled(account: Account, planned: Planned, found: FoundStack | None) -> Stack:
    """The stack with the parameters that follow from what is in the account.

    It does not create catalog tables that remain from a removed pipeline; a stack that exists
    stays as it was created: its tables are its own, or not. A table's stream is looked for where
    the configuration does not name it.

    Raises:
        TableStreamError: a table that exists has not the stream that the pipeline needs.
    """
    pipeline = planned.pipeline
    if pipeline is None:
        return planned.stack
    if found is None:
        exists = find_table(account.glue, lake_table(pipeline), pipeline.catalog_id) is not None
    else:
        exists = found.parameters.get(EXISTING_CATALOG_TABLES) == "true"
    parameters = {**planned.stack.parameters, EXISTING_CATALOG_TABLES: flag(exists)}
    if pipeline.existing_table and not pipeline.stream_arn:
        arn = "" if account.embedded else shared_table_arn(pipeline)
        table = arn or pipeline.dynamodb_table
        parameters[EXISTING_STREAM_ARN] = found_stream(account.dynamodb, table)
    return replace(planned.stack, parameters=parameters)


def check_nothing_exists(account: Account, stack: Stack) -> None:
    """Check that what a new stack is to create is not there, such as of a removed pipeline.

    Raises:
        DeployError: it is; the message names the setting with which it is used.
    """
    given = stack.parameters
    creates = {
        "existing_bucket": given.get("ExistingBucket") == "false" and given["Part"] != "table",
        "existing_database": given.get("ExistingDatabase") == "false" and given["Part"] != "table",
        "existing_table": given.get(EXISTING_STREAM_ARN) == "" and given["Part"] != "lake",
    }
    requests: dict[str, tuple[str, Callable[[], object]]] = {
        "existing_bucket": (
            f"Bucket {given.get('BucketName')!r}",
            lambda: account.s3.head_bucket(Bucket=given["BucketName"]),
        ),
        "existing_database": (
            f"Database {given.get('DatabaseName')!r}",
            lambda: account.glue.get_database(Name=given["DatabaseName"]),
        ),
        "existing_table": (
            f"DynamoDB table {given.get('TableName')!r}",
            lambda: account.dynamodb.describe_table(TableName=given["TableName"]),
        ),
    }
    for setting, (what, request) in requests.items():
        if creates[setting] and _exists(request):
            raise DeployError(
                f"{what} exists already, and stack {stack.name!r} would create it. Set {setting} = "
                "true to use it, or choose another name."
            )


def _exists(request: Callable[[], object]) -> bool:
    """Whether a request finds something; where that is not known, CloudFormation finds out."""
    try:
        request()
    except ClientError:
        return False
    return True


def remove_stacks(
    account: Account,
    stacks: Sequence[tuple[str, str]],
    *,
    parallel: int,
    on_result: OnResult = lambda result: None,
) -> list[StackResult]:
    """Delete stacks, each a region and a name, ``parallel`` at a time.

    What their template retains stays.
    """
    results = []
    with ThreadPoolExecutor(parallel, thread_name_prefix="remove") as pool:
        placed = [(account.in_region(region), name) for region, name in stacks]
        for result in pool.map(lambda each: remove_one(*each), placed):
            on_result(result)
            results.append(result)
    return results


def remove_one(account: Account, stack: str) -> StackResult:
    """Delete a stack; the result says so where it fails."""
    try:
        if find_stack(account.cloudformation, stack) is None:
            return StackResult(stack, Outcome.UNCHANGED)
        delete_stack(account.cloudformation, stack, delay_seconds=account.delay_seconds)
    except (DdbPipelineError, ClientError, BotoCoreError) as error:
        return _failed(stack, error)
    return StackResult(stack, Outcome.REMOVED)


def _failed(stack: str, error: Exception) -> StackResult:
    """The result of a failure, in one line with what to do."""
    return StackResult(stack, Outcome.FAILED, reason=access_error(error) or str(error))
