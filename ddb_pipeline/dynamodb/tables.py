"""DynamoDB tables as DescribeTable shows them."""

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from ddb_pipeline.errors import DdbPipelineError

if TYPE_CHECKING:
    from mypy_boto3_dynamodb.client import DynamoDBClient


class StreamMissingError(DdbPipelineError):
    """A table never had a stream; the message says how to turn one on."""


@dataclass(frozen=True, slots=True)
class TableDescription:
    """A DynamoDB table.

    Attributes:
        items, size_bytes: counted by DynamoDB about every six hours.
        status: ``ACTIVE``, ``UPDATING`` and so on.
        stream_enabled: whether changes are written to a stream now.
        stream_view: which images the stream's records carry; empty without a stream.
        latest_stream_arn: the newest stream, also one that is turned off; empty where there is
            none.
        key_attributes: the names of the key's attributes, the partition key first.
        table_id: differs for a table that was deleted and created.
    """

    name: str
    arn: str
    items: int
    size_bytes: int
    status: str
    stream_enabled: bool
    stream_view: str
    latest_stream_arn: str
    key_attributes: tuple[str, ...]
    table_id: str = ""

    @property
    def stream_arn(self) -> str:
        """The ARN of the newest stream.

        Raises:
            StreamMissingError: the table never had a stream.
        """
        if not self.latest_stream_arn:
            raise StreamMissingError(
                f"DynamoDB table {self.name!r} has no stream. Turn on DynamoDB Streams with new "
                "and old images."
            )
        return self.latest_stream_arn


def describe_table(dynamodb: "DynamoDBClient", name: str) -> TableDescription:
    """Describe a table, by one request."""
    table = dynamodb.describe_table(TableName=name)["Table"]
    stream = table.get("StreamSpecification")
    return TableDescription(
        name=name,
        arn=table.get("TableArn", ""),
        items=table.get("ItemCount", 0),
        size_bytes=table.get("TableSizeBytes", 0),
        status=table.get("TableStatus", "UNKNOWN"),
        stream_enabled=bool(stream and stream.get("StreamEnabled")),
        stream_view=str(stream.get("StreamViewType", "")) if stream else "",
        latest_stream_arn=table.get("LatestStreamArn", ""),
        key_attributes=tuple(key["AttributeName"] for key in table.get("KeySchema", ())),
        table_id=table.get("TableId", ""),
    )


def key_types(dynamodb: "DynamoDBClient", name: str) -> dict[str, str]:
    """The type tag, ``S``, ``N`` or ``B``, of each attribute of a table's key."""
    table = dynamodb.describe_table(TableName=name)["Table"]
    types = {each["AttributeName"]: each["AttributeType"] for each in table["AttributeDefinitions"]}
    return {each["AttributeName"]: types[each["AttributeName"]] for each in table["KeySchema"]}


def name_by_arn(dynamodb: "DynamoDBClient", table: str, arn: str) -> None:
    """Let a client name a table by its ARN, as DynamoDB takes it for one of another account.

    (Amazon DynamoDB developer guide, "API operations supported by resource-based policies".) What
    its callers give and get has the table's name.
    """

    def to_arn(params: dict[str, Any], **_: Any) -> None:
        if params.get("TableName") == table:
            params["TableName"] = arn
        if table in (params.get("RequestItems") or {}):
            items = params["RequestItems"]
            params["RequestItems"] = {arn if n == table else n: v for n, v in items.items()}

    def to_name(parsed: dict[str, Any], **_: Any) -> None:
        for member in ("Responses", "UnprocessedKeys"):
            found = parsed.get(member) or {}
            if arn in found:
                found[table] = found.pop(arn)

    dynamodb.meta.events.register("provide-client-params.dynamodb.*", to_arn)
    dynamodb.meta.events.register("after-call.dynamodb.BatchGetItem", to_name)


def has_items(dynamodb: "DynamoDBClient", name: str) -> bool:
    """Whether a table has an item now, by reading at most one."""
    return bool(dynamodb.scan(TableName=name, Limit=1, Select="COUNT")["Count"])
