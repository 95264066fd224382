"""DynamoDB tables as an account may have them before a pipeline is configured for them."""

import itertools
from collections.abc import Iterator, Mapping
from typing import Any

KEYS: tuple[tuple[tuple[str, str], ...], ...] = (
    (("id", "S"),),
    (("customer", "N"), ("at", "S")),
    (("Device.Id", "B"),),
    (("tenant", "S"), ("Number", "N")),
    (("day", "S"), ("hash", "B")),
    (("id", "N"),),
)
"""Keys of all types, with and without a sort key, with names that are no column names."""
STREAM = {"StreamEnabled": True, "StreamViewType": "NEW_AND_OLD_IMAGES"}


def create_table(
    dynamodb: Any,
    name: str,
    keys: tuple[tuple[str, str], ...] = (("id", "S"),),
    *,
    stream: Mapping[str, Any] | None = STREAM,
    recovery: bool = True,
) -> str:
    """Create a table as its owner did; returns its ARN."""
    specification = {"StreamSpecification": stream} if stream else {}
    created = dynamodb.create_table(
        TableName=name,
        BillingMode="PAY_PER_REQUEST",
        AttributeDefinitions=[{"AttributeName": n, "AttributeType": t} for n, t in keys],
        KeySchema=[
            {"AttributeName": attribute, "KeyType": kind}
            for (attribute, _), kind in zip(keys, ("HASH", "RANGE"), strict=False)
        ],
        **specification,
    )
    if recovery:
        dynamodb.update_continuous_backups(
            TableName=name,
            PointInTimeRecoverySpecification={"PointInTimeRecoveryEnabled": True},
        )
    return str(created["TableDescription"]["TableArn"])


def items(keys: tuple[tuple[str, str], ...], count: int) -> Iterator[dict[str, Any]]:
    """Items with these keys, and attributes of most types."""
    values: dict[str, Any] = {"S": "k{}".format, "N": str, "B": lambda n: b"\xff%d" % n}
    for number in itertools.islice(itertools.count(1), count):
        yield {
            **{name: {tag: values[tag](number)} for name, tag in keys},
            "total": {"N": f"{number}.50"},
            "tags": {"SS": ["a", f"t{number}"]},
            "Address": {"M": {"Street": {"S": "x"}, "no": {"N": str(number)}}},
        }
