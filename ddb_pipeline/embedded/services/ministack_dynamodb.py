"""The adapter to ministack's DynamoDB, whose private names it uses (see ``services.ministack``)."""

import contextvars
import threading
from collections.abc import Callable, Iterator, Mapping
from contextlib import AbstractContextManager, contextmanager
from typing import Any

from ddb_pipeline.embedded.services.ministack import Document, ServiceModule

Change = tuple[Document, Document | None, Document | None]
"""A table, and the old and new version of one of its items."""

NoteItem = Callable[[Document, str, str, Document | None, Document | None], None]
"""Gets a table, the keys of one of its items, and the item's old and new version."""

_changes: contextvars.ContextVar[list[Change] | None] = contextvars.ContextVar(
    "changes", default=None
)
_EXPIRING_THREAD = "dynamodb-ttl-reaper"


def _collect(*change: Any) -> None:
    changes = _changes.get()
    if changes is not None:
        changes.append(change)


class DynamoDBModule(ServiceModule):
    """ministack's DynamoDB, including the streams of its tables."""

    def __init__(self) -> None:
        super().__init__("dynamodb")
        self.tables = self._module._tables
        self.exports = self._module._exports
        self.recovery_enabled = self._module._pitr_settings
        self.records = self._module._stream_records
        self.trimmed = self._module._stream_trimmed
        self.closed_streams = self._module._closed_streams
        self.time_to_live = self._module._ttl_settings
        self.streams = ServiceModule("dynamodb_streams")

    def table_name(self, arn: str) -> str:
        """Return the name of the table that has this ARN; empty where there is none."""
        name: str = self._module._table_name_from_arn(arn) or ""
        return name

    def replace_sequence_numbers(self, next_number: Callable[[], str]) -> None:
        """Number stream records by ``next_number``."""
        self._module._next_stream_seq = next_number

    def complete_stream_records(self, complete: Callable[[Document], None]) -> None:
        """Pass each new stream record to ``complete``, which changes it, before it is stored."""
        build = self._module._build_change_record

        def build_completed(*arguments: Any) -> Document:
            record: Document = build(*arguments)
            complete(record)
            return record

        self._module._build_change_record = build_completed

    def note_items(self, note: NoteItem, lock: AbstractContextManager[Any]) -> None:
        """Call ``note`` for each item that is written or removed, and hold ``lock`` meanwhile."""
        set_item, remove_item = self._module._set_item, self._module._remove_item

        def set_and_note(table: Document, key: str, sort_key: str, item: Document) -> Any:
            with lock:
                replaced = set_item(table, key, sort_key, item)
                note(table, key, sort_key, replaced, item)
            _collect(table, replaced, item)
            return replaced

        def remove_and_note(table: Document, key: str, sort_key: str) -> Any:
            if threading.current_thread().name == _EXPIRING_THREAD:
                return None  # ministack expires items without stream records
            with lock:
                removed = remove_item(table, key, sort_key)
                note(table, key, sort_key, removed, None)
            _collect(table, removed, None)
            return removed

        self._module._set_item, self._module._remove_item = set_and_note, remove_and_note

    def name_of(self, name: str) -> str:
        """Return the name of a table that a request names, also by its ARN."""
        found: str = self._module._normalize_table_name(name)
        return found

    def key_names(self, table: str) -> list[str]:
        """Return the attributes of a table's key."""
        stored = self.tables[table]
        return [name for name in (stored.get("pk_name"), stored.get("sk_name")) if name]

    @contextmanager
    def collect_changes(self) -> Iterator[list[Change]]:
        """Collect the changes of items that are made in the context, in their order."""
        changes: list[Change] = []
        token = _changes.set(changes)
        try:
            yield changes
        finally:
            _changes.reset(token)

    def put_stream_record(
        self, table: Document, old: Document | None, new: Document | None
    ) -> None:
        """Put the record of a change into the table's stream, if it has one."""
        if old or new:
            name = "MODIFY" if old and new else "INSERT" if new else "REMOVE"
            self._module._emit_stream_event(table["TableName"], name, old, new)

    def items(self, table: Document) -> Iterator[tuple[tuple[str, str], Document]]:
        """Yield the keys and the item of all items of a table."""
        for key, by_sort_key in list(table["items"].items()):
            for sort_key, item in list(by_sort_key.items()):
                yield (key, sort_key), item

    def remove_item(self, table: Document, keys: tuple[str, str]) -> None:
        """Remove an item."""
        self._module._remove_item(table, *keys)

    def item_size(self, item: Mapping[str, Any]) -> int:
        """Return the size of an item in bytes, by DynamoDB's rules."""
        size: int = self._module._item_size_bytes(item)
        return size

    def lock_streams(self, lock: AbstractContextManager[Any]) -> None:
        """Hold ``lock`` while a stream gets a record, or its oldest ones are dropped."""
        for name in ("_emit_stream_event", "_trim_stream_records"):
            setattr(self._module, name, _locked(getattr(self._module, name), lock))

    def count_items(self, table: Document) -> None:
        """Set the numbers of items in a table's description."""
        self._module._update_counts(table)

    def on_provisioned(self, apply: Callable[[str, Mapping[str, Any]], None]) -> None:
        """Call ``apply`` with the name and properties of each table that CloudFormation writes."""
        from ministack.services.cloudformation import provisioners

        handlers = provisioners._RESOURCE_HANDLERS["AWS::DynamoDB::Table"]
        create, update = handlers["create"], handlers["update"]

        def create_table(logical_id: str, properties: Mapping[str, Any], stack: str) -> Any:
            created = create(logical_id, properties, stack)
            apply(created[0], properties)
            return created

        def update_table(name: str, old: Any, new: Mapping[str, Any], *rest: Any) -> Any:
            updated = update(name, old, new, *rest)
            apply(updated[0] if isinstance(updated, tuple) else name, new)
            return updated

        handlers["create"], handlers["update"] = create_table, update_table

    def stream_positions(self, table: str) -> tuple[int, int]:
        """Return the position of the oldest stream record and the position after the newest."""
        return self._module.stream_start_position(table), self._module.stream_end_position(table)

    def stream_records(self, table: str, position: int, limit: int) -> list[Document]:
        """Return up to ``limit`` stream records from ``position`` on."""
        records: list[Document] = self._module.stream_records_since(table, position, limit)
        return records


def _locked(function: Callable[..., Any], lock: AbstractContextManager[Any]) -> Callable[..., Any]:
    def call(*arguments: Any, **options: Any) -> Any:
        with lock:
            return function(*arguments, **options)

    return call
