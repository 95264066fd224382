"""The CloudFormation stack of a pipeline: its parameters and change sets, and their execution."""

import hashlib
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from importlib.resources import files
from typing import TYPE_CHECKING, Any

from botocore.exceptions import ClientError, WaiterError

from ddb_pipeline.config.names import crawled_table, lake_table, resource_stem, snapshot_table
from ddb_pipeline.config.pipeline import FunctionSetting, PipelineConfig
from ddb_pipeline.deploy.bundle import Bundle
from ddb_pipeline.errors import DdbPipelineError

if TYPE_CHECKING:
    from mypy_boto3_cloudformation.client import CloudFormationClient
    from mypy_boto3_s3.client import S3Client

WAIT_DELAY_SECONDS = 5
WAIT_ATTEMPTS = 240
CODE_PREFIX = "ddb-pipeline/"
TEMPLATE_TAG = "ddb-pipeline:template"
NOTHING_TO_DO = ("didn't contain changes", "No updates are to be performed")


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


def template_body() -> str:
    """Return the CloudFormation template of all pipelines."""
    return files("ddb_pipeline.deploy").joinpath("template.yaml").read_text(encoding="utf-8")


def template_digest() -> str:
    """Return a digest that changes whenever the template does."""
    return hashlib.sha256(template_body().encode("utf-8")).hexdigest()[:16]


def code_key(bundle: Bundle) -> str:
    """Return the object key of a function's zip, for all pipelines; it contains the zip's hash."""
    return f"{CODE_PREFIX}{bundle.name}-{bundle.sha256[:16]}.zip"


def creating_first(pipelines: Sequence[PipelineConfig]) -> list[PipelineConfig]:
    """The pipelines in an order in which each finds the bucket and database of another's stack."""
    return sorted(pipelines, key=lambda each: each.existing_bucket + each.existing_database)


def stack_parameters(
    pipeline: PipelineConfig, code_bucket: str, bundles: Mapping[str, Bundle]
) -> dict[str, str]:
    """Return the template's parameters for a pipeline; ``bundles`` are by function name."""
    return {
        "PipelineName": resource_stem(pipeline.name),
        "TableName": pipeline.dynamodb_table,
        "ExistingStreamArn": pipeline.stream_arn,
        "PartitionKeyName": pipeline.partition_key,
        "PartitionKeyType": pipeline.partition_key_type.value,
        "SortKeyName": pipeline.sort_key,
        "SortKeyType": pipeline.sort_key_type.value,
        "BucketName": pipeline.bucket,
        "ExistingBucket": "true" if pipeline.existing_bucket else "false",
        "LakePrefix": pipeline.lake.prefix,
        "DatabaseName": pipeline.database,
        "ExistingDatabase": "true" if pipeline.existing_database else "false",
        "TablePrefix": pipeline.table_prefix,
        "CrawledTableName": crawled_table(pipeline).name,
        "LakeTableName": lake_table(pipeline).name,
        "SnapshotTableName": snapshot_table(pipeline).name,
        "DeliverySchema": pipeline.delivery_schema.value,
        "SchemaFix": pipeline.schema_fix.value,
        "StreamReader": pipeline.stream_reader.value,
        "BufferSeconds": str(pipeline.buffer_seconds),
        "RedeliveredDays": str(pipeline.retention.redelivered_days),
        "ExportPrefix": pipeline.bucket_export_prefix,
        "EmrServerless": "true" if pipeline.spark.emr_serverless else "false",
        **function_parameters(pipeline),
        "CodeBucket": code_bucket,
        "StreamFunctionKey": code_key(bundles["stream_to_firehose"]),
        "FixFunctionKey": code_key(bundles["fix_schema"]),
    }


def function_parameters(pipeline: PipelineConfig) -> dict[str, str]:
    """Return the template's parameters for all settings of the streaming function."""
    return {
        **{s.parameter: pipeline.function_settings.get(s, "") for s in FunctionSetting},
        "RoutedDeliveryStreamsArn": pipeline.routed_delivery_streams_arn,
        "StreamFunctionLayerArn": pipeline.function_layer_arn,
    }


def upload_code(s3: "S3Client", code_bucket: str, bundles: Mapping[str, Bundle]) -> None:
    """Upload the functions' zips to the keys that ``stack_parameters`` names."""
    for bundle in bundles.values():
        s3.put_object(Bucket=code_bucket, Key=code_key(bundle), Body=bundle.body)


