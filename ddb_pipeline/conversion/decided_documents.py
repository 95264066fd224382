"""Documents with values in the form of their columns, where a user has decided about the types.

A document that waits for its conversion may be older than the decision, or than its columns. Its
JSON values have the types of DynamoDB's again, as far as a decision distinguishes them: a set is a
list, and binary is text, in every column.
"""

from typing import Any

from ddb_pipeline.conversion.document_names import document_text, documents_of
from ddb_pipeline.conversion.serde.json_documents import JsonNumber
from ddb_pipeline.dynamodb.decided_items import DecidedItems
from ddb_pipeline.dynamodb.values import AttributeValue


def decided_documents(record: bytes, items: DecidedItems) -> bytes:
    """A record's documents as decided; a record that the SerDe refuses stays as it is.

    Args:
        record: one or several JSON documents with the names that columns have.
        items: the decisions for the columns.

    Raises:
        RefusedValueError: a decision refuses a value.
    """
    documents = documents_of(record)
    if documents is None:
        return record
    return b"".join(document_text(_decided(document, items)) + b"\n" for document in documents)


def _decided(document: Any, items: DecidedItems) -> Any:
    if not isinstance(document, dict):
        return document
    item = {name: _typed(value) for name, value in document.items()}
    return {name: _plain(value) for name, value in items.item(item).items()}


def _typed(value: Any) -> AttributeValue:
    if isinstance(value, JsonNumber):
        return {"N": str(value)}
    if isinstance(value, dict):
        return {"M": {name: _typed(member) for name, member in value.items()}}
    if isinstance(value, list):
        return {"L": [_typed(element) for element in value]}
    if isinstance(value, bool):
        return {"BOOL": value}
    return {"NULL": True} if value is None else {"S": value}


def _plain(value: AttributeValue) -> Any:
    [(tag, content)] = value.items()
    if tag == "M":
        return {name: _plain(member) for name, member in content.items()}
    if tag == "L":
        return [_plain(element) for element in content]
    if tag == "N":
        return JsonNumber(content)
    return None if tag == "NULL" else content
