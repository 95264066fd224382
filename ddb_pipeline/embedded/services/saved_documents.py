"""What ministack's services store, as entries of the journal.

ministack saves all its state when it ends, each service's in one document. Here documents are
divided into the entries of their stores. All of it is looked at whenever a request may have changed
something: what is large and never changed in place is written as JSON once, and nothing is copied.
"""

import json
from collections.abc import Callable, Mapping
from typing import Any, Final

from ddb_pipeline.embedded.journal import Group
from ddb_pipeline.embedded.services.ministack import Document, FirehoseModule, saved_default

Entries = dict[Group, dict[tuple[str, ...], str]]
"""By group and key, the values in JSON."""

DOCUMENT: Final = "document"
MESSAGES: Final = ("sqs", "messages")
STORE_EXISTS: Final = ("",)
"""The key that every group of documents has, so that an empty store is restored as one."""

REPLACED_MEMBERS: Final[Mapping[tuple[str, str], tuple[str, ...]]] = {
    ("cloudformation", "stacks"): ("_template", "_template_body"),
    ("cloudformation", "change_sets"): ("_template", "_template_body"),
}
"""By service and store, members of its values that ministack replaces and never changes."""
APPENDED_TO: Final = {("cloudformation", "stack_events")}
"""Stores of lists that ministack only appends to."""

OF_AN_INVOCATION: Final = "[$LATEST]"
"""In the names of the log streams that Lambda makes, in ministack one for each invocation."""

MAX_ATTEMPTS = 20


class Documents:
    """Returns the state of every service that was used, without what is noted as it changes."""

    def __init__(self) -> None:
        self._texts: dict[int, tuple[Any, int, str]] = {}
        """By identity: a value, which is kept so that its identity is not another's, its length,
        and its JSON."""
        self._used: dict[int, tuple[Any, int, str]] = {}

    def entries(self) -> Entries:
        """The state as it is now."""
        import ministack.app

        self._used = {}
        entries: Entries = {}
        for service, get_state in ministack.app._build_persistence_save_dict().items():
            entries |= self._service_entries(service, get_state)
        self._texts = self._used
        return entries

    def _service_entries(self, service: str, get_state: Callable[[], Document | None]) -> Entries:
        """The state of one service, read again where other threads change it meanwhile."""
        for _ in range(MAX_ATTEMPTS):
            try:
                return self._entries_now(service, get_state)
            except RuntimeError as error:
                failure = error
        raise failure

    def _entries_now(self, service: str, get_state: Callable[[], Document | None]) -> Entries:
        from ministack.core.responses import AccountRegionScopedDict, AccountScopedDict

        entries: Entries = {}
        for member, store in (STATES.get(service, get_state)() or {}).items():
            scoped: dict[tuple[str, ...], Any] = {(): store}
            kind = "plain"
            if isinstance(store, AccountRegionScopedDict):
                kind = "region"
                scoped = {(a, r, repr(key)): value for (a, r, key), value in store.all_items()}
            elif isinstance(store, AccountScopedDict):
                kind = "account"
                scoped = {(a, repr(key)): value for (a, key), value in list(store._data.items())}
            scoped[STORE_EXISTS] = None
            place = (service, member)
            entries[DOCUMENT, service, member, kind] = {
                key: self._text(place, value) for key, value in scoped.items()
            }
        return entries | (message_entries() if service == "sqs" else {})

    def _text(self, place: tuple[str, str], value: Any) -> str:
        if place in APPENDED_TO and isinstance(value, list):
            return self._once(value)
        names = REPLACED_MEMBERS.get(place, ())
        found = [name for name in names if isinstance(value, dict) and name in value]
        if not found:
            return _json(value)
        rest = _json({name: inner for name, inner in value.items() if name not in found})
        members = ",".join(f"{_json(name)}:{self._once(value[name])}" for name in found)
        return f"{{{members}}}" if rest == "{}" else f"{{{members},{rest[1:]}"

    def _once(self, value: Any) -> str:
        """The JSON of a value that was not changed if it is the same, of the same length."""
        length = len(value) if isinstance(value, list) else 0
        known = self._texts.get(id(value))
        if known is None or known[1] != length:
            known = value, length, _json(value)
        self._used[id(value)] = known
        return known[2]


def _json(value: Any) -> str:
    return json.dumps(value, default=saved_default)


def message_entries() -> Entries:
    """Return the messages of each queue by their identifiers."""
    from ministack.services import sqs

    return {
        (*MESSAGES, *scoped): {
            STORE_EXISTS: "null",
            **{(message["id"],): _json(message) for message in list(queue["messages"])},
        }
        for scoped, queue in sqs._queues.all_items()
    }


def _without(store: Any, *members: str) -> Any:
    """Return a store whose values lack these members."""
    copied = type(store)()
    for scoped, value in list(store._data.items()):
        copied._data[scoped] = {k: v for k, v in list(value.items()) if k not in members}
    return copied


def _dynamodb_state() -> Document:
    from ministack.services import dynamodb

    # The numbers of items are computed again when the table is restored.
    left_out = ("items", "ItemCount", "TableSizeBytes", dynamodb._INDEX_MEMBERS)
    names = ("tags", "ttl_settings", "pitr_settings", "kinesis_destinations", "backups", "imports")
    others = ("contributor_insights", "resource_policies", "exports", "closed_streams")
    stores = {name: getattr(dynamodb, f"_{name}") for name in (*names, *others)}
    return {"tables": _without(dynamodb._tables, *left_out), **stores}


def _firehose_state() -> Document:
    from ministack.services import firehose

    return {
        "_streams": _without(firehose._streams, FirehoseModule.BUFFER),
        "_dest_counter": firehose._dest_counter,
    }


def _sqs_state() -> Document:
    from ministack.services import sqs

    return {
        "queues": _without(sqs._queues, "messages"),
        "queue_name_to_url": sqs._queue_name_to_url,
    }


def _logs_state() -> Document:
    from ministack.services import cloudwatch_logs as logs

    names = ("destinations", "resource_policies", "log_group_policies", "metric_filters")
    others = ("queries", "delivery_sources", "delivery_destinations", "deliveries")
    state: Document = {name: getattr(logs, f"_{name}") for name in (*names, *others)}
    groups, records = type(logs._log_groups)(), type(logs._log_records)()
    for scoped, group in list(logs._log_groups._data.items()):
        streams = {
            name: {**stream, "events": []}
            for name, stream in list(group["streams"].items())
            if OF_AN_INVOCATION not in name
        }
        groups._data[scoped] = {**group, "streams": streams}
    return {**state, "log_groups": groups, "log_records": records}


def _cloudformation_state() -> Document:
    from ministack.services import cloudformation

    return {key: store() for store, key in cloudformation._PERSISTED_STORES}


STATES: Final[Mapping[str, Callable[[], Document]]] = {
    "dynamodb": _dynamodb_state,
    "firehose": _firehose_state,
    "sqs": _sqs_state,
    "cloudwatch_logs": _logs_state,
    "cloudformation": _cloudformation_state,
}