def is_deployed(
    cloudformation: "CloudFormationClient", stack: str, parameters: Mapping[str, str]
) -> bool:
    """Return whether the stack is complete and has this template and these parameters."""
    try:
        found = cloudformation.describe_stacks(StackName=stack)["Stacks"][0]
    except ClientError as error:
        if "does not exist" in str(error):
            return False
        raise DeployError(f"Stack {stack!r} cannot be described: {error}") from error
    standing = {p["ParameterKey"]: p["ParameterValue"] for p in found.get("Parameters", [])}
    tags = {tag["Key"]: tag["Value"] for tag in found.get("Tags", [])}
    return (
        found["StackStatus"] in ("CREATE_COMPLETE", "UPDATE_COMPLETE")
        and tags.get(TEMPLATE_TAG) == template_digest()
        and all(standing.get(key) == value for key, value in parameters.items())
    )


def deploy_stack(
    cloudformation: "CloudFormationClient",
    stack: str,
    parameters: Mapping[str, str],
    *,
    delay_seconds: int = WAIT_DELAY_SECONDS,
) -> dict[str, str]:
    """Deploy a stack with this template and these parameters; returns its outputs."""
    change_set = create_change_set(
        cloudformation, stack, parameters, f"deploy-{int(time.time() * 1000)}"
    )
    if change_set is None:
        return stack_outputs(cloudformation, stack)
    return execute_change_set(cloudformation, change_set, delay_seconds=delay_seconds)


def create_change_set(
    cloudformation: "CloudFormationClient", stack: str, parameters: Mapping[str, str], name: str
) -> ChangeSet | None:
    """Create a change set for a stack; returns None if nothing would change.

    Raises:
        DeployError: CloudFormation refuses the template or the parameters.
    """
    creates = not _exists(cloudformation, stack)
    try:
        cloudformation.create_change_set(
            StackName=stack,
            ChangeSetName=name,
            ChangeSetType="CREATE" if creates else "UPDATE",
            TemplateBody=template_body(),
            Parameters=[
                {"ParameterKey": key, "ParameterValue": value} for key, value in parameters.items()
            ],
            Capabilities=["CAPABILITY_IAM"],
            Tags=[{"Key": TEMPLATE_TAG, "Value": template_digest()}],
        )
        cloudformation.get_waiter("change_set_create_complete").wait(
            StackName=stack,
            ChangeSetName=name,
            WaiterConfig={"Delay": 1, "MaxAttempts": WAIT_ATTEMPTS},
        )
    except WaiterError as error:
        reason = str(error.last_response.get("StatusReason", ""))
        if any(text in reason for text in NOTHING_TO_DO):
            cloudformation.delete_change_set(StackName=stack, ChangeSetName=name)
            return None
        raise DeployError(f"Change set for stack {stack!r} failed: {reason or error}") from error
    except ClientError as error:
        raise DeployError(f"Change set for stack {stack!r} was refused: {error}") from error
    answer = cloudformation.describe_change_set(StackName=stack, ChangeSetName=name)
    changes = tuple(_resource_change(c.get("ResourceChange", {})) for c in answer["Changes"])
    return ChangeSet(stack, name, creates, changes)


def _exists(cloudformation: "CloudFormationClient", stack: str) -> bool:
    try:
        found = cloudformation.describe_stacks(StackName=stack)["Stacks"]
    except ClientError as error:
        if "does not exist" in str(error):
            return False
        raise DeployError(f"Stack {stack!r} cannot be described: {error}") from error
    return bool(found) and found[0]["StackStatus"] != "REVIEW_IN_PROGRESS"


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

    Raises:
        DeployError: the stack failed; the message contains the reasons that its resources report.
    """
    stack = change_set.stack
    waiter = "stack_create_complete" if change_set.creates_stack else "stack_update_complete"
    cloudformation.execute_change_set(StackName=stack, ChangeSetName=change_set.name)
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


def failure_reasons(cloudformation: "CloudFormationClient", stack: str) -> str:
    """Return why resources of the stack failed, newest first."""
    events = cloudformation.describe_stack_events(StackName=stack)["StackEvents"]
    return "; ".join(
        f"{event['LogicalResourceId']}: {event.get('ResourceStatusReason', '')}"
        for event in events
        if event.get("ResourceStatus", "").endswith("_FAILED")
    )


def stack_outputs(cloudformation: "CloudFormationClient", stack: str) -> dict[str, str]:
    """Return the stack's outputs by name."""
    outputs = cloudformation.describe_stacks(StackName=stack)["Stacks"][0].get("Outputs", [])
    return {output["OutputKey"]: output["OutputValue"] for output in outputs}
