"""Records in the journal: items and stream records of DynamoDB, buffered records of Firehose.

There may be many, so they are not compared: what changed is noted, or lies at the end of a list.
"""

import threading
from collections import defaultdict, deque
from collections.abc import Iterator
from typing import Any

from ddb_pipeline.embedded.journal import Group, State, encode
from ddb_pipeline.embedded.services.history import ChangeHistory
from ddb_pipeline.embedded.services.ministack import (
    Document,
    FirehoseModule,
    saved_default,
)
from ddb_pipeline.embedded.services.ministack_dynamodb import DynamoDBModule

ITEMS = ("dynamodb", "items")
STREAM = ("dynamodb", "stream")
TRIMMED = "trimmed"
"""The key of the number of records that a stream had before its first record."""
BUFFER = ("firehose", "buffer")

Scope = tuple[str, str, str]
"""Account, region and name."""


class TableRecords:
    """The items of tables and the records of their streams.

    The lock serialises what changes a stream: a record's position is the number of records before
    it, of which the oldest are dropped.
    """

    def __init__(self, dynamodb: DynamoDBModule, history: ChangeHistory) -> None:
        self._dynamodb = dynamodb
        self._history = history
        self._changed: deque[tuple[Document, str, str]] = deque()
        self._items: dict[Scope, Any] = {}
        self._ends: dict[Scope, tuple[Any, int]] = {}
        self._lock = threading.RLock()

    def install(self) -> None:
        """Note each item that changes."""
        self._dynamodb.note_items(self._note, self._history.lock)
        self._dynamodb.lock_streams(self._lock)

    def _note(
        self, table: Document, key: str, sort_key: str, old: Document | None, new: Document | None
    ) -> None:
        # In this order a change that is saved is in the history.
        scope = _scope(table)
        if self._dynamodb.recovery_enabled.get_scoped(*scope):
            self._history.note(scope, table["TableId"], (key, sort_key), old, new)
        self._changed.append((table, key, sort_key))

    @property
    def has_new_table(self) -> bool:
        """Whether an item changed whose table is not in the journal yet."""
        return any(_scope(table) not in self._items for table, _, _ in list(self._changed))

    def table_changes(self) -> Iterator[str]:
        """Yield the changes of tables that were created, replaced or deleted."""
        tables = dict(self._dynamodb.tables.all_items())
        for scope in [scope for scope in self._items if scope not in tables]:
            del self._items[scope]
            yield encode((*ITEMS, *scope))
        for scope, table in tables.items():
            if self._items.get(scope) is not table["items"]:
                yield from self._all_items(scope, table)
        for scope in {*self._ends, *self._dynamodb.records._data}:
            yield from self._stream_changes(scope)

    def changes(self) -> Iterator[str]:
        """Yield the changes of items and streams since the last call."""
        changed: dict[Scope, dict[tuple[str, str], None]] = {}
        while self._changed:
            table, key, sort_key = self._changed.popleft()
            changed.setdefault(_scope(table), {})[key, sort_key] = None
        for scope, keys in changed.items():
            table = self._dynamodb.tables.get_scoped(*scope)
            if table is None:
                continue
            if self._items.get(scope) is not table["items"]:
                yield from self._all_items(scope, table)
            for key, sort_key in keys:
                item = table["items"].get(key, {}).get(sort_key)
                change = () if item is None else (item,)
                yield _encode((*ITEMS, *scope), [key, sort_key], *change)
            yield from self._stream_changes(scope)

    def lines(self) -> Iterator[str]:
        """Yield all items and stream records."""
        for scope, table in self._dynamodb.tables.all_items():
            yield from _item_lines(self._dynamodb, scope, table)
        for scope in list(self._dynamodb.records._data):
            with self._lock:
                trimmed, records = self._stream(scope)
            yield encode((*STREAM, *scope), TRIMMED, trimmed)
            for position, record in enumerate(records, trimmed):
                yield _encode((*STREAM, *scope), position, record)

    def restore(self, state: State, documents: Document) -> None:
        """Put the items into the tables' documents, and the records into the streams."""
        tables = documents.get("tables")
        for scope, table in list(tables._data.items()) if tables is not None else ():
            table["items"] = defaultdict(dict)
            for (key, sort_key), item in state.get((*ITEMS, *scope), {}).items():
                table["items"][key][sort_key] = item
            self._items[scope] = table["items"]
            self._dynamodb.count_items(table)
            stream = state.get((*STREAM, *scope))
            if stream is not None:
                trimmed = stream.pop(TRIMMED, 0)
                first = min(stream, default=trimmed)
                records = [stream[position] for position in sorted(stream)]
                self._restore_stream(scope, first, records)
        if "closed_streams" in documents:
            self._dynamodb.closed_streams.update(documents["closed_streams"])

    def _restore_stream(self, scope: Scope, trimmed: int, records: list[Document]) -> None:
        self._dynamodb.trimmed._data[scope] = trimmed
        self._dynamodb.records._data[scope] = records
        self._ends[scope] = (records, trimmed + len(records))

    def _all_items(self, scope: Scope, table: Document) -> Iterator[str]:
        self._items[scope] = table["items"]
        yield encode((*ITEMS, *scope))
        yield from _item_lines(self._dynamodb, scope, table)

    def _stream(self, scope: Scope) -> tuple[int, list[Document]]:
        """Return how many records of a stream were dropped, and the others."""
        records = self._dynamodb.records._data.get(scope) or []
        return self._dynamodb.trimmed._data.get(scope, 0), list(records)

    def _stream_changes(self, scope: Scope) -> Iterator[str]:
        group = (*STREAM, *scope)
        with self._lock:
            store = self._dynamodb.records._data.get(scope)
            written, end = self._ends.get(scope, (None, 0))
            if written is not store and written is not None:
                end = 0
                yield encode(group)
            if store is None:
                self._ends.pop(scope, None)
                return
            trimmed, records = self._stream(scope)
            self._ends[scope] = (store, trimmed + len(records))
        for position, record in enumerate(records[max(0, end - trimmed) :], max(end, trimmed)):
            yield _encode(group, position, record)


