"""The policy of Dagster's role: enough for what it runs, nothing unused, within IAM's limits."""

import ast
import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import boto3
import pytest
from botocore import xform_name

import ddb_pipeline
from ddb_pipeline.adoption.policy import (
    LONGEST_POLICY,
    Statement,
    compact,
    dagster_statements,
    document,
    documents,
    length,
    merged,
    template,
)
from ddb_pipeline.config.pipeline import PipelineConfig

ACCOUNT = "000000000000"
EVERYTHING: dict[str, Any] = {
    "current": "exports",
    "table_format": "iceberg",
    "stream_reader": "consumer",
    "spark": {"emr_serverless": True},
    "kms": {"bucket": "arn:aws:kms:us-east-1:000000000000:key/1", "table": "", "queues": ""},
    "function_settings": {
        "PSEUDONYMISE_ATTRIBUTES": "user",
        "PSEUDONYM_KEY_SECRET_ARN": "arn:aws:secretsmanager:us-east-1:000000000000:secret:key",
    },
    "routed_delivery_streams_arn": "arn:aws:firehose:us-east-1:000000000000:deliverystream/other",
}
SERVICES = "glue s3 sqs dynamodb dynamodbstreams firehose lambda secretsmanager cloudformation"
RENAMED = {
    "list_objects_v2": "s3:ListBucket",
    "head_object": "s3:GetObject",
    "copy_object": "s3:PutObject",
    "delete_objects": "s3:DeleteObject",
    "upload_file": "s3:PutObject",
    "download_file": "s3:GetObject",
    "delete_message_batch": "sqs:DeleteMessage",
}
"""The actions that authorise operations of another name (IAM service authorization reference)."""
CALLED_ELSEWHERE = {
    "kms:Decrypt": "S3, DynamoDB and SQS",
    "kms:GenerateDataKey": "S3",
    "glue:CreateDatabase": "pyiceberg",
    "glue:GetDatabase": "pyiceberg",
    "s3:AbortMultipartUpload": "pyarrow, and DynamoDB for an export",
    "s3:PutObjectAcl": "DynamoDB for an export",
    "iam:PassRole": "StartJobRun",
    "emr-serverless:StartJobRun": "dagster_aws",
    "emr-serverless:GetJobRun": "dagster_aws",
    "emr-serverless:CancelJobRun": "dagster_aws",
    "emr-serverless:GetApplication": "dagster_aws",
    "emr-serverless:GetDashboardForJobRun": "dagster_aws",
    "logs:DescribeLogStreams": "dagster_aws",
    "logs:GetLogEvents": "dagster_aws",
}
"""Actions of calls that are not in this package, with who makes them."""
NOT_DAGSTERS = (
    "cli",
    "deploy/stack.py",
    "deploy/existing_bucket.py",
    "deploy/estate.py",
    "embedded",
    "adoption",
    "demo",
)
"""Where calls are made by a person's role or by the embedded AWS."""
OTHERS_METHODS = ("update_schema",)
"""Methods of pyiceberg with the names of operations."""


def pipeline(name: str = "orders", **config: Any) -> PipelineConfig:
    return PipelineConfig(name=name, **config)


def statements(*pipelines: PipelineConfig) -> list[Statement]:
    return dagster_statements(pipelines, "us-east-1", ACCOUNT)


def test_the_resources_of_a_pipeline_are_in_its_region() -> None:
    found = statements(pipeline(), pipeline("logs", region="eu-west-1", bucket="logs-lake"))
    arns = [arn for each in found for arn in each.resources if not arn.startswith("arn:aws:s3:::")]
    assert {arn.split(":")[3] for arn in arns if "logs" in arn} == {"eu-west-1"}
    assert {arn.split(":")[3] for arn in arns if "orders" in arn} == {"us-east-1"}


def actions(*pipelines: PipelineConfig) -> set[str]:
    return {action for each in statements(*pipelines) for action in each.actions}


def called_operations() -> Iterator[tuple[str, str]]:
    """Operations of boto3 that the package calls, and the actions that authorise them."""
    known: dict[str, str] = {}
    for service in SERVICES.split():
        model = boto3.session.Session()._session.get_service_model(service)
        prefix = "dynamodb" if service == "dynamodbstreams" else service
        known |= {xform_name(each): f"{prefix}:{each}" for each in model.operation_names}
    # DynamoDB and Glue share these two names; only Glue's are called.
    known |= {"create_table": "glue:CreateTable", "update_table": "glue:UpdateTable"} | RENAMED
    root = Path(ddb_pipeline.__file__).parent
    for path in sorted(root.rglob("*.py")):
        if path.relative_to(root).as_posix().startswith(NOT_DAGSTERS):
            continue
        for node in ast.walk(ast.parse(path.read_text("utf-8"))):
            if not isinstance(node, ast.Call) or not isinstance(node.func, ast.Attribute):
                continue
            name = node.func.attr
            if name == "get_paginator" and isinstance(node.args[0], ast.Constant):
                name = str(node.args[0].value)
            if name in known and name not in OTHERS_METHODS:
                yield name, known[name]


