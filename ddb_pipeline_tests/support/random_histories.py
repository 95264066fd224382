"""Random histories of a table: its writes, what it is at any moment, and how AWS reports them.

A history is the model of the current view's tests. It is written as full and incremental exports,
and as Parquet of the stream's changes.
"""

import json
import random
from base64 import b64decode, b64encode
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta, timezone
from decimal import Context, Decimal
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from ddb_pipeline.arrow_types import parquet_write_options
from ddb_pipeline.dynamodb.values import item_json
from ddb_pipeline.export.layout import ItemChange, write_export, write_incremental_export
from ddb_pipeline.export.rows.reader import ExportReader
from ddb_pipeline.hive.infer import infer_items, inferred_schema
from ddb_pipeline.hive.normalize import replace_sets
from ddb_pipeline.hive.types import Column

ARN = "arn:aws:dynamodb:eu-west-1:000000000000:table/orders"
START = datetime(2026, 11, 1, tzinfo=timezone.utc)
_WIDE = Context(prec=200)

Item = dict[str, Any]
KEYS = ("S", "N", "B", "SN", "NB")
"""Types of the key attributes: partition key, and sort key where there is one."""


@dataclass(frozen=True)
class Write:
    """One write: ``micros`` since ``START``; no image for a delete."""

    micros: int
    number: int
    keys: Item
    image: Item | None
    event: str
    expired: bool

    @property
    def second(self) -> int:
        """Epoch seconds as the stream has them."""
        return int(START.timestamp()) + self.micros // 1_000_000


def key_item(kind: str, number: int) -> Item:
    """The key of an item, the same one for the same number."""
    names = ("Id", "at") if len(kind) > 1 else ("Id",)
    texts = ("k", 'quo"te', "ü", "a\\b", "1.0")
    numbers = (f"{number}", f"-{number}.5", f"{number}00000000000000000000")
    values: Item = {
        "S": {"S": texts[number % 5] + str(number)},
        "N": {"N": numbers[number % 3]},
        "B": {"B": bytes([number, 255 - number])},
    }
    return {name: values[tag] for name, tag in zip(names, kind, strict=True)}


def random_image(rng: random.Random, keys: Item, late: bool) -> Item:
    """An item; ``late`` ones have attributes and types that earlier ones do not have."""
    item = {**keys, "v": {"S": str(rng.random())}}
    if rng.random() < 0.6:
        number = (
            rng.choice(["1.5", "12345678901234567890", "-0.125"])
            if late
            else str(rng.randrange(99))
        )
        item["n"] = {"N": number}
    if rng.random() < 0.3:
        item["tags"] = {"SS": rng.sample(["a", "b", "c"], 2)}
    if rng.random() < 0.3:
        inside: Item = {"x": {"N": str(rng.randrange(9))}}
        if late:
            inside["y"] = {"L": [{"BOOL": True}, {"BOOL": False}]}
        item["m"] = {"M": inside}
    if late and rng.random() < 0.5:
        item["extra"] = {"B": b"\x00\x01"}
    if rng.random() < 0.1:
        item["none"] = {"NULL": True}
    return item


