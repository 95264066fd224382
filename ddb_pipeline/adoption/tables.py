"""What is to be known of a DynamoDB table before a pipeline is configured for it."""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from fnmatch import fnmatchcase
from typing import TYPE_CHECKING, Any

from botocore.exceptions import ClientError

from ddb_pipeline.client_errors import error_code, error_message
from ddb_pipeline.errors import DdbPipelineError
from ddb_pipeline.glue.crawled_table import dynamodb_error
from ddb_pipeline.hive.infer import Inference, infer_items
from ddb_pipeline.hive.undecodable import UndecodableValueError

if TYPE_CHECKING:
    from mypy_boto3_dynamodb.client import DynamoDBClient

READERS_OF_A_STREAM = 2
"""Readers of one shard above which DynamoDB throttles (DynamoDB developer guide, "Change data
capture for DynamoDB Streams")."""
NEW_AND_OLD_IMAGES = "NEW_AND_OLD_IMAGES"
OWN_TABLES = ("*-stream-checkpoints",)
"""Names of the tables that the pipelines' stacks create for themselves."""


class NoTableError(DdbPipelineError):
    """No table is named, or none has such a name; the message says what there is."""


@dataclass(frozen=True, slots=True)
class TableFacts:
    """A DynamoDB table as it is.

    Attributes:
        keys: name and type tag (S, N, B) of the key's attributes, the partition key first.
        items, size_bytes: as DynamoDB counts them, about every six hours.
        stream_arn: the stream that is on; empty if none is.
        stream_view: which images its records have.
        recovery: whether point-in-time recovery is on; None if it may not be read.
        expires_by: the attribute of the time to live; empty if there is none.
        kms_key: the customer's key that encrypts the table; empty with keys of DynamoDB or AWS.
        replicas: regions of the other replicas of a global table.
        functions: Lambda functions that the stream invokes; None if they may not be listed.
        read_units: provisioned read units a second; 0 if the table is billed by request.
    """

    name: str
    arn: str
    keys: tuple[tuple[str, str], ...]
    items: int
    size_bytes: int
    stream_arn: str
    stream_view: str
    recovery: bool | None
    expires_by: str
    kms_key: str
    replicas: tuple[str, ...]
    functions: tuple[str, ...] | None
    read_units: int

    @property
    def streams_whole_items(self) -> bool:
        """Whether the stream is on and its records have new and old images."""
        return bool(self.stream_arn) and self.stream_view == NEW_AND_OLD_IMAGES


@dataclass(frozen=True, slots=True)
class LookedAt:
    """A table, and the types inferred from a sample of its items.

    Attributes:
        problem: why there is no sample; empty if there is one.
    """

    facts: TableFacts
    sample: Inference
    problem: str = ""


def chosen_tables(names: Sequence[str], pattern: str, existing: Iterable[str]) -> list[str]:
    """The tables that are named, then those of the pattern, each once.

    Args:
        names: names of tables.
        pattern: a pattern with ``*``, ``?`` and ``[...]``; empty for none. Tables that a stack of a
            pipeline created for itself do not match.
        existing: the account's tables; read only for the pattern.

    Raises:
        NoTableError: no table matches the pattern.
    """
    if not pattern:
        return list(dict.fromkeys(names))
    known = sorted(existing)
    matching = [
        name
        for name in known
        if fnmatchcase(name, pattern) and not any(fnmatchcase(name, own) for own in OWN_TABLES)
    ]
    if not matching:
        shown = ", ".join(known[:10]) + (", ..." if len(known) > 10 else "")
        raise NoTableError(
            f"No table matches {pattern!r}. There are {len(known)} tables in this account and "
            f"region{': ' + shown if known else ''}."
        )
    return list(dict.fromkeys([*names, *matching]))


def table_names(dynamodb: "DynamoDBClient") -> Iterator[str]:
    """The names of the account's tables in the client's region."""
    for page in dynamodb.get_paginator("list_tables").paginate():
        yield from page["TableNames"]


