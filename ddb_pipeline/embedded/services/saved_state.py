"""The state of ministack in the journal: what changed is appended, and restored at the start.

Like ``services.ministack`` this module uses ministack's private names. Of the services' documents
(``saved_documents``) only changed entries are written, and what may be large is not compared at
all: items and stream records of DynamoDB and buffered records of Firehose are noted as they change.

Log events, the log streams of functions' invocations and the parts of unfinished multipart uploads
are in memory only.
"""

import ast
import json
import threading
from collections import defaultdict
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from ddb_pipeline.embedded.journal import Journal, State, encode
from ddb_pipeline.embedded.services.history import ChangeHistory
from ddb_pipeline.embedded.services.ministack import (
    Document,
    FirehoseModule,
    saved_default,
    saved_object_hook,
)
from ddb_pipeline.embedded.services.ministack_dynamodb import DynamoDBModule
from ddb_pipeline.embedded.services.saved_documents import (
    DOCUMENT,
    MESSAGES,
    OF_AN_INVOCATION,
    STORE_EXISTS,
    Documents,
    Entries,
)
from ddb_pipeline.embedded.services.saved_records import BufferedRecords, TableRecords

MAX_LOG_EVENTS = 1000
"""Log events that are kept in memory for each log stream."""
MAX_INVOCATIONS = 50
"""Newest invocations of a function whose log streams are kept."""


class SavedState:
    """Writes changes of ministack's state to a journal, and restores them."""

    def __init__(self, journal: Journal, dynamodb: DynamoDBModule, history: ChangeHistory) -> None:
        self._journal = journal
        self._history = history
        self._tables = TableRecords(dynamodb, history)
        self._buffers = BufferedRecords(FirehoseModule())
        self._documents = Documents()
        self._written: Entries = {}
        self._saving = threading.RLock()
        self._object_errors: list[OSError] = []
        """Of objects of S3 and of the history."""

    def install(self) -> None:
        """Let ministack load the journal's state at its start, and not save its own at its end.

        Raises:
            EmbeddedError: the journal is damaged.
        """
        import ministack.app
        from ministack.services import s3

        self._tables.install()
        ministack.app.save_all = lambda services: None
        if not self._journal.is_empty:
            documents = self._restore(self._journal.read(saved_object_hook))
            ministack.app.load_state = documents.get
        write = s3._atomic_write

        def write_or_note(*arguments: Any, **options: Any) -> None:
            try:
                write(*arguments, **options)
            except OSError as error:
                # ministack logs it, and answers as if the object were written.
                self._object_errors.append(error)
                raise

        s3._atomic_write = write_or_note

    def start(self, folder: Path) -> None:
        """Take over the state that an earlier version saved in ``folder``, if there is one."""
        if self._journal.is_empty:
            self.save(everything=True)
            for path in folder.glob("*.json"):
                path.unlink()

    def save(self, *, everything: bool) -> None:
        """Write what has changed to the journal.

        Args:
            everything: False to write only items, stream records and buffered records.

        Raises:
            OSError: it, or an object of S3 since the last call, could not be written.
        """
        with self._saving:
            lines: list[str] = []
            if everything or self._tables.has_new_table:
                lines += self._document_changes()
                lines += self._tables.table_changes()
            lines += self._tables.changes()
            lines += self._buffers.changes()
            try:
                self._history.write()
            except OSError as failure:
                self._object_errors.append(failure)
            lines += self._history.changes()
            self._journal.append(lines)
            if self._object_errors:
                error = self._object_errors[0]
                self._object_errors.clear()
                raise error

    def compact(self) -> None:
        """Write a snapshot if the journal has grown enough.

        Raises:
            OSError: it could not be written; nothing is lost.
        """
        _trim_logs()
        self._history.forget_old()
        if self._journal.needs_compaction:
            self._journal.compact(self._lines)

    def _lines(self) -> Iterator[str]:
        with self._saving:
            written = [(group, list(entries.items())) for group, entries in self._written.items()]
        for group, entries in written:
            for key, text in entries:
                yield encode(group, key, text=text)
        yield from self._tables.lines()
        yield from self._buffers.lines()
        yield from self._history.lines()

    def _document_changes(self) -> Iterator[str]:
        documents = self._documents.entries()
        for group in [g for g in self._written if g[:2] == MESSAGES and g not in documents]:
            del self._written[group]
            yield encode(group)
        for group, entries in documents.items():
            written = self._written.setdefault(group, {})
            for key in written.keys() - entries.keys():
                del written[key]
                yield encode(group, key)
            for key, text in entries.items():
                if written.get(key) != text:
                    written[key] = text
                    yield encode(group, key, text=text)

    def _restore(self, state: State) -> dict[str, Document]:
        """Restore records, and return the documents by service."""
        services: dict[str, Document] = defaultdict(dict)
        messages: dict[tuple[Any, ...], list[Any]] = {}
        for group, entries in state.items():
            if group[:2] == MESSAGES:
                messages[group[2:]] = [v for k, v in entries.items() if k != STORE_EXISTS]
            if group[0] == DOCUMENT:
                _, service, member, kind = group
                services[str(service)][str(member)] = _store(str(kind), entries)
            if group[0] == DOCUMENT or group[:2] == MESSAGES:
                self._written[group] = {
                    key: json.dumps(value, default=saved_default)
                    for key, value in entries.items()
                    if isinstance(key, tuple)
                }
        queues = services.get("sqs", {}).get("queues")
        for scoped, queue in list(queues._data.items()) if queues is not None else ():
            queue["messages"] = messages.get(scoped, [])
        self._tables.restore(state, services.get("dynamodb", {}))
        self._buffers.restore(state, services.get("firehose", {}))
        self._history.restore(state)
        return services


def end_interrupted_stacks() -> None:
    """Forget stacks whose creation an earlier process began, so that they can be created anew."""
    from ministack.services import cloudformation

    for scoped, stack in list(cloudformation._stacks._data.items()):
        if stack["StackStatus"] == "CREATE_IN_PROGRESS":
            del cloudformation._stacks._data[scoped]
        elif stack["StackStatus"] in ("UPDATE_IN_PROGRESS", "DELETE_IN_PROGRESS"):
            stack["StackStatus"] = stack["StackStatus"].replace("IN_PROGRESS", "FAILED")
            stack["StackStatusReason"] = "The embedded AWS ended meanwhile."


def _trim_logs() -> None:
    """Drop the log streams of older invocations, and the oldest log events."""
    from ministack.services import cloudwatch_logs as logs

    for group in logs._log_groups.all_values():
        invocations = [name for name in list(group["streams"]) if OF_AN_INVOCATION in name]
        for name in invocations[:-MAX_INVOCATIONS]:
            group["streams"].pop(name, None)
        for stream in list(group["streams"].values()):
            del stream["events"][:-MAX_LOG_EVENTS]
    for scoped in list(logs._log_records._data)[:-MAX_LOG_EVENTS]:
        logs._log_records._data.pop(scoped, None)


def _store(kind: str, entries: Mapping[Any, Any]) -> Any:
    """Return the store that has these entries."""
    from ministack.core.responses import AccountRegionScopedDict, AccountScopedDict

    if kind == "plain":
        return entries[()]
    store: Any = AccountRegionScopedDict() if kind == "region" else AccountScopedDict()
    for key, value in entries.items():
        if key != STORE_EXISTS:
            scoped = (*key[:-1], ast.literal_eval(key[-1]))
            store._data[scoped] = value
    return store
