"""CloudFormation stacks of the one template: found, changed by change sets, deleted."""

import hashlib
import time
from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import lru_cache
from importlib.resources import files
from typing import TYPE_CHECKING, Any

from botocore.exceptions import ClientError, WaiterError

from ddb_pipeline.client_errors import access_error
from ddb_pipeline.deploy.bundle import Bundle
from ddb_pipeline.deploy.parameters import CODE_PREFIX, Stack, code_key
from ddb_pipeline.errors import DdbPipelineError

if TYPE_CHECKING:
    from mypy_boto3_cloudformation.client import CloudFormationClient
    from mypy_boto3_s3.client import S3Client

WAIT_DELAY_SECONDS = 5
WAIT_ATTEMPTS = 240
TEMPLATE_TAG = "ddb-pipeline:template"
NOTHING_TO_DO = ("didn't contain changes", "No updates are to be performed")
COMPLETE = ("CREATE_COMPLETE", "UPDATE_COMPLETE")
REVIEW = "REVIEW_IN_PROGRESS"
"""A stack of which there is no more than a change set."""
NEVER_CREATED = ("ROLLBACK_COMPLETE", "ROLLBACK_FAILED", "DELETE_FAILED")
"""States of a stack whose creation failed: it can only be deleted."""


class DeployError(DdbPipelineError):
    """A stack could not be deployed; the message names it and says why."""


@dataclass(frozen=True, slots=True)
class ResourceChange:
    """A change of one resource in a change set."""

    action: str
    logical_id: str
    resource_type: str
    replacement: str


@dataclass(frozen=True, slots=True)
class ChangeSet:
    """A change set that CloudFormation created and that has not been executed."""

    stack: str
    name: str
    creates_stack: bool
    changes: tuple[ResourceChange, ...]


@dataclass(frozen=True, slots=True)
class FoundStack:
    """A stack as it is."""

    status: str
    parameters: Mapping[str, str] = field(default_factory=dict)
    tags: Mapping[str, str] = field(default_factory=dict)
    outputs: Mapping[str, str] = field(default_factory=dict)

    def has(self, stack: Stack) -> bool:
        """Whether it is complete and has this template, these parameters and these tags."""
        given = {key: value for key, value in self.tags.items() if not key.startswith("aws:")}
        return (
            self.status in COMPLETE
            and given == {**stack.tags, TEMPLATE_TAG: template_digest()}
            and all(self.parameters.get(key) == value for key, value in stack.parameters.items())
        )


@lru_cache(maxsize=1)
def template_body() -> str:
    """Return the CloudFormation template of all pipelines."""
    return files("ddb_pipeline.deploy").joinpath("template.yaml").read_text(encoding="utf-8")


@lru_cache(maxsize=1)
def template_digest() -> str:
    """Return a digest that changes whenever the template does."""
    return hashlib.sha256(template_body().encode("utf-8")).hexdigest()[:16]


def upload_code(s3: "S3Client", code_bucket: str, bundles: Mapping[str, Bundle]) -> str:
    """Upload the template and the functions' zips, once for all stacks; returns the template's URL.

    A template in a request may have 51,200 bytes only (AWS CloudFormation quotas).
    """
    for bundle in bundles.values():
        s3.put_object(Bucket=code_bucket, Key=code_key(bundle), Body=bundle.body)
    key = f"{CODE_PREFIX}template-{template_digest()}.yaml"
    s3.put_object(Bucket=code_bucket, Key=key, Body=template_body().encode("utf-8"))
    return f"{s3.meta.endpoint_url}/{code_bucket}/{key}"


def find_stack(cloudformation: "CloudFormationClient", stack: str) -> FoundStack | None:
    """Return a stack as it is; None where there is none, or no more than a change set of it.

    Raises:
        DeployError: it cannot be described.
    """
    try:
        found: Any = cloudformation.describe_stacks(StackName=stack)["Stacks"]
    except ClientError as error:
        if "does not exist" in str(error):
            return None
        raise DeployError(f"Stack {stack!r} cannot be described: {access_error(error)}") from error
    if not found or found[0]["StackStatus"] in (REVIEW, "DELETE_COMPLETE"):
        return None
    return FoundStack(
        found[0]["StackStatus"],
        {p["ParameterKey"]: p.get("ParameterValue", "") for p in found[0].get("Parameters", [])},
        {tag["Key"]: tag["Value"] for tag in found[0].get("Tags", [])},
        {out["OutputKey"]: out["OutputValue"] for out in found[0].get("Outputs", [])},
    )


def deploy_stack(
    cloudformation: "CloudFormationClient",
    stack: Stack,
    template_url: str,
    *,
    delay_seconds: int = WAIT_DELAY_SECONDS,
) -> dict[str, str]:
    """Deploy a stack; returns its outputs."""
    change_set = create_change_set(cloudformation, stack, template_url)
    if change_set is None:
        return stack_outputs(cloudformation, stack.name)
    return execute_change_set(cloudformation, change_set, delay_seconds=delay_seconds)


