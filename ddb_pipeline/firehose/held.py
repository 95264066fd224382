"""Held records: documents with attributes that the catalog table has no column for.

Firehose would drop these attributes silently. A held record is stored in the layout of Firehose's
error objects, under a directory of its own, until a crawl has added the columns.
"""

import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

from ddb_pipeline.firehose.error_objects import FailedRecord
from ddb_pipeline.hive.coverage import Fields, attributes_without_column

HELD_CODE = "Pipeline.UndeclaredAttribute"
HELD_KIND = "undeclared-attributes"
"""The directory of held records; Firehose's own error objects have ``format-conversion-failed``."""


@dataclass(frozen=True, slots=True)
class Document:
    """One JSON document of a record, as text and as parsed value."""

    text: bytes
    value: Any


def documents(record: bytes) -> Iterator[Document]:
    """The JSON documents that a record packs, up to the first that is not JSON."""
    decoder = json.JSONDecoder()
    text = record.decode("utf-8", errors="surrogateescape")
    position = 0
    while True:
        while position < len(text) and text[position] in " \t\r\n":
            position += 1
        if position == len(text):
            return
        try:
            value, end = decoder.raw_decode(text, position)
        except (ValueError, RecursionError):
            return
        yield Document(text[position:end].encode("utf-8", errors="surrogateescape"), value)
        position = end


def paths_without_column(record: bytes, fields: Fields) -> tuple[str, ...]:
    """Sorted paths of all attributes in a record's documents that have no column."""
    paths = {
        path
        for document in documents(record)
        if isinstance(document.value, Mapping)
        for path in attributes_without_column(document.value, fields)
    }
    return tuple(sorted(paths))


def held_record(record: FailedRecord, paths: Sequence[str]) -> FailedRecord:
    """The record as a held one; its message names the attributes at these paths."""
    return replace(
        record,
        error_code=HELD_CODE,
        error_message=f"No column for: {', '.join(paths)}. Held until a crawl adds the columns.",
    )
