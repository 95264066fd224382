"""The IAM actions and resources of requests that the embedded AWS has logged.

Sources: the service authorization reference, for each service "Actions, resources, and condition
keys"; for S3 also the user guide, "Required permissions for Amazon S3 API operations".
"""

import json
import re
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from fnmatch import fnmatchcase
from typing import Any
from urllib.parse import parse_qs, unquote

ACCOUNT = "000000000000"
REGION = "us-east-1"
NEEDS_NO_PERMISSION = frozenset({"sts:GetCallerIdentity"})
RENAMED = {
    "sqs:DeleteMessageBatch": "sqs:DeleteMessage",
    "lambda:configuration": "lambda:GetFunctionConfiguration",
}
ANY = ""
"""Stands for a resource that the request does not name."""


@dataclass(frozen=True, slots=True, order=True)
class Use:
    """An action on a resource that a request needs to be allowed."""

    action: str
    resource: str


def uses(entry: Mapping[str, str]) -> Iterator[Use]:
    """What one logged request needs to be allowed.

    Raises:
        LookupError: the request is of a kind that this table does not have.
    """
    found = _USES[entry["service"]](entry)
    yield from (use for use in found if use.action not in NEEDS_NO_PERMISSION)


def _arn(service: str, resource: str) -> str:
    return f"arn:aws:{service}:{REGION}:{ACCOUNT}:{resource}"


def _operation(entry: Mapping[str, str]) -> tuple[str, dict[str, Any]]:
    return entry["target"].rpartition(".")[2], json.loads(entry["body"] or "{}")


def _s3(entry: Mapping[str, str]) -> Iterator[Use]:
    bucket, _, key = unquote(entry["path"]).lstrip("/").partition("/")
    query = parse_qs(entry["query"], keep_blank_values=True)
    bucket_arn, method = f"arn:aws:s3:::{bucket}", entry["method"]
    if not key:
        if method == "POST" and "delete" in query:
            for name in re.findall(r"<Key>(.*?)</Key>", entry["body"]):
                yield Use("s3:DeleteObject", f"{bucket_arn}/{name}")
        elif method in ("GET", "HEAD") and set(query) <= {
            "list-type", "prefix", "delimiter", "start-after", "continuation-token", "max-keys",
            "encoding-type", "fetch-owner",
        }:  # fmt: skip
            yield Use("s3:ListBucket", bucket_arn)
        else:
            raise LookupError(entry)
        return
    if entry["copy_source"]:
        yield Use("s3:GetObject", f"arn:aws:s3:::{entry['copy_source'].lstrip('/')}")
    action = {
        "GET": "s3:GetObject",
        "HEAD": "s3:GetObject",
        "PUT": "s3:PutObject",
        "POST": "s3:PutObject",
        "DELETE": "s3:AbortMultipartUpload" if "uploadId" in query else "s3:DeleteObject",
    }[method]
    yield Use(action, f"{bucket_arn}/{key}")


def _dynamodb(entry: Mapping[str, str]) -> Iterator[Use]:
    operation, body = _operation(entry)
    named = [body[name] for name in ("TableName", "TableArn") if name in body]
    arns = [body[name] for name in ("StreamArn", "ExportArn") if name in body]
    tables = [*named, *body.get("RequestItems", ())]
    arns += [each if ":" in each else _arn("dynamodb", f"table/{each}") for each in tables]
    # GetRecords names a shard iterator alone.
    for arn in arns or [ANY]:
        yield Use(f"dynamodb:{operation}", arn)


def _glue(entry: Mapping[str, str]) -> Iterator[Use]:
    """Operations of a table need the permission on its database and the catalog as well."""
    operation, body = _operation(entry)
    if operation.endswith("Crawler"):
        yield Use(f"glue:{operation}", _arn("glue", f"crawler/{body['Name']}"))
        return
    database = body.get("DatabaseName") or body.get("Name")
    database = database or body.get("DatabaseInput", {}).get("Name") or "*"
    table = body.get("TableName") or body.get("TableInput", {}).get("Name")
    if "DatabaseName" in body and table is None:
        table = body.get("Name", "*")
    names = ["catalog", f"database/{database}", *([f"table/{database}/{table}"] if table else [])]
    for name in names:
        yield Use(f"glue:{operation}", _arn("glue", name))


def _sqs(entry: Mapping[str, str]) -> Iterator[Use]:
    operation, body = _operation(entry)
    queue = body.get("QueueName") or body["QueueUrl"].rpartition("/")[2]
    action = f"sqs:{operation}"
    yield Use(RENAMED.get(action, action), _arn("sqs", queue))


def _named(service: str, member: str, kind: str) -> Any:
    def found(entry: Mapping[str, str]) -> Iterator[Use]:
        operation, body = _operation(entry)
        name = body[member]
        yield Use(f"{service}:{operation}", name if ":" in name else _arn(service, kind + name))

    return found


def _lambda(entry: Mapping[str, str]) -> Iterator[Use]:
    _, _, name, *rest = entry["path"].strip("/").split("/")
    action = f"lambda:{'/'.join(rest)}"
    function = name.rpartition(":")[2] if name.startswith("arn:") else name
    yield Use(RENAMED.get(action, action), _arn("lambda", f"function:{unquote(function)}"))


def _form(service: str) -> Any:
    def found(entry: Mapping[str, str]) -> Iterator[Use]:
        body = parse_qs(entry["body"])
        resource = f"stack/{body['StackName'][0]}/id" if "StackName" in body else ANY
        yield Use(f"{service}:{body['Action'][0]}", resource and _arn(service, resource))

    return found


_USES: Mapping[str, Any] = {
    "s3": _s3,
    "dynamodb": _dynamodb,
    "glue": _glue,
    "sqs": _sqs,
    "firehose": _named("firehose", "DeliveryStreamName", "deliverystream/"),
    "secretsmanager": _named("secretsmanager", "SecretId", "secret:"),
    "lambda": _lambda,
    "cloudformation": _form("cloudformation"),
    "sts": _form("sts"),
}


def is_allowed(use: Use, policy: Iterable[Mapping[str, Any]]) -> bool:
    """Whether a statement allows it, as IAM matches actions and resources (* and ? in both)."""
    return any(allows(statement, use) for statement in policy)


def allows(statement: Mapping[str, Any], use: Use) -> bool:
    """Whether one statement of a policy document allows it."""
    assert statement["Effect"] == "Allow"
    if not any(fnmatchcase(use.action.lower(), each.lower()) for each in statement["Action"]):
        return False
    return not use.resource or any(
        # GetTables reads all tables of a database, which table/<database>/* names.
        fnmatchcase(use.resource, each.replace("[", "[[]"))
        for each in statement["Resource"]
    )