def create_change_set(
    cloudformation: "CloudFormationClient", stack: Stack, template_url: str
) -> ChangeSet | None:
    """Create a change set for a stack; returns None if nothing would change.

    Raises:
        DeployError: CloudFormation refuses the template or the parameters.
    """
    creates = find_stack(cloudformation, stack.name) is None
    name = f"deploy-{time.time_ns() // 1_000_000}"
    tags = {**stack.tags, TEMPLATE_TAG: template_digest()}
    try:
        cloudformation.create_change_set(
            StackName=stack.name,
            ChangeSetName=name,
            ChangeSetType="CREATE" if creates else "UPDATE",
            TemplateURL=template_url,
            Parameters=[
                {"ParameterKey": key, "ParameterValue": value}
                for key, value in stack.parameters.items()
            ],
            Capabilities=["CAPABILITY_IAM"],
            Tags=[{"Key": key, "Value": value} for key, value in tags.items()],
        )
        cloudformation.get_waiter("change_set_create_complete").wait(
            StackName=stack.name,
            ChangeSetName=name,
            WaiterConfig={"Delay": 1, "MaxAttempts": WAIT_ATTEMPTS},
        )
    except WaiterError as error:
        reason = str(error.last_response.get("StatusReason", ""))
        if any(text in reason for text in NOTHING_TO_DO):
            cloudformation.delete_change_set(StackName=stack.name, ChangeSetName=name)
            return None
        raise DeployError(
            f"Change set for stack {stack.name!r} failed: {reason or error}"
        ) from error
    except ClientError as error:
        raise DeployError(
            f"Change set for stack {stack.name!r} was refused: {access_error(error)}"
        ) from error
    return ChangeSet(stack.name, name, creates, _changes(cloudformation, stack.name, name))


def _changes(
    cloudformation: "CloudFormationClient", stack: str, name: str
) -> tuple[ResourceChange, ...]:
    """The changes of a change set, of all pages."""
    found: list[ResourceChange] = []
    request: Any = {"StackName": stack, "ChangeSetName": name}
    while True:
        answer = cloudformation.describe_change_set(**request)
        found += (_resource_change(c.get("ResourceChange", {})) for c in answer["Changes"])
        if not answer.get("NextToken"):
            return tuple(found)
        request["NextToken"] = answer["NextToken"]


def _resource_change(change: Mapping[str, Any]) -> ResourceChange:
    return ResourceChange(
        action=change.get("Action", ""),
        logical_id=change.get("LogicalResourceId", ""),
        resource_type=change.get("ResourceType", ""),
        replacement=change.get("Replacement", ""),
    )


def execute_change_set(
    cloudformation: "CloudFormationClient",
    change_set: ChangeSet,
    *,
    delay_seconds: int = WAIT_DELAY_SECONDS,
) -> dict[str, str]:
    """Execute a change set, wait until the stack is complete, and return its outputs.

    What a creation has made is removed again where it fails, also what a deleted stack retains, so
    that the next deployment can create it.

    Raises:
        DeployError: the stack failed; the message contains the reasons that its resources report.
    """
    stack = change_set.stack
    waiter = "stack_create_complete" if change_set.creates_stack else "stack_update_complete"
    cloudformation.execute_change_set(
        StackName=stack, ChangeSetName=change_set.name, RetainExceptOnCreate=True
    )
    try:
        cloudformation.get_waiter(waiter).wait(  # type: ignore[call-overload]
            StackName=stack,
            WaiterConfig={"Delay": delay_seconds, "MaxAttempts": WAIT_ATTEMPTS},
        )
    except WaiterError as error:
        reasons = failure_reasons(cloudformation, stack)
        raise DeployError(f"Stack {stack!r} could not be deployed: {reasons or error}") from error
    return stack_outputs(cloudformation, stack)


def discard_change_set(cloudformation: "CloudFormationClient", change_set: ChangeSet) -> None:
    """Delete a change set, and the stack if it was created for this change set only."""
    cloudformation.delete_change_set(StackName=change_set.stack, ChangeSetName=change_set.name)
    if change_set.creates_stack:
        cloudformation.delete_stack(StackName=change_set.stack)


def delete_stack(
    cloudformation: "CloudFormationClient", stack: str, *, delay_seconds: int = WAIT_DELAY_SECONDS
) -> None:
    """Delete a stack and wait for it; what the template retains stays.

    Raises:
        DeployError: it could not be deleted.
    """
    try:
        cloudformation.delete_stack(StackName=stack)
        cloudformation.get_waiter("stack_delete_complete").wait(
            StackName=stack,
            WaiterConfig={"Delay": delay_seconds, "MaxAttempts": WAIT_ATTEMPTS},
        )
    except ClientError as error:
        raise DeployError(f"Stack {stack!r} could not be deleted: {access_error(error)}") from error
    except WaiterError as error:
        reasons = failure_reasons(cloudformation, stack)
        raise DeployError(f"Stack {stack!r} could not be deleted: {reasons or error}") from error


def failure_reasons(cloudformation: "CloudFormationClient", stack: str) -> str:
    """Return why resources of the stack failed, newest first."""
    try:
        events = cloudformation.describe_stack_events(StackName=stack)["StackEvents"]
    except ClientError as error:
        return str(error)
    return "; ".join(
        f"{event['LogicalResourceId']}: {event.get('ResourceStatusReason', '')}"
        for event in events
        if event.get("ResourceStatus", "").endswith("_FAILED")
    )


def stack_outputs(cloudformation: "CloudFormationClient", stack: str) -> dict[str, str]:
    """Return the stack's outputs by name."""
    outputs = cloudformation.describe_stacks(StackName=stack)["Stacks"][0].get("Outputs", [])
    return {output["OutputKey"]: output["OutputValue"] for output in outputs}
