"""Rows per second of record format conversion by the exact path and by the fast path.

    python -m ddb_pipeline_tests.benchmarks.conversion [--records 100000]

Each line is one batch: the rows per CPU second of each path, and the ratio. The batches with bad
records show the fast path where it converts chunks only in part.
"""

import argparse
import json
import random
import resource
import time
from collections.abc import Sequence
from dataclasses import dataclass

from ddb_pipeline.conversion.convert import ConvertedBatch, convert
from ddb_pipeline.conversion.options import ConversionOptions

Columns = list[tuple[str, str]]

ORDERS: Columns = [
    ("order_id", "string"),
    ("customer", "struct<name:string,email:string,age:bigint>"),
    ("total", "double"),
    ("quantity", "bigint"),
    ("tags", "array<string>"),
    ("active", "boolean"),
    ("created", "timestamp"),
    ("items", "array<struct<sku:string,qty:bigint>>"),
    ("note", "string"),
    ("ddb_event_id", "string"),
    ("ddb_event_name", "string"),
    ("ddb_sequence_number", "string"),
    ("ddb_event_time", "timestamp"),
    ("ddb_keys", "string"),
    ("ddb_expired", "boolean"),
]
WITH_MAP: Columns = [*ORDERS, ("attributes", "map<string,string>")]


@dataclass(frozen=True, slots=True)
class Batch:
    name: str
    records: list[bytes]
    columns: Columns


def order(index: int, random_: random.Random) -> dict[str, object]:
    return {
        "order_id": f"o-{index:08d}",
        "customer": {
            "name": f"Name {index % 1000}",
            "email": f"u{index % 5000}@example.com",
            "age": index % 90,
        },
        "total": round(random_.random() * 1000, 2),
        "quantity": index % 17,
        "tags": ["a", "b", f"t{index % 50}"],
        "active": index % 2 == 0,
        "created": "2026-01-02 03:04:05",
        "items": [{"sku": f"s{item}", "qty": item} for item in range(index % 4)],
        "note": "x" * 80,
        "ddb_event_id": f"{random_.getrandbits(128):032x}",
        "ddb_event_name": "MODIFY",
        "ddb_sequence_number": f"{index:021d}",
        "ddb_event_time": 1_790_000_000 + index,
        "ddb_keys": f'{{"order_id":"o-{index:08d}"}}',
        "ddb_expired": False,
    }


def records(count: int, bad_every: int = 0) -> list[bytes]:
    random_ = random.Random(1)
    lines = []
    for index in range(count):
        document = order(index, random_)
        if bad_every and index % bad_every == bad_every // 2:
            document["quantity"] = "many"
        lines.append(json.dumps(document, separators=(",", ":")).encode() + b"\n")
    return lines


def batches(count: int) -> list[Batch]:
    plain = records(count)
    packed = [b"".join(plain[start : start + 8]) for start in range(0, count, 8)]
    return [
        Batch("one document a record", plain, ORDERS),
        Batch("eight documents a record", packed, ORDERS),
        Batch("1 bad record in 10,000", records(count, 10_000), ORDERS),
        Batch("1 bad record in 1,000", records(count, 1_000), ORDERS),
        Batch("1 bad record in 100", records(count, 100), ORDERS),
        Batch("a map column (no fast path)", plain, WITH_MAP),
    ]


def timed(batch: Batch, options: ConversionOptions) -> tuple[float, ConvertedBatch]:
    """Return the rows per CPU second, and the converted batch."""
    start = time.process_time()
    conversion = convert(batch.records, batch.columns, options)
    return conversion.rows / (time.process_time() - start), conversion


def main(arguments: Sequence[str] | None = None) -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--records", type=int, default=100_000)
    count = parser.parse_args(arguments).records
    print(f"{count} documents, rows per CPU second")  # noqa: T201
    print(f"{'batch':32}{'exact path':>18}{'fast path':>12}{'ratio':>8}")  # noqa: T201
    timed(Batch("warm-up", records(2000), ORDERS), ConversionOptions())
    for batch in batches(count):
        exact_rate, exact = timed(batch, ConversionOptions(fast_path=False))
        fast_rate, fast = timed(batch, ConversionOptions())
        if (exact.rows, exact.failures) != (fast.rows, fast.failures):
            raise SystemExit(f"{batch.name}: the two paths differ")
        ratio = fast_rate / exact_rate
        print(f"{batch.name:32}{exact_rate:>18,.0f}{fast_rate:>12,.0f}{ratio:>8.1f}")  # noqa: T201
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss // 1024
    print(f"peak memory {peak} MiB, inputs included")  # noqa: T201


if __name__ == "__main__":
    main()