class BufferedRecords:
    """The records that delivery streams have not delivered yet."""

    def __init__(self, firehose: FirehoseModule) -> None:
        self._firehose = firehose
        self._written: dict[Scope, deque[str]] = {}

    def changes(self) -> Iterator[str]:
        """Yield the changes since the last call: new records at the end, delivered ones removed."""
        with self._firehose.lock:
            buffers = {scope: list(entries) for scope, entries in self._buffers()}
        for scope in [scope for scope in self._written if scope not in buffers]:
            del self._written[scope]
            yield encode((*BUFFER, *scope))
        for scope, entries in buffers.items():
            group = (*BUFFER, *scope)
            written = self._written.setdefault(scope, deque())
            while written and (not entries or written[0] != entries[0]["id"]):
                yield encode(group, written.popleft())
            for entry in entries[len(written) :]:
                written.append(entry["id"])
                yield encode(group, entry["id"], entry)

    def lines(self) -> Iterator[str]:
        """Yield all buffered records."""
        with self._firehose.lock:
            buffers = [(scope, list(entries)) for scope, entries in self._buffers()]
        for scope, entries in buffers:
            for entry in entries:
                yield encode((*BUFFER, *scope), entry["id"], entry)

    def restore(self, state: State, documents: Document) -> None:
        """Put the records into the documents of their delivery streams."""
        streams = documents.get("_streams")
        for scope, stream in list(streams._data.items()) if streams is not None else ():
            entries = list(state.get((*BUFFER, *scope), {}).values())
            stream[FirehoseModule.BUFFER] = entries
            self._written[scope] = deque(entry["id"] for entry in entries)

    def _buffers(self) -> Iterator[tuple[Scope, list[Document]]]:
        for account, region, stream in self._firehose.scoped_streams():
            if FirehoseModule.BUFFER in stream:
                yield (account, region, stream["name"]), stream[FirehoseModule.BUFFER]


def _item_lines(dynamodb: DynamoDBModule, scope: Scope, table: Document) -> Iterator[str]:
    for keys, item in dynamodb.items(table):
        yield _encode((*ITEMS, *scope), keys, item)


def _encode(group: Group, *change: Any) -> str:
    return encode(group, *change, default=saved_default)


def _scope(table: Document) -> Scope:
    """Return account, region and name of a table, which its ARN has."""
    _, _, _, region, account, resource = table["TableArn"].split(":", 5)
    return account, region, resource.partition("/")[2]
