"""Exports of several shapes of items, for benchmarks."""

import gzip
import hashlib
import json
import random
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from datetime import datetime, timezone
from multiprocessing import Pool
from pathlib import Path
from typing import Any, Final

from ddb_pipeline.export.layout import (
    FILES,
    SUMMARY,
    DataFile,
    ExportSummary,
    file_line,
    md5_text,
    timestamp,
)

STATES = ("paid", "sent", "returned", "open")
TAGS = tuple(f"tag-{number}" for number in range(60))
WORDS = ("fast", "blue", "wool", "steel", "small", "light", "42", "café", "東京", 'with "quotes"')


TOPICS = tuple(f"query number {number}" for number in range(3_000))
OPTIONAL = tuple(f"attribute_{number:03d}" for number in range(200))


@dataclass(frozen=True)
class Shape:
    """A kind of items.

    Attributes:
        item: makes an item from a random number generator and a name.
        sets: attributes that are sets.
        mixed: attributes of several types, whose column holds text.
    """

    item: Callable[[random.Random, str], dict[str, Any]]
    sets: tuple[str, ...] = ()
    mixed: tuple[str, ...] = ()


def items(shape: Shape, seed: int, count: int) -> Iterator[dict[str, Any]]:
    """Random items of a seed, with every type except B: TypeDeserializer reads no base64."""
    draw = random.Random(seed)
    for number in range(count):
        yield shape.item(draw, f"{seed:04d}-{number:09d}")


def _order(draw: random.Random, name: str) -> dict[str, Any]:
    """An order of about 600 bytes."""
    item: dict[str, Any] = {
        "order_id": {"S": name},
        "customer": {"S": f"{draw.getrandbits(64):016x}"},
        "ordered_at": {"N": str(1_760_000_000_000 + draw.randrange(10**10))},
        "session": {"S": f"{draw.getrandbits(96):024x}"},
        "channel": {"S": draw.choice(("web", "app", "store"))},
        "state": {"S": draw.choice(STATES)},
        "total": {"N": f"{draw.randrange(10**7) / 100:.2f}"},
        "weight": {"N": repr(draw.random())},
        "quantity": {"N": str(draw.randrange(1, 50))},
        "gift": {"BOOL": draw.random() < 0.1},
        "tags": {"SS": sorted(draw.sample(TAGS, draw.randrange(1, 5)))},
        "shelves": {"NS": [str(shelf) for shelf in draw.sample(range(9000), 2)]},
        "address": {
            "M": {
                "city": {"S": draw.choice(WORDS)},
                "zip": {"S": f"{draw.randrange(10**5):05d}"},
                "at": {"L": [{"N": f"{draw.uniform(-90, 90):.6f}"} for _ in range(2)]},
            }
        },
        "lines": {
            "L": [
                {"M": {"sku": {"S": f"sku-{draw.randrange(10**5)}"}, "n": {"N": "1"}}}
                for _ in range(draw.randrange(1, 3))
            ]
        },
    }
    if draw.random() < 0.5:
        item["note"] = {"S": " ".join(draw.choice(WORDS) for _ in range(4))}
    if draw.random() < 0.2:
        item["coupon"] = {"NULL": True} if draw.random() < 0.5 else {"S": "WINTER"}
    return item


