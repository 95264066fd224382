"""A table's history as a model, and its exports as DynamoDB lays them out.

history = TableHistory(("id",))
history.put(micros, item)
history.delete(micros, key)
history.changes(from_micros, to_micros)    # what an incremental export has
chain = write_chain(folder, random_history(random.Random(1)))
"""

import random
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta, timezone
from itertools import pairwise
from pathlib import Path
from typing import Any

from ddb_pipeline.export.layout import (
    NEW_AND_OLD_IMAGES,
    ItemChange,
    write_export,
    write_incremental_export,
)
from ddb_pipeline.export.rows.key_texts import key_text

EPOCH = datetime(1970, 1, 1, tzinfo=timezone.utc)
ARN = "arn:aws:dynamodb:eu-west-1:000000000000:table/orders"
START = datetime(2026, 11, 20, tzinfo=timezone.utc)
HOUR = timedelta(hours=1)

Item = dict[str, Any]
"""An item in DynamoDB's typed form."""


def micros_of(moment: datetime) -> int:
    """Microseconds of the epoch."""
    return (moment - EPOCH) // timedelta(microseconds=1)


@dataclass
class TableHistory:
    """All writes to a table, in the order of their times.

    Attributes:
        key_names: the attributes of the key.
        writes: time in microseconds, key, and the item or None for a delete.
    """

    key_names: Sequence[str]
    writes: list[tuple[int, Item, Item | None]] = field(default_factory=list)

    def put(self, micros: int, item: Item) -> None:
        """Insert or replace an item."""
        self.writes.append((micros, self.key_of(item), item))

    def delete(self, micros: int, key: Item) -> None:
        """Delete an item, which may not exist."""
        self.writes.append((micros, key, None))

    def key_of(self, item: Item) -> Item:
        """The key of an item."""
        return {name: item[name] for name in self.key_names}

    def items(self, before: int) -> dict[str, Item]:
        """The table just before a time: its items by the text of their keys."""
        found: dict[str, Item] = {}
        for micros, key, item in self.writes:
            if micros >= before:
                break
            if item is None:
                found.pop(key_text(key), None)
            else:
                found[key_text(key)] = item
        return found

    def changes(self, start: int, end: int) -> Iterator[ItemChange]:
        """The net changes from a time up to another, exclusive.

        An item that was created and deleted within the window is no change.
        """
        before, after = self.items(start), self.items(end)
        latest = {key_text(key): (m, key) for m, key, _ in self.writes if start <= m < end}
        for text, (micros, key) in latest.items():
            old, new = before.get(text), after.get(text)
            if old is not None or new is not None:
                yield ItemChange(key, new, old, micros)


@dataclass(frozen=True)
class Chain:
    """A full export and the incremental ones that follow it without gaps.

    Attributes:
        full: the full export's folder.
        changes: the folders of the incremental exports, oldest first.
        times: the full export's time, and the end of each window.
        history: what they were made of.
    """

    full: Path
    changes: list[Path]
    times: list[datetime]
    history: TableHistory

    def items(self, exports: int) -> dict[str, Item]:
        """The table after the full export and so many incremental ones."""
        return self.history.items(micros_of(self.times[exports]))


def write_chain(
    folder: Path,
    history: TableHistory,
    *,
    incrementals: int = 20,
    every: timedelta = HOUR,
    start: datetime = START,
    table_arn: str = ARN,
    view: str = NEW_AND_OLD_IMAGES,
    files: int = 4,
) -> Chain:
    """Write a full export of the table at ``start``, and incremental ones of the time after it."""

    def put(key: str, body: bytes) -> None:
        path = folder / key
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(body)

    times = [start + every * number for number in range(incrementals + 1)]
    full = write_export(
        history.items(micros_of(start)).values(),
        put,
        table_arn=table_arn,
        bucket="exports",
        export_time=start,
        files=files,
        now=lambda: start,
    )
    folders = [folder / full.summary.manifest_files_key.rpartition("/")[0]]
    for number, (first, last) in enumerate(pairwise(times)):
        export = write_incremental_export(
            history.changes(micros_of(first), micros_of(last)),
            put,
            table_arn=table_arn,
            bucket="exports",
            from_time=first,
            to_time=last,
            view=view,
            files=files if number % 5 else 1,
            now=_always(last),
        )
        folders.append(folder / export.summary.manifest_files_key.rpartition("/")[0])
    return Chain(folders[0], folders[1:], times, history)


def _always(moment: datetime) -> Callable[[], datetime]:
    return lambda: moment


def random_history(
    rng: random.Random,
    *,
    key_types: str = "S",
    keys: int = 60,
    writes: int = 800,
    hours: int = 20,
    start: datetime = START,
) -> TableHistory:
    """Puts, deletes and re-creations of a few items, from an hour before ``start`` on.

    The fourth hour has no write, and an item is created and deleted within the second one. After
    half of the time there are numbers with fractions, another attribute, and texts for numbers.

    Args:
        key_types: type of the partition key, and of the sort key if there is one: ``SN``.
    """
    names = ("id", "at")[: len(key_types)]
    history = TableHistory(names)
    first = start - HOUR
    span = micros_of(start + HOUR * hours) - micros_of(first)
    times = sorted({micros_of(first) + rng.randrange(span) for _ in range(writes)})
    quiet = range(micros_of(start + HOUR * 3), micros_of(start + HOUR * 4))
    short_lived = micros_of(start + HOUR * 1) + 1
    for micros in times:
        if micros in quiet:
            continue
        if short_lived and micros > short_lived:
            item = _item(names, key_types, 10**6, rng, late=False)
            history.put(short_lived, item)
            history.delete(short_lived + 1, history.key_of(item))
            short_lived = 0
        item = _item(
            names, key_types, rng.randrange(keys), rng, late=micros > micros_of(first) + span // 2
        )
        if rng.random() < 0.3:
            history.delete(micros, history.key_of(item))
        else:
            history.put(micros, item)
    history.writes.sort(key=lambda write: write[0])
    return history


def _item(
    names: Sequence[str], key_types: str, number: int, rng: random.Random, *, late: bool
) -> Item:
    values = {
        "S": {"S": f'order "{number}" é'},
        "N": {"N": str(number * 10**20) if number % 3 == 0 else f"-{number}.5"},
        "B": {"B": "AAEC" if number == 0 else f"{number:08d}"},
    }
    keys = {name: values[kind] for name, kind in zip(names, key_types, strict=True)}
    item: Item = {
        **keys,
        "n": {"N": str(rng.randrange(1000))},
        "tags": {"SS": rng.sample(["a", "b", "c"], rng.randint(1, 3))},
        "address": {"M": {"city": {"S": rng.choice(["Zürich", "東京"])}}},
    }
    if late:
        item["n"] = {"N": f"{rng.randrange(1000)}.25"}
        item["note"] = {"S": rng.choice(["x", ""])}
        if rng.random() < 0.3:
            item["mixed"] = rng.choice([{"S": "text"}, {"N": "7"}])
    elif rng.random() < 0.5:
        item["mixed"] = {"N": str(rng.randrange(9))}
    return item
