"""The IAM policy of Dagster's own role: what its assets, sensors and jobs call, and on what.

The roles of the functions, of Firehose and of the crawler are in the pipelines' stacks.
"""

import json
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import takewhile
from typing import Any

from ddb_pipeline.config.choices import (
    CrawlWith,
    CurrentView,
    ExportWith,
    FunctionSetting,
    GapPolicy,
    StreamReader,
)
from ddb_pipeline.config.lake import TableFormat
from ddb_pipeline.config.names import (
    CATALOG_SUFFIXES,
    catalog_tables,
    checkpoint_table,
    crawled_table,
    failure_queue,
    iceberg_database,
    object_change_queue,
    partition,
    resource_stem,
    stream_function,
)
from ddb_pipeline.config.pipeline import PipelineConfig

POLICY_VERSION = "2012-10-17"
LONGEST_POLICY = 6144
"""Characters of a managed policy but white space (IAM user guide, "IAM and AWS STS quotas")."""
POLICIES_OF_A_ROLE = 10
"""Managed policies that can be attached to a role, unless the quota is raised (ibid.)."""


@dataclass(frozen=True, slots=True)
class Statement:
    """A statement of the policy that allows something.

    Attributes:
        sid: what it is for; statements of several pipelines with one sid are merged.
        condition: the ``Condition`` element as JSON text; empty for none.
    """

    sid: str
    actions: tuple[str, ...]
    resources: tuple[str, ...]
    condition: str = ""

    def document(self) -> dict[str, Any]:
        """The statement as in a policy document."""
        condition = {"Condition": json.loads(self.condition)} if self.condition else {}
        return {
            "Sid": self.sid,
            "Effect": "Allow",
            "Action": list(self.actions),
            "Resource": list(self.resources),
            **condition,
        }


@dataclass(frozen=True, slots=True)
class Arns:
    """ARNs in one account and region."""

    region: str
    account: str

    @property
    def partition(self) -> str:
        """The partition of the region."""
        return partition(self.region)

    def of(self, service: str, resource: str) -> str:
        """The ARN of a service's resource."""
        return f"arn:{self.partition}:{service}:{self.region}:{self.account}:{resource}"

    def s3(self, path: str) -> str:
        """The ARN of a bucket, or of the objects of ``bucket/pattern``."""
        return f"arn:{self.partition}:s3:::{path}"

    def role(self, pattern: str) -> str:
        """The ARN of roles."""
        return f"arn:{self.partition}:iam::{self.account}:role/{pattern}"


def dagster_statements(
    pipelines: Iterable[PipelineConfig], region: str, account: str
) -> list[Statement]:
    """What Dagster's role is allowed for these pipelines; each statement is used by one at least.

    Args:
        pipelines: the pipelines.
        region: the region of the resources of pipelines that name none.
        account: the account's id.
    """
    return merged(
        statement
        for each in pipelines
        for statement in _statements(each, Arns(each.region or region, account))
    )


def _statements(pipeline: PipelineConfig, arns: Arns) -> Iterable[Statement]:
    yield from _source(pipeline, arns)
    yield from _functions(pipeline, arns)
    yield from _catalog(pipeline, replace(arns, account=pipeline.catalog_id or arns.account))
    yield from _lake(pipeline, arns)
    yield from _keys(pipeline)
    if pipeline.spark.emr_serverless:
        yield from _spark(pipeline, arns)


def requests_exports(pipeline: PipelineConfig) -> bool:
    """Whether the pipeline requests exports of DynamoDB by its settings."""
    return (
        pipeline.export_with is ExportWith.EXPORT
        or pipeline.gap_policy is GapPolicy.HEAL
        or pipeline.current is CurrentView.EXPORTS
    )


def _source(pipeline: PipelineConfig, arns: Arns) -> Iterable[Statement]:
    table_arns = replace(arns, account=pipeline.table_account or arns.account)
    table = table_arns.of("dynamodb", f"table/{pipeline.dynamodb_table}")
    compares = pipeline.current is not CurrentView.OFF
    reads = ("dynamodb:BatchGetItem",) if compares else ()
    yield Statement(
        "ComparedTable" if compares else "Table",
        ("dynamodb:DescribeTable", "dynamodb:Scan", *reads),
        (table,),
    )
    yield Statement(
        "Stream",
        ("dynamodb:DescribeStream", "dynamodb:GetRecords", "dynamodb:GetShardIterator"),
        (f"{table}/stream/*",),
    )
    if requests_exports(pipeline):
        actions = ("dynamodb:DescribeContinuousBackups", "dynamodb:ExportTableToPointInTime")
        yield Statement("RequestExports", actions, (table,))
        yield Statement("Exports", ("dynamodb:DescribeExport",), (f"{table}/export/*",))
    if pipeline.stream_reader is StreamReader.CONSUMER:
        checkpoints = arns.of("dynamodb", f"table/{checkpoint_table(pipeline)}")
        yield Statement("Checkpoints", ("dynamodb:Query", "dynamodb:UpdateItem"), (checkpoints,))


