"""Items of the source table looked up by the canonical texts of their keys."""

import json
from base64 import b64decode, b64encode
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any, Final

from ddb_pipeline.dynamodb.values import Item, item_json
from ddb_pipeline.lake.current.keys import KeyAttribute, canonical_text

if TYPE_CHECKING:
    from mypy_boto3_dynamodb.client import DynamoDBClient

KEYS_AT_ONCE: Final = 100
"""The limit of BatchGetItem (Amazon DynamoDB API reference)."""


def items_by_key(
    dynamodb: "DynamoDBClient", table: str, key: Sequence[KeyAttribute], texts: Sequence[str]
) -> dict[str, Item | None]:
    """The table's items of these keys by consistent reads, None where there is none."""
    found: dict[str, Item | None] = dict.fromkeys(texts)
    names = [attribute.name for attribute in key]
    for start in range(0, len(texts), KEYS_AT_ONCE):
        keys = [key_item(text, key) for text in texts[start : start + KEYS_AT_ONCE]]
        pending: Any = {table: {"Keys": keys, "ConsistentRead": True}}
        while pending:
            answer = dynamodb.batch_get_item(RequestItems=pending)
            for item in answer["Responses"].get(table, ()):
                found[key_text({name: item[name] for name in names})] = item
            pending = answer.get("UnprocessedKeys")
    return found


def key_text(keys: Item) -> str:
    """The canonical text of an item's key, of its key attributes alone."""
    return canonical_text(item_json({name: _as_json(keys[name]) for name in sorted(keys)}))


def key_item(text: str, key: Sequence[KeyAttribute]) -> Item:
    """The key of an item as DynamoDB has it, from its canonical text."""
    values = json.loads(text, parse_int=str, parse_float=str)
    return {
        attribute.name: {
            attribute.tag: b64decode(values[attribute.column])
            if attribute.tag == "B"
            else values[attribute.column]
        }
        for attribute in key
    }


def _as_json(value: Any) -> Any:
    ((tag, content),) = value.items()
    return {tag: b64encode(content).decode("ascii")} if isinstance(content, bytes) else value
