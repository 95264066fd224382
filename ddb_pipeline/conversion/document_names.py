"""The names in a document before its conversion: column names, but in a map the keys themselves.

Which attributes are maps whose keys are data is known when they have a column. Held records come
from before that: below the first level they have the attributes' own names. The rule for names
(``hive.names``) changes nothing in names that it made, so that it applies to any document.
"""

import json
from collections.abc import Mapping
from typing import Any, Final

from ddb_pipeline.conversion.serde.json_documents import (
    DuplicateKeyError,
    JsonNumber,
    JsonSyntaxError,
    document_decoder,
    read_documents,
    unique_keys,
)
from ddb_pipeline.hive.coverage import Elements, Fields, Node, node_of
from ddb_pipeline.hive.names import column_names

_DECODER: Final = document_decoder(unique_keys)


def with_column_names(record: bytes, maps: Fields) -> bytes:
    """A record's documents with the names that columns have.

    Args:
        record: one or several JSON documents. One that the SerDe refuses stays as it is.
        maps: the columns in which there are maps (``hive.coverage.map_columns``).
    """
    documents = documents_of(record)
    try:
        named = [_named_document(document, maps) for document in documents or ()]
        if documents is None or named == documents:
            return record
        return b"".join(document_text(document) + b"\n" for document in named)
    except RecursionError:
        return record


def documents_of(record: bytes) -> list[Any] | None:
    """A record's JSON documents, with the text of each number; None if the SerDe refuses one."""
    try:
        documents = list(read_documents(record, _DECODER))
    except (JsonSyntaxError, RecursionError):
        return None
    refused = any(isinstance(each, DuplicateKeyError) for each in documents)
    return None if refused else documents


def document_text(document: Any) -> bytes:
    """A document as JSON, with each number as it was written."""
    return _text(document).encode("ascii")


def _named_document(document: Any, maps: Fields) -> Any:
    # The first level has its names, those of the delivery's own columns included.
    if not isinstance(document, dict):
        return document
    return {name: _named(value, node_of(maps, name)) for name, value in document.items()}


def _named(value: Any, node: Node) -> Any:
    if isinstance(value, list):
        each = node.each if isinstance(node, Elements) and not node.of_map else None
        return [_named(element, each) for element in value]
    if not isinstance(value, dict):
        return value
    while isinstance(node, Elements) and not node.of_map:
        # An object where the column has an array is the array's one element.
        node = node.each
    is_data = isinstance(node, Elements) and node.of_map
    names: Mapping[str, str] = {name: name for name in value} if is_data else column_names(value)
    return {names[name]: _named(each, node_of(node, names[name])) for name, each in value.items()}


def _text(value: Any) -> str:
    if isinstance(value, JsonNumber):
        return str(value)
    if isinstance(value, dict):
        members = [f"{json.dumps(name)}:{_text(member)}" for name, member in value.items()]
        return "{" + ",".join(members) + "}"
    if isinstance(value, list):
        return "[" + ",".join(map(_text, value)) + "]"
    return json.dumps(value)