def _functions(pipeline: PipelineConfig, arns: Arns) -> Iterable[Statement]:
    own = arns.of("firehose", f"deliverystream/{pipeline.delivery_stream}")
    routed = pipeline.routed_delivery_streams_arn
    yield Statement("Deliver", ("firehose:PutRecordBatch",), (own, routed) if routed else (own,))
    function = arns.of("lambda", f"function:{stream_function(pipeline)}")
    yield Statement("FunctionSettings", ("lambda:GetFunctionConfiguration",), (function,))
    secret = pipeline.function_settings.get(FunctionSetting.PSEUDONYM_KEY_SECRET_ARN)
    if secret:
        yield Statement("PseudonymKey", ("secretsmanager:GetSecretValue",), (secret,))
    queues = (pipeline.change_queue, object_change_queue(pipeline), failure_queue(pipeline))
    yield Statement(
        "Queues",
        ("sqs:DeleteMessage", "sqs:GetQueueUrl", "sqs:ReceiveMessage"),
        tuple(arns.of("sqs", name) for name in queues),
    )


def _catalog(pipeline: PipelineConfig, arns: Arns) -> Iterable[Statement]:
    around = (arns.of("glue", "catalog"), arns.of("glue", f"database/{pipeline.database}"))
    tables = f"table/{pipeline.database}/"
    crawled = crawled_table(pipeline).name
    yield Statement(
        "ReadCatalog",
        (
            "glue:BatchGetPartition",
            "glue:GetPartition",
            "glue:GetPartitions",
            "glue:GetTable",
            "glue:GetTableVersion",
            "glue:GetTableVersions",
            "glue:GetTables",
        ),
        (*around, arns.of("glue", f"{tables}*")),
    )
    yield Statement(
        "WriteCatalog",
        (
            "glue:BatchCreatePartition",
            "glue:BatchUpdatePartition",
            "glue:CreatePartition",
            "glue:CreateTable",
            "glue:DeletePartition",
            "glue:UpdateTable",
        ),
        (*around, *(arns.of("glue", f"{tables}{crawled}{suffix}") for suffix in CATALOG_SUFFIXES)),
    )
    if pipeline.table_format is TableFormat.ICEBERG:
        yield _iceberg(pipeline, arns)
    if pipeline.crawl_with is CrawlWith.GLUE:
        crawler = arns.of("glue", f"crawler/{pipeline.crawler}")
        yield Statement("Crawl", ("glue:GetCrawler", "glue:StartCrawler"), (crawler,))


def _iceberg(pipeline: PipelineConfig, arns: Arns) -> Statement:
    database = iceberg_database(pipeline)
    tables = [each for each in catalog_tables(pipeline) if each.database == database]
    return Statement(
        "IcebergTables",
        (
            "glue:CreateDatabase",
            "glue:CreateTable",
            "glue:GetDatabase",
            "glue:GetTable",
            "glue:UpdateTable",
        ),
        (
            arns.of("glue", "catalog"),
            arns.of("glue", f"database/{database}"),
            *(arns.of("glue", f"table/{each.database}/{each.name}") for each in tables),
        ),
    )


def _lake(pipeline: PipelineConfig, arns: Arns) -> Iterable[Statement]:
    yield Statement("ListBucket", ("s3:ListBucket",), (arns.s3(pipeline.bucket),))
    yield Statement(
        "Objects",
        ("s3:AbortMultipartUpload", "s3:DeleteObject", "s3:GetObject", "s3:PutObject"),
        (arns.s3(f"{pipeline.bucket}/{pipeline.lake.prefix}*"),),
    )
    if requests_exports(pipeline):
        # DynamoDB writes exports with the permissions of who requests them (DynamoDB developer
        # guide, "Requesting a table export in DynamoDB").
        exports = arns.s3(f"{pipeline.bucket}/{pipeline.bucket_export_prefix}/*")
        yield Statement("ExportedObjects", ("s3:PutObjectAcl",), (exports,))


