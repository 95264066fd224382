"""Runs of the redelivery: all error objects in turn, each once for a schema."""

import json
from collections import Counter
from datetime import datetime, timezone
from pathlib import Path
from typing import Any

import pyarrow.fs
import pytest

from ddb_pipeline.firehose.error_objects import FailedRecord, write_error_object
from ddb_pipeline.hive.types import Column
from ddb_pipeline.lake import redelivery_run
from ddb_pipeline.lake.error_folders import error_folders, folders_to_visit
from ddb_pipeline.lake.redelivery import redeliver
from ddb_pipeline.lake.redelivery_attempts import ATTEMPTS_PREFIX
from ddb_pipeline.lake.redelivery_plan import CORRUPT_LINE
from ddb_pipeline.lake.redelivery_run import (
    Redelivery,
    RedeliveryError,
    RedeliveryRun,
    untried,
)
from ddb_pipeline.lake.root import LakeRoot
from ddb_pipeline_tests.support.interleaved_s3 import InterleavedS3, MemoryBucket, refused

NOW = datetime(2026, 5, 28, 13, tzinfo=timezone.utc).timestamp()
NARROW = (Column("ddb_event_id", "string"), Column("n", "bigint"))
WIDE = (Column("ddb_event_id", "string"), Column("n", "string"))
KIND = "errors/format-conversion-failed/"
MALFORMED = "DataFormatConversion.MalformedData"


class Lake:
    """A bucket in memory, and the requests of redeliveries in it."""

    def __init__(self, folder: Path) -> None:
        self.bucket = MemoryBucket(folder)
        self.requests: list[str] = []
        self.s3: Any = InterleavedS3(self.bucket, self.requests.append)

    def fail(self, name: str, number: Any, day: str = "2026-05-28") -> str:
        """Write an error object with one record."""
        document = json.dumps({"ddb_event_id": name, "n": number}).encode()
        key = f"{KIND}{day}/{name}"
        record = FailedRecord(raw_data=document, error_code="c", error_message="m")
        self.bucket.put(key, write_error_object([record]))
        return key

    def run(self, columns: tuple[Column, ...], now: float = NOW, *also: str) -> RedeliveryRun:
        """Run a redelivery; ``requests`` are then its requests."""
        self.requests.clear()
        filesystem = pyarrow.fs.LocalFileSystem()
        schema = columns[1].type
        return Redelivery(self.s3, filesystem, LakeRoot("lake"), columns, schema).run(now, also)

    def read(self) -> list[str]:
        """The error objects that were read."""
        return [r.removeprefix("get ") for r in self.requests if r.startswith("get errors/")]

    def errors(self) -> list[str]:
        """The keys of the error objects."""
        return sorted(key for key in self.bucket.bodies if key.startswith("errors/"))


@pytest.fixture
def lake(tmp_path: Path) -> Lake:
    return Lake(tmp_path)


