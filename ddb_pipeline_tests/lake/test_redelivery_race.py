"""Two redeliveries of one error object at once, in any order and stopped anywhere."""

import json
import random
import threading
from collections import Counter
from contextlib import suppress
from pathlib import Path
from typing import Any

import pyarrow.fs
import pyarrow.parquet as pq
import pytest

from ddb_pipeline.conversion.convert import convert
from ddb_pipeline.firehose.error_objects import FailedRecord, read_error_object, write_error_object
from ddb_pipeline.firehose.held import documents
from ddb_pipeline.hive.types import Column
from ddb_pipeline.lake.layout import DeliveryHour
from ddb_pipeline.lake.objects import list_objects
from ddb_pipeline.lake.redelivery import PLAN_PREFIX, redeliver
from ddb_pipeline.lake.root import LakeRoot
from ddb_pipeline_tests.support.interleaved_s3 import (
    InterleavedS3,
    MemoryBucket,
    StoppedError,
    Turns,
)
from ddb_pipeline_tests.support.scale import scaled

INTERLEAVINGS = scaled(100)
NOON = 1_780_000_000_000
KEY = "errors/format-conversion-failed/2026-05-28/object"
NARROW = (Column("ddb_event_id", "string"), Column("id", "string"))
"""Holds records with ``n`` back, for which it has no column."""
WIDE = (*NARROW, Column("n", "bigint"))
WIDEST = (*NARROW, Column("n", "string"))
SCHEMAS = (NARROW, WIDE, WIDEST)


def record(*events: str, hour: int = 0, **members: Any) -> FailedRecord:
    lines = [json.dumps({"ddb_event_id": e, "id": e, **members}) + "\n" for e in events]
    return FailedRecord(
        raw_data="".join(lines).encode(),
        error_code="DataFormatConversion.InvalidSchema",
        error_message="The schema is invalid.",
        arrival_timestamp=NOON + hour * 3_600_000,
    )


RECORDS = (
    record("a"),
    record("b", n=1),
    record("c", n="text"),
    record("d", hour=1),
    record("e", n=2, hour=1),
    record("f", n="text", hour=2),
    record("g", "h", "i"),
    record("j", "k", n=3),
)
EVENTS = sorted("abcdefghijk")
LANDED = ("g", "k")
"""Events of packed records that Firehose has delivered itself."""


def bucket_with_errors(folder: Path) -> MemoryBucket:
    bucket = MemoryBucket(folder)
    bucket.put(KEY, write_error_object(RECORDS))
    landed = [json.dumps({"ddb_event_id": event, "id": event}).encode() for event in LANDED]
    parquet = convert(landed, NARROW).parquet
    assert parquet is not None
    bucket.put(f"{DeliveryHour.of(NOON / 1000).prefix}firehose.parquet", parquet)
    return bucket


def places(bucket: MemoryBucket) -> Counter[str]:
    """How many rows and failed records each event has."""
    found: Counter[str] = Counter()
    for key in bucket.bodies:
        if key.startswith("stream/"):
            found.update(pq.read_table(bucket.folder / key).column("ddb_event_id").to_pylist())
    for failed in read_error_object(bucket.bodies.get(KEY, b"")).records:
        found.update(d.value["ddb_event_id"] for d in documents(failed.raw_data))
    return found


def run(s3: Any, bucket: MemoryBucket, columns: tuple[Column, ...]) -> None:
    filesystem = pyarrow.fs.SubTreeFileSystem(
        str(bucket.folder.parent), pyarrow.fs.LocalFileSystem()
    )
    for stored in list_objects(s3, LakeRoot(bucket.folder.name), "errors/"):
        redeliver(s3, filesystem, LakeRoot(bucket.folder.name), stored, columns)


def race(bucket: MemoryBucket, seed: int) -> list[str]:
    """Two redeliveries with two schemas; in half of the cases one is stopped at a request."""
    choices = random.Random(seed)
    turns = Turns(seed, ("first", "second"))
    stopped = choices.choice(("first", "second", "", ""))
    stop_at = choices.randrange(1, 14)
    stop_after = choices.random() < 0.5

    def client(name: str) -> None:
        requests = 0

        def before(request: str) -> None:
            nonlocal requests
            requests += 1
            turns.take(name, request)
            if name == stopped and requests == stop_at and not stop_after:
                raise StoppedError

        def after(request: str) -> None:
            if name == stopped and requests == stop_at:
                raise StoppedError

        try:
            run(InterleavedS3(bucket, before, after), bucket, schemas[name])
        except StoppedError:
            turns.log.append(f"{name} is stopped")
        finally:
            turns.end(name)

    schemas = {name: choices.choice(SCHEMAS) for name in ("first", "second")}
    threads = [threading.Thread(target=client, args=(name,)) for name in schemas]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(30)
        assert not thread.is_alive()
    return turns.log


@pytest.mark.parametrize("part", range(10))
def test_every_record_is_in_exactly_one_place_after_any_interleaving(
    tmp_path: Path, part: int
) -> None:
    for seed in range(part, INTERLEAVINGS, 10):
        bucket = bucket_with_errors(tmp_path / str(seed))
        log = race(bucket, seed)
        assert set(places(bucket)) == set(EVENTS), (seed, log)
        for columns in (WIDE, WIDEST, WIDEST):
            run(InterleavedS3(bucket), bucket, columns)
            assert set(places(bucket)) == set(EVENTS), (seed, log)
        assert places(bucket) == Counter(EVENTS), (seed, log)
        assert KEY not in bucket.bodies


@pytest.mark.parametrize("stop_at", range(1, 14))
@pytest.mark.parametrize("schemas", [(NARROW, WIDE), (WIDE, WIDEST), (WIDEST, WIDE)])
def test_no_record_is_lost_where_the_plan_of_a_stopped_redelivery_expires(
    tmp_path: Path, stop_at: int, schemas: tuple[tuple[Column, ...], ...]
) -> None:
    bucket = bucket_with_errors(tmp_path / "bucket")
    requests = iter(range(1, 1000))

    def before(request: str) -> None:
        if next(requests) == stop_at:
            raise StoppedError

    with suppress(StoppedError):
        run(InterleavedS3(bucket, before), bucket, schemas[0])
    for key in [key for key in bucket.bodies if key.startswith(PLAN_PREFIX)]:
        del bucket.bodies[key]
    for columns in (schemas[1], WIDEST, WIDEST):
        run(InterleavedS3(bucket), bucket, columns)
        assert set(places(bucket)) == set(EVENTS)
    assert KEY not in bucket.bodies