class History:
    """The writes of a table over some hours."""

    def __init__(self, seed: int, writes: int = 60, keys: int = 9, hours: int = 4) -> None:
        self.rng = rng = random.Random(seed)
        self.kind = rng.choice(KEYS)
        self.end = hours * 3_600_000_000
        self.writes: list[Write] = []
        alive: dict[int, Item] = {}
        number = rng.choice([99_999_999_999_999_999_950, 10**39 - 20, 7])
        # Some writes fall into the same second, or the same key is written in one.
        moments = sorted(rng.randrange(self.end) for _ in range(writes))
        for position in range(1, writes):
            if rng.random() < 0.3:
                moments[position] = moments[position - 1] + rng.randrange(1, 900_000)
        for micros in sorted(moments):
            number += rng.randrange(1, 10 ** rng.randrange(1, 20)) if number > 100 else 1
            which = rng.randrange(keys)
            key = key_item(self.kind, which)
            if which in alive and rng.random() < 0.35:
                del alive[which]
                write = Write(micros, number, key, None, "REMOVE", rng.random() < 0.3)
            else:
                image = random_image(rng, key, late=micros > self.end // 2)
                event = "MODIFY" if which in alive else "INSERT"
                alive[which] = image
                write = Write(micros, number, key, image, event, False)
            self.writes.append(write)

    def at(self, micros: int) -> dict[str, Item]:
        """The items before a moment, by the text of their key."""
        items: dict[str, Item] = {}
        for write in self.writes:
            if write.micros >= micros:
                break
            items.pop(key_of(write.keys), None)
            if write.image is not None:
                items[key_of(write.keys)] = write.image
        return items

    def window(self, start: int, end: int) -> list[ItemChange]:
        """The net changes of a window, in any order.

        An item that was created and deleted within the window is none.
        """
        before = self.at(start)
        last = {key_of(write.keys): write for write in self.writes if start <= write.micros < end}
        changes = [
            ItemChange(w.keys, w.image, before.get(key), epoch_micros(w.micros))
            for key, w in last.items()
            if w.image is not None or key in before
        ]
        self.rng.shuffle(changes)
        return changes

    def write_full(self, folder: Path, micros: int) -> Path:
        """A full export of a moment; returns its folder."""
        items = list(self.at(micros).values())
        self.rng.shuffle(items)
        write_export(items, put_to(folder), table_arn=ARN, bucket="b", export_time=moment(micros))
        return folder

    def write_window(self, folder: Path, start: int, end: int) -> Path:
        """An incremental export of a window; returns its folder."""
        write_incremental_export(
            self.window(start, end),
            put_to(folder),
            table_arn=ARN,
            bucket="b",
            from_time=moment(start),
            to_time=moment(end),
            files=self.rng.randrange(1, 4),
        )
        return folder

    def stream(self, start: int, end: int) -> list[Write]:
        """The writes of a part of the stream."""
        return [write for write in self.writes if start <= write.micros < end]


def put_to(folder: Path) -> Any:
    def put(key: str, body: bytes) -> None:
        path = folder / key
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(body)

    return put


def moment(micros: int) -> datetime:
    return START + timedelta(microseconds=micros)


def epoch_micros(micros: int) -> int:
    return int(START.timestamp()) * 1_000_000 + micros


def write_stream_file(path: Path, writes: Sequence[Write]) -> tuple[Column, ...]:
    """Parquet of changes with the stream's metadata columns; returns the item's columns."""
    images = [write.keys if write.image is None else write.image for write in writes]
    schema = inferred_schema(infer_items(images))
    columns = tuple(Column(c.name, replace_sets(c.type)) for c in schema.columns)
    rows = ExportReader(columns).rows(b"".join(map(export_line, images)))
    # The reader returns the rows of a block in any order.
    table = rows.table.take(pa.array(np.argsort(rows.numbers)))
    metadata = pa.table(
        {
            "ddb_event_id": [f"e{write.number}" for write in writes],
            "ddb_event_name": [write.event for write in writes],
            "ddb_sequence_number": [str(write.number) for write in writes],
            "ddb_event_time": pa.array([write.second for write in writes], pa.int64()),
            "ddb_keys": [item_json(dict(sorted(write.keys.items()))) for write in writes],
            "ddb_expired": [write.expired for write in writes],
        }
    )
    for name in metadata.column_names:
        table = table.append_column(name, metadata.column(name))
    pq.write_table(table, path, **parquet_write_options())
    return columns


def export_line(item: Item) -> bytes:
    return json.dumps({"Item": item}, default=_base64).encode() + b"\n"


def _base64(data: bytes) -> str:
    return b64encode(data).decode()


def key_of(keys: Item) -> str:
    """A key as comparable text."""
    return json.dumps({name: _plain_typed(keys[name]) for name in sorted(keys)})


def _plain_typed(value: Any) -> str:
    [(tag, content)] = value.items()
    if tag == "N":
        return format(Decimal(content).normalize(_WIDE), "f")
    return _base64(content) if isinstance(content, bytes) else str(content)


def differences(model: dict[str, Item], rows: Iterable[dict[str, Any]]) -> list[str]:
    """How the rows of a view differ from the items of a table."""
    found = []
    left = dict(model)
    for row in rows:
        key = _key_of_row(row)
        item = left.pop(key, None)
        if item is None:
            found.append(f"row {key} is not in the table, or twice in the view")
            continue
        values = {name.lower(): value for name, value in item.items()}
        for name, value in row.items():
            if name.startswith("ddb_") or name == "key_bucket":
                continue
            if not same(values.pop(name, {"NULL": True}), value):
                found.append(f"{key}: {name} is {value!r}")
        found += [f"{key}: no column {name}" for name, v in values.items() if "NULL" not in v]
    return found + [f"{key} is missing" for key in left]


def _key_of_row(row: dict[str, Any]) -> str:
    """The key as ``key_of`` has it. "Id" is in column "id"."""
    names = {"Id": "id", "at": "at"}
    if row["ddb_keys"] is None:
        keys = {c: row[c] for c in names.values() if row.get(c) is not None}
        typed = {c: v if isinstance(v, str | bytes) else {"N": str(v)} for c, v in keys.items()}
        keys = {c: _plain_typed(v if isinstance(v, dict) else {"": v}) for c, v in typed.items()}
    else:
        keys = json.loads(row["ddb_keys"], parse_int=str, parse_float=str)
    return json.dumps({name: keys[column] for name, column in names.items() if column in keys})


def _bytes(content: str | bytes) -> bytes:
    return b64decode(content) if isinstance(content, str) else content


def same(typed: Any, value: Any) -> bool:
    """Whether a value of the view is the value in DynamoDB's typed form."""
    [(tag, content)] = typed.items()
    if tag == "NULL":
        return value is None
    if value is None:
        return False
    if tag == "N":
        return bool(Decimal(str(value)) == Decimal(content))
    if tag == "B":
        return _bytes(value) == _bytes(content)
    if tag == "M":
        members = dict(value)
        known = all(same(typed, members.pop(name, None)) for name, typed in content.items())
        return known and not any(found is not None for found in members.values())
    if tag == "L":
        return len(value) == len(content) and all(map(same, content, value))
    if tag == "SS":
        return bool(sorted(value) == sorted(content))
    return bool(value == content)
