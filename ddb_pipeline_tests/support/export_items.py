"""An export of orders, each about 600 bytes of DynamoDB JSON, for benchmarks."""

import gzip
import hashlib
import json
import random
from collections.abc import Iterator
from datetime import datetime, timezone
from multiprocessing import Pool
from pathlib import Path
from typing import Any

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


def items(seed: int, count: int) -> Iterator[dict[str, Any]]:
    """Random items of a seed, with every type except B: TypeDeserializer reads no base64."""
    draw = random.Random(seed)
    for number in range(count):
        yield _item(draw, f"{seed:04d}-{number:09d}")


def _item(draw: random.Random, name: str) -> dict[str, Any]:
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


def write_benchmark_export(folder: Path, count: int, files: int = 8) -> None:
    """Write an export of ``count`` items in ``files`` data files, unless the folder has one."""
    if (folder / f"{SUMMARY}.json").exists():
        return
    (folder / "data").mkdir(parents=True, exist_ok=True)
    shares = [(folder, number, len(range(number, count, files))) for number in range(files)]
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


def _write_file(folder: Path, number: int, count: int) -> DataFile:
    path = folder / "data" / f"orders{number:04d}.json.gz"
    with gzip.open(path, "wb", compresslevel=6) as target:
        for item in items(number, count):
            text = json.dumps({"Item": item}, separators=(",", ":"), ensure_ascii=False)
            target.write(text.encode() + b"\n")
    body = path.read_bytes()
    etag = hashlib.md5(body, usedforsecurity=False).hexdigest()
    return DataFile(f"data/{path.name}", count, md5_text(body), etag)