def _search(draw: random.Random, name: str) -> dict[str, Any]:
    """A log of a search: of half of the items, the attributes are in another order."""
    item: dict[str, Any] = {
        "log_id": {"S": name},
        "user": {"S": f"{draw.getrandbits(96):024x}"},
        "searched_at": {"N": str(1_760_000_000_000 + draw.randrange(10**10))},
        "query": {"S": draw.choice(TOPICS)},
        "total_hits": {"N": str(draw.randrange(20_000))},
        "latency_ms": {"N": f"{draw.lognormvariate(3.2, 0.5):.3f}"},
        "score": {"N": f"{draw.randrange(10**2)}.{draw.randrange(10**16):016d}1"},
        "version": {"N": "2"} if draw.random() < 0.3 else {"S": "2026-b"},
        "results": {"L": [_result(draw, place) for place in range(draw.randrange(1, 6))]},
        "device": {"M": {"kind": {"S": draw.choice(("phone", "desktop"))}, "os": {"S": "linux"}}},
    }
    if draw.random() < 0.4:
        item["filters"] = {"SS": sorted(draw.sample(TAGS, 2))}
    if draw.random() < 0.3:
        item["referrer"] = {"NULL": True} if draw.random() < 0.4 else {"S": "newsletter"}
    if draw.random() < 0.1:
        item["campaign"] = {"S": draw.choice(WORDS)}
    if draw.random() < 0.5:
        names = list(item)
        draw.shuffle(names)
        item = {name: item[name] for name in names}
    return item


def _result(draw: random.Random, place: int) -> dict[str, Any]:
    members = {
        "document": {"N": str(9_007_199_254_740_993 + draw.randrange(10**6))},
        "place": {"N": str(place)},
        "clicked": {"BOOL": draw.random() < 0.1},
    }
    if draw.random() < 0.2:
        members["dwell"] = {"N": f"{draw.random():.4f}1"}
    return {"M": members}


def _wide(draw: random.Random, name: str) -> dict[str, Any]:
    """15 of 200 optional attributes."""
    item: dict[str, Any] = {"id": {"S": name}}
    for number in draw.sample(range(len(OPTIONAL)), 15):
        text = str(draw.randrange(10**6))
        item[OPTIONAL[number]] = {"N": text} if number % 2 else {"S": f"value {text}"}
    return item


def _text(draw: random.Random, name: str) -> dict[str, Any]:
    """A page of about 4 KB of text."""
    words = [draw.choice(WORDS) for _ in range(700)]
    return {"id": {"S": name}, "title": {"S": words[0]}, "body": {"S": " ".join(words)}}


SHAPES: Final = {
    "orders": Shape(_order, sets=("tags", "shelves")),
    "search-logs": Shape(_search, sets=("filters",), mixed=("version",)),
    "wide": Shape(_wide),
    "text": Shape(_text),
}


def write_benchmark_export(folder: Path, shape: str, count: int, files: int = 8) -> None:
    """Write an export of ``count`` items in ``files`` data files, unless the folder has one."""
    if (folder / f"{SUMMARY}.json").exists():
        return
    (folder / "data").mkdir(parents=True, exist_ok=True)
    shares = [(folder, shape, number, len(range(number, count, files))) for number in range(files)]
    with Pool() as pool:
        written = pool.starmap(_write_file, shares)
    now = timestamp(datetime.now(timezone.utc))
    summary = ExportSummary(
        table_arn="arn:aws:dynamodb:us-east-1:000000000000:table/orders",
        bucket="exports",
        export_arn="arn:aws:dynamodb:us-east-1:000000000000:table/orders/export/benchmark",
        start_time=now,
        end_time=now,
        export_time=now,
        manifest_files_key=f"{FILES}.json",
        item_count=count,
    )
    for name, body in (
        (FILES, b"".join(map(file_line, written))),
        (SUMMARY, summary.to_json()),
    ):
        (folder / f"{name}.md5").write_text(md5_text(body))
        (folder / f"{name}.json").write_bytes(body)


def _write_file(folder: Path, shape: str, number: int, count: int) -> DataFile:
    path = folder / "data" / f"{shape}{number:04d}.json.gz"
    with gzip.open(path, "wb", compresslevel=6) as target:
        for item in items(SHAPES[shape], number, count):
            text = json.dumps({"Item": item}, separators=(",", ":"), ensure_ascii=False)
            target.write(text.encode() + b"\n")
    body = path.read_bytes()
    etag = hashlib.md5(body, usedforsecurity=False).hexdigest()
    return DataFile(f"data/{path.name}", count, md5_text(body), etag)
