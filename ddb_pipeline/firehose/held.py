"""Documents with attributes that no column declares yet: held instead of cut short.

Firehose drops what the catalog table does not declare without a word. Such a document is kept as
a failed record of its own kind, in the layout of Firehose's error objects, until a crawl has
brought the attribute to the table.
"""

import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

from ddb_pipeline.firehose.error_objects import FailedRecord
from ddb_pipeline.hive.coverage import Fields, attributes_without_column

UNDECLARED_CODE = "Pipeline.UndeclaredAttribute"
UNDECLARED_KIND = "undeclared-attributes"
"""The directory of these error objects, where Firehose's own have ``format-conversion-failed``."""


@dataclass(frozen=True, slots=True)
class Document:
    """One JSON document of a record, as text and as value."""

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


def undeclared_paths(record: bytes, names: Fields) -> tuple[str, ...]:
    """Sorted paths of a record's values that no column would keep."""
    paths = {
        path
        for document in documents(record)
        if isinstance(document.value, Mapping)
        for path in attributes_without_column(document.value, names)
    }
    return tuple(sorted(paths))


def held(record: FailedRecord, paths: Sequence[str]) -> FailedRecord:
    """The record as one that waits for columns; the message names the attributes."""
    return replace(
        record,
        error_code=UNDECLARED_CODE,
        error_message=f"No column declares: {', '.join(paths)}. Waiting for the next crawl.",
    )


def sorted_out(
    records: Sequence[FailedRecord], names: Fields
) -> tuple[list[FailedRecord], list[FailedRecord]]:
    """Records ready to convert, and those with attributes that no column would keep."""
    ready, waiting = [], []
    for record in records:
        paths = undeclared_paths(record.raw_data, names)
        if paths:
            waiting.append(held(record, paths))
        else:
            ready.append(record)
    return ready, waiting