def test_the_policy_has_each_action_that_is_called_and_no_other() -> None:
    called = {action for _, action in called_operations()} | {"cloudformation:DescribeStacks"}
    allowed = actions(pipeline(**EVERYTHING))
    assert called - allowed == set()
    assert allowed - called == set(CALLED_ELSEWHERE)


@pytest.mark.parametrize(
    ("config", "sids"),
    [
        ({"current": "stream"}, {"ComparedTable"}),
        ({"table_format": "iceberg"}, {"IcebergTables"}),
        ({"kms": {"queues": "arn:aws:kms:us-east-1:000000000000:key/1"}}, {"DecryptSources"}),
        ({"kms": EVERYTHING["kms"]}, {"EncryptObjects"}),
        ({"stream_reader": "consumer"}, {"Checkpoints"}),
        ({"spark": {"emr_serverless": True}}, {"SparkStack", "SparkJobs", "SparkJobRole"}),
        (
            {"function_settings": EVERYTHING["function_settings"]},
            {"PseudonymKey"},
        ),
    ],
)
def test_a_setting_brings_its_statements(config: dict[str, Any], sids: set[str]) -> None:
    assert {each.sid for each in statements(pipeline(**config))} >= sids
    assert not {each.sid for each in statements(pipeline())} & sids


def test_a_pipeline_that_only_scans_requests_no_exports() -> None:
    scanned = actions(pipeline(export_with="scan", gap_policy="report"))
    assert not {action for action in scanned if "Export" in action or "Acl" in action}
    assert "dynamodb:ExportTableToPointInTime" in actions(pipeline(export_with="scan"))


def test_pipelines_share_statements_and_each_keeps_its_resources() -> None:
    both = {s.sid: s for s in statements(pipeline("one"), pipeline("two", current="stream"))}
    assert both["Stream"].resources == tuple(
        f"arn:aws:dynamodb:us-east-1:{ACCOUNT}:table/{name}/stream/*" for name in ("one", "two")
    )
    assert both["Table"].resources == (f"arn:aws:dynamodb:us-east-1:{ACCOUNT}:table/one",)
    assert "dynamodb:BatchGetItem" not in both["Table"].actions


@pytest.mark.parametrize(
    ("region", "partition"), [("cn-north-1", "aws-cn"), ("us-gov-west-1", "aws-us-gov")]
)
def test_other_partitions(region: str, partition: str) -> None:
    arns = [
        arn for each in dagster_statements([pipeline()], region, ACCOUNT) for arn in each.resources
    ]
    assert all(arn.startswith(f"arn:{partition}:") for arn in arns)


def test_many_pipelines_make_several_policies_that_allow_the_same() -> None:
    whole = statements(*(pipeline(f"orders_{number}") for number in range(30)))
    found = documents(whole)
    assert len(found) > 1
    assert all(length(each) <= LONGEST_POLICY for each in found)
    parts = [
        Statement(s["Sid"], tuple(s["Action"]), tuple(s["Resource"]))
        for each in found
        for s in each["Statement"]
    ]
    assert merged(parts) == whole
    (shorter,) = documents(compact(whole))
    assert length(shorter) < LONGEST_POLICY
    tables = shorter["Statement"][0]["Resource"]
    assert tables == [f"arn:aws:dynamodb:us-east-1:{ACCOUNT}:table/orders-*"]


def test_patterns_never_leave_the_account_or_the_kind() -> None:
    others = [pipeline(name, current="exports") for name in ("alpha", "zeta")]
    for each in compact(statements(*others)):
        for arn in each.resources:
            service, _, account, resource = arn.split(":", 5)[2:]
            assert account == ("" if service == "s3" else ACCOUNT)
            assert resource[0] != "*" or service in ("s3", "sqs")


def test_the_template_has_the_policies_as_outputs() -> None:
    found = template(documents(statements(*(pipeline(f"orders_{n}") for n in range(30)))))
    assert found["Outputs"]["DagsterPolicyArn"] == {"Value": {"Ref": "DagsterPolicy"}}
    assert len(found["Outputs"]) == len(found["Resources"]) > 1


def test_conditions_reach_the_document() -> None:
    found = document(statements(pipeline(**EVERYTHING)))
    (passed,) = (each for each in found["Statement"] if each["Sid"] == "SparkJobRole")
    assert passed["Condition"] == {
        "StringEquals": {"iam:PassedToService": "emr-serverless.amazonaws.com"}
    }
    assert json.loads(json.dumps(found)) == found