def _keys(pipeline: PipelineConfig) -> Iterable[Statement]:
    # DynamoDB and SQS decrypt with the caller's permissions (developer guides, encryption at rest).
    read = tuple(key for key in (pipeline.kms.table, pipeline.kms.queues) if key)
    if read:
        yield Statement("DecryptSources", ("kms:Decrypt",), read)
    if pipeline.kms.bucket:
        actions = ("kms:Decrypt", "kms:GenerateDataKey")
        yield Statement("EncryptObjects", actions, (pipeline.kms.bucket,))


def _spark(pipeline: PipelineConfig, arns: Arns) -> Iterable[Statement]:
    stem = resource_stem(pipeline.name)
    stack = arns.of("cloudformation", f"stack/{pipeline.stack}/*")
    yield Statement("SparkStack", ("cloudformation:DescribeStacks",), (stack,))
    yield Statement(
        "SparkJobs",
        (
            "emr-serverless:CancelJobRun",
            "emr-serverless:GetApplication",
            "emr-serverless:GetDashboardForJobRun",
            "emr-serverless:GetJobRun",
            "emr-serverless:StartJobRun",
        ),
        (arns.of("emr-serverless", "/applications/*"),),
    )
    passed = {"StringEquals": {"iam:PassedToService": "emr-serverless.amazonaws.com"}}
    role = pipeline.roles.spark_job or arns.role(f"{pipeline.stack}-SparkJobRole-*")
    yield Statement("SparkJobRole", ("iam:PassRole",), (role,), json.dumps(passed))
    logs = arns.of("logs", f"log-group:/aws/emr-serverless/{stem}:*")
    yield Statement("SparkLogs", ("logs:DescribeLogStreams", "logs:GetLogEvents"), (logs,))


def merged(statements: Iterable[Statement]) -> list[Statement]:
    """One statement for each sid, with the resources of all that have it, each once."""
    found: dict[str, Statement] = {}
    for each in statements:
        before = found.get(each.sid, each)
        resources = tuple(dict.fromkeys((*before.resources, *each.resources)))
        found[each.sid] = Statement(each.sid, each.actions, resources, each.condition)
    return list(found.values())


def compact(statements: Iterable[Statement]) -> list[Statement]:
    """The statements with one pattern for all resources of a kind: what their ARNs begin with."""
    return [
        Statement(each.sid, each.actions, _patterns(each.resources), each.condition)
        for each in statements
    ]


def _patterns(resources: Sequence[str]) -> tuple[str, ...]:
    kinds: dict[str, list[str]] = {}
    for arn in resources:
        kinds.setdefault(_kind(arn), []).append(arn)
    return tuple(
        arns[0] if len(arns) == 1 else f"{_common_start(arns).rstrip('*')}*"
        for arns in kinds.values()
    )


def _kind(arn: str) -> str:
    """An ARN up to the type of its resource; names of buckets are no types."""
    *place, resource = arn.split(":", 5)
    kind, slash, _ = resource.partition("/")
    return ":".join([*place, slash if place[2] == "s3" else f"{kind}/" if slash else ""])


def _common_start(texts: Sequence[str]) -> str:
    """What all texts begin with."""
    columns = takewhile(lambda column: len(set(column)) == 1, zip(*texts, strict=False))
    return "".join(column[0] for column in columns)


def document(statements: Iterable[Statement]) -> dict[str, Any]:
    """A policy document."""
    return {"Version": POLICY_VERSION, "Statement": [each.document() for each in statements]}


def documents(statements: Iterable[Statement]) -> list[dict[str, Any]]:
    """As few policy documents as hold the statements; a long statement is divided by resources."""
    parts: list[list[Statement]] = [[]]
    for statement in statements:
        for resource in statement.resources:
            one = Statement(statement.sid, statement.actions, (resource,), statement.condition)
            together = merged([*parts[-1], one])
            if length(document(together)) > LONGEST_POLICY:
                parts.append([one])
            else:
                parts[-1] = together
    return [document(each) for each in parts]


def length(policy: Mapping[str, Any]) -> int:
    """The characters of a policy document that count against the quota."""
    return len("".join(json.dumps(policy, separators=(",", ":")).split()))


def template(policies: Sequence[Mapping[str, Any]]) -> dict[str, Any]:
    """A CloudFormation template whose outputs are the ARNs of these policies."""
    names = [f"DagsterPolicy{number or ''}" for number in range(len(policies))]
    return {
        "AWSTemplateFormatVersion": "2010-09-09",
        "Description": "What the role of Dagster needs for the pipelines of ddb-pipeline.",
        "Resources": {
            name: {"Type": "AWS::IAM::ManagedPolicy", "Properties": {"PolicyDocument": policy}}
            for name, policy in zip(names, policies, strict=True)
        },
        "Outputs": {f"{name}Arn": {"Value": {"Ref": name}} for name in names},
    }
