"""A sample of items of a table compared with its current view.

A difference may be a change that is in flight. It counts where it is found again once the view is
complete up to after it was first seen, and the item has not changed since. Nothing here returns
values of items: a difference has the key and the names of attributes.
"""

import json
from base64 import b64encode
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from hashlib import blake2b
from typing import Any, Final

from ddb_pipeline.dynamodb.values import Item
from ddb_pipeline.export.rows.reader import ExportReader
from ddb_pipeline.hive.type_decisions import NO_DECISIONS, TypeDecisions
from ddb_pipeline.hive.types import Column
from ddb_pipeline.lake.layout import STATE_PREFIX

STATE_KEY: Final = f"{STATE_PREFIX}current-differences.json"
MISSING: Final = "(not in the view)"
EXTRA: Final = "(not in the table)"
MAX_DIFFERENCES: Final = 50
SETS: Final = frozenset(("SS", "NS", "BS"))


@dataclass(frozen=True, slots=True)
class Difference:
    """An item that differs.

    Attributes:
        key: its canonical key.
        columns: names of the columns that differ, or ``MISSING`` or ``EXTRA``.
        item: digest of the item as the table had it; empty where it had none.
        seen_at: when it was first seen so, epoch seconds.
    """

    key: str
    columns: tuple[str, ...]
    item: str
    seen_at: float


def item_digest(item: Item | None) -> str:
    """Changes whenever the item does; empty for none."""
    if item is None:
        return ""
    return blake2b(_json(_ordered(item)).encode("utf-8", "surrogatepass")).hexdigest()[:32]


def rows_of_items(
    items: Sequence[Item], columns: Sequence[Column], decisions: TypeDecisions = NO_DECISIONS
) -> list[dict[str, Any] | None]:
    """The rows that items become; None for one that the columns cannot hold."""
    block = b"".join(_json({"Item": item}).encode() + b"\n" for item in items)
    rows = ExportReader(columns, decisions=decisions).rows(block)
    found: list[dict[str, Any] | None] = [None] * len(items)
    for number, row in zip(rows.numbers.tolist(), rows.table.to_pylist(), strict=True):
        found[number] = row
    return found


def differing_columns(
    item: Item | None,
    expected: Mapping[str, Any] | None,
    row: Mapping[str, Any] | None,
    columns: Iterable[Column],
) -> tuple[str, ...]:
    """The columns in which a row of the view differs from that of the table's item."""
    if row is None:
        return () if item is None else (MISSING,)
    if item is None:
        return (EXTRA,)
    if expected is None:
        return ("(an attribute that no column holds)",)
    has_sets = _has_sets(item)
    return tuple(
        column.name
        for column in columns
        if _comparable(expected.get(column.name), has_sets)
        != _comparable(row.get(column.name), has_sets)
    )


def judged(
    found: Iterable[Difference], earlier: Mapping[str, Difference], as_of: float
) -> tuple[list[Difference], list[Difference]]:
    """The differences that are real, and all those to remember.

    Args:
        found: what was found now, each with the present as ``seen_at``.
        earlier: what was remembered, by key.
        as_of: the moment up to which the view is complete, epoch seconds.
    """
    real, remembered = [], []
    for difference in found:
        before = earlier.get(difference.key)
        if before is not None and before.item == difference.item:
            difference = Difference(
                difference.key, difference.columns, difference.item, before.seen_at
            )
            if as_of > before.seen_at:
                real.append(difference)
        remembered.append(difference)
    return real, remembered[:MAX_DIFFERENCES]


def render(differences: Iterable[Difference]) -> bytes:
    """Differences as JSON."""
    entries = [[d.key, list(d.columns), d.item, d.seen_at] for d in differences]
    return json.dumps({"format": 1, "differences": entries}).encode()


def parse(text: bytes) -> dict[str, Difference]:
    """The differences by key; none where the text is another."""
    try:
        entries: Any = json.loads(text)["differences"]
        found = [Difference(key, tuple(names), item, at) for key, names, item, at in entries]
    except (ValueError, KeyError, TypeError):
        return {}
    return {difference.key: difference for difference in found}


def _has_sets(value: Any) -> bool:
    if isinstance(value, Mapping):
        return bool(SETS & value.keys()) or any(map(_has_sets, value.values()))
    return isinstance(value, list) and any(map(_has_sets, value))


def _comparable(value: Any, unordered: bool) -> str:
    """A value as text; with ``unordered`` equal for lists in another order: a set has none."""
    if isinstance(value, float) and value == 0:
        value = 0.0
    if isinstance(value, list):
        texts = [_comparable(each, unordered) for each in value]
        return "[" + ",".join(sorted(texts) if unordered else texts) + "]"
    if isinstance(value, Mapping):
        texts = [f"{name}:{_comparable(each, unordered)}" for name, each in value.items()]
        return "{" + ",".join(sorted(texts)) + "}"
    if isinstance(value, tuple):
        return "(" + ",".join(_comparable(each, unordered) for each in value) + ")"
    return f"{type(value).__name__} {value!r}"


def _ordered(value: Any) -> Any:
    if isinstance(value, Mapping):
        return {
            name: sorted(map(_text, content)) if name in SETS else _ordered(content)
            for name, content in sorted(value.items())
        }
    return [_ordered(each) for each in value] if isinstance(value, list) else value


def _json(value: Any) -> str:
    return json.dumps(value, default=_text, separators=(",", ":"))


def _text(value: Any) -> str:
    return b64encode(value).decode("ascii") if isinstance(value, bytes | bytearray) else str(value)