def test_objects_that_never_convert_hide_no_others(
    lake: Lake, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(redelivery_run, "MAX_OBJECTS", 100)
    hopeless = [lake.fail(f"a{number:04}", "x") for number in range(250)]
    old = [lake.fail(f"old{day}", 1, day=f"2026-01-{day:02}") for day in range(1, 29)]
    later = [lake.fail(f"b{number:04}", number) for number in range(20)]
    rows = 0
    for run in range(3):
        result = lake.run(NARROW)
        assert len(lake.read()) <= 100
        assert result.unfinished == (run < 2)
        rows += sum(done.rows for done in result.done)
    assert rows == len(old) + len(later)
    assert lake.errors() == hopeless
    assert result.waiting == {MALFORMED: 250}


def test_an_object_is_read_once_for_a_schema(lake: Lake) -> None:
    keys = [lake.fail(name, "x", day) for name, day in (("a", "2026-05-28"), ("b", "2026-01-01"))]
    lake.run(NARROW)
    assert lake.read() == keys
    assert not untried(lake.s3, LakeRoot("lake"), "bigint", NOW)
    again = lake.run(NARROW)
    assert lake.read() == []
    assert not again.done
    assert again.waiting == {MALFORMED: 2}
    new = lake.fail("c", "y")
    assert [stored.key for stored in untried(lake.s3, LakeRoot("lake"), "bigint", NOW).objects] == [
        new
    ]
    lake.run(NARROW)
    assert lake.read() == [new]
    assert untried(lake.s3, LakeRoot("lake"), "string", NOW)
    repaired = lake.run(WIDE)
    assert sum(done.rows for done in repaired.done) == 3
    assert (lake.errors(), dict(repaired.waiting)) == ([], {})
    assert not untried(lake.s3, LakeRoot("lake"), "string", NOW).exist


def test_an_object_that_changes_is_read_again(lake: Lake) -> None:
    key = lake.fail("a", "x")
    lake.run(NARROW)
    lake.fail("a", 1)
    assert [stored.key for stored in untried(lake.s3, LakeRoot("lake"), "bigint", NOW).objects] == [
        key
    ]
    assert lake.run(NARROW).done[0].rows == 1


def test_lines_that_no_schema_repairs_are_counted_and_not_read_again(lake: Lake) -> None:
    lake.bucket.put(f"{KIND}2026-05-28/bad", b'{"attemptsMade":"--5"}\n')
    lake.bucket.put("errors/outside", b"neither\n")
    assert lake.run(NARROW).waiting == {CORRUPT_LINE: 2}
    assert lake.run(WIDE).waiting == {CORRUPT_LINE: 2}
    assert lake.read() == []


def test_what_an_error_object_causes_does_not_affect_others(
    lake: Lake, monkeypatch: pytest.MonkeyPatch
) -> None:
    bad, denied, good = (lake.fail(name, 1) for name in ("bad", "denied", "good"))

    def failing(
        s3: Any, filesystem: Any, bucket: str, stored: Any, columns: Any, decisions: Any
    ) -> Any:
        if stored.key == bad:
            raise OverflowError("timestamp out of range")
        if stored.key == denied:
            raise refused("AccessDenied", 403)
        return redeliver(s3, filesystem, LakeRoot(bucket), stored, columns, decisions)

    monkeypatch.setattr(redelivery_run, "redeliver", failing)
    result = lake.run(NARROW)
    assert [done.key for done in result.done] == [good]
    assert result.errors == {bad: "Pipeline.Error.OverflowError"}
    assert result.inaccessible == {denied: "Pipeline.Error.AccessDenied"}
    assert result.waiting == {"Pipeline.Error.OverflowError": 1}
    assert result.unfinished
    assert lake.run(NARROW).inaccessible == result.inaccessible
    assert [s.key for s in untried(lake.s3, LakeRoot("lake"), "bigint", NOW).objects] == [denied]


def test_a_run_that_can_read_nothing_fails(lake: Lake, monkeypatch: pytest.MonkeyPatch) -> None:
    def failing(*_: Any) -> Any:
        raise refused("SlowDown", 503)

    monkeypatch.setattr(redelivery_run, "redeliver", failing)
    monkeypatch.setattr(redelivery_run, "MAX_ERRORS", 3)
    for number in range(5):
        lake.fail(str(number), 1)
    with pytest.raises(RedeliveryError, match="4 error objects cannot be read, the last is errors"):
        lake.run(NARROW)


def test_a_replay_into_an_old_folder_is_found(lake: Lake) -> None:
    for day in ("2026-01-01", "2026-01-02", "2026-01-03"):
        lake.fail("x", "x", day)
    lake.run(NARROW)
    late = lake.fail("late", 1, "2026-01-02")
    found = [untried(lake.s3, LakeRoot("lake"), "bigint", NOW + 60 * minute) for minute in range(3)]
    assert sorted(folder for each in found for folder in each.rechecked) == [f"{KIND}2026-01-02/"]
    lake.run(NARROW)
    assert late in lake.errors()
    lake.run(NARROW, NOW, f"{KIND}2026-01-02/", "errors/never-heard-of/")
    assert late not in lake.errors()


@pytest.mark.parametrize("hopeless", [0, 1])
def test_requests_of_a_tick_and_of_a_run_do_not_grow_with_age(lake: Lake, hopeless: int) -> None:
    counts: dict[int, Counter[str]] = {}
    for days in (20, 300):
        for number in range(days * hopeless):
            moment = datetime.fromtimestamp(NOW - 86_400 * (number + 2), tz=timezone.utc)
            lake.fail("x", "x", f"{moment:%Y-%m-%d}")
        while lake.run(NARROW).unfinished:
            pass
        lake.run(NARROW)
        counts[days] = Counter(request.split()[0] for request in lake.requests)
        lake.requests.clear()
        untried(lake.s3, LakeRoot("lake"), "bigint", NOW)
        counts[days].update(request.split()[0] for request in lake.requests)
    assert counts[20] == counts[300]
    assert counts[20].total() <= 10


def test_newest_folders_come_first(lake: Lake) -> None:
    for day in ("2026-05-28", "2025-12-31", "2026-05-27", "2026-01-01"):
        lake.fail("x", "x", day)
    lake.bucket.put("errors/undeclared-attributes/2026-03-01/x", b"x")
    lake.bucket.put("errors/other/x", b"x")
    folders = error_folders(lake.s3, LakeRoot("lake"))
    assert [folder.removeprefix("errors/") for folder in folders] == [
        "other/",
        "format-conversion-failed/2026-05-28/",
        "format-conversion-failed/2026-05-27/",
        "undeclared-attributes/2026-03-01/",
        "format-conversion-failed/2026-01-01/",
        "format-conversion-failed/2025-12-31/",
    ]
    chosen = folders_to_visit(folders, {folders[4]}, NOW)
    assert chosen.recent == folders[:3]
    assert chosen.unsettled == [folders[3], folders[5]]
    assert chosen.rechecked == [folders[4]]


def test_two_runs_lose_none_of_each_others_attempts(lake: Lake) -> None:
    lake.fail("a", "x")
    raced = Lake(lake.bucket.folder)
    raced.bucket = lake.bucket
    done: list[int] = []

    def second(request: str) -> None:
        if request.startswith("put pipeline-state/redelivery-attempts/errors") and not done:
            done.append(1)
            raced.s3 = InterleavedS3(lake.bucket)
            raced.fail("b", "y")
            raced.run(NARROW)

    lake.s3 = InterleavedS3(lake.bucket, second)
    lake.run(NARROW)
    assert done
    assert not untried(lake.s3, LakeRoot("lake"), "bigint", NOW)


def test_attempts_are_deleted_with_their_error_objects(lake: Lake) -> None:
    keys = [lake.fail("a", "x", "2026-05-28"), lake.fail("b", "x", "2026-01-01")]
    lake.run(NARROW)
    stored = {key for key in lake.bucket.bodies if key.startswith(ATTEMPTS_PREFIX)}
    del lake.bucket.bodies[keys[1]]
    lake.run(NARROW)
    left = {key for key in lake.bucket.bodies if key.startswith(ATTEMPTS_PREFIX)}
    assert [key for key in stored - left if "2026-01-01" in key]
    assert [key for key in left if "2026-05-28" in key]
    assert len(left) == len(stored) - 1