def look_at(
    dynamodb: "DynamoDBClient", lambda_: Any, name: str, *, sample_items: int = 0
) -> LookedAt:
    """Describe a table, and read a sample of its items: at most one page, which is 1 MB.

    Raises:
        CrawlError: the table does not exist or may not be read.
    """
    try:
        table: Mapping[str, Any] = dynamodb.describe_table(TableName=name)["Table"]
        facts = table_facts(
            table,
            recovery=has_recovery(dynamodb, name),
            expires_by=_expires_by(dynamodb, name),
            functions=stream_functions(lambda_, _enabled_stream(table)),
        )
    except ClientError as error:
        raise dynamodb_error(error, name) from error
    if not sample_items:
        return LookedAt(facts, Inference.empty())
    try:
        items = dynamodb.scan(TableName=name, Limit=sample_items)["Items"]
        return LookedAt(facts, infer_items(items, tuple(key for key, _ in facts.keys)))
    except ClientError as error:
        return LookedAt(facts, Inference.empty(), f"{error_code(error)}: {error_message(error)}")
    except UndecodableValueError as error:
        return LookedAt(facts, Inference.empty(), str(error))


def table_facts(
    table: Mapping[str, Any],
    *,
    recovery: bool | None,
    expires_by: str,
    functions: tuple[str, ...] | None,
) -> TableFacts:
    """The facts in DescribeTable's ``Table``, completed by those of other operations."""
    types = {each["AttributeName"]: each["AttributeType"] for each in table["AttributeDefinitions"]}
    ordered = sorted(table["KeySchema"], key=lambda key: key["KeyType"] != "HASH")
    region = table["TableArn"].split(":")[3]
    encryption = table.get("SSEDescription") or {}
    replicas = [each.get("RegionName", "") for each in table.get("Replicas") or ()]
    return TableFacts(
        name=table["TableName"],
        arn=table["TableArn"],
        keys=tuple((key["AttributeName"], types[key["AttributeName"]]) for key in ordered),
        items=int(table.get("ItemCount") or 0),
        size_bytes=int(table.get("TableSizeBytes") or 0),
        stream_arn=_enabled_stream(table),
        stream_view=str((table.get("StreamSpecification") or {}).get("StreamViewType") or ""),
        recovery=recovery,
        expires_by=expires_by,
        kms_key=str(encryption.get("KMSMasterKeyArn") or ""),
        replicas=tuple(sorted(name for name in replicas if name and name != region)),
        functions=functions,
        read_units=int((table.get("ProvisionedThroughput") or {}).get("ReadCapacityUnits") or 0),
    )


def _enabled_stream(table: Mapping[str, Any]) -> str:
    enabled = (table.get("StreamSpecification") or {}).get("StreamEnabled")
    return str(table.get("LatestStreamArn") or "") if enabled else ""


def has_recovery(dynamodb: "DynamoDBClient", table: str) -> bool | None:
    """Whether point-in-time recovery is on; None if it may not be read."""
    try:
        answer = dynamodb.describe_continuous_backups(TableName=table)
    except ClientError:
        return None
    found = answer["ContinuousBackupsDescription"].get("PointInTimeRecoveryDescription", {})
    return found.get("PointInTimeRecoveryStatus") == "ENABLED"


def _expires_by(dynamodb: "DynamoDBClient", table: str) -> str:
    """The attribute of the time to live; empty if there is none, or it may not be read."""
    try:
        found = dynamodb.describe_time_to_live(TableName=table)["TimeToLiveDescription"]
    except ClientError:
        return ""
    return found.get("AttributeName", "") if found.get("TimeToLiveStatus") == "ENABLED" else ""


def stream_functions(lambda_: Any, stream_arn: str) -> tuple[str, ...] | None:
    """The Lambda functions that a stream invokes; None if they may not be listed."""
    if not stream_arn:
        return ()
    try:
        pages = lambda_.get_paginator("list_event_source_mappings").paginate(
            EventSourceArn=stream_arn
        )
        found = [mapping for page in pages for mapping in page["EventSourceMappings"]]
    except ClientError:
        return None
    names = {str(mapping.get("FunctionArn", "")).partition(":function:")[2] for mapping in found}
    return tuple(sorted(name for name in names if name))
