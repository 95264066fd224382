"""What retention decides: which generations, raw objects, snapshots and exports are not needed."""

from dataclasses import replace
from datetime import datetime, timezone

import pytest

from ddb_pipeline.lake.hour_generations import Generation
from ddb_pipeline.lake.layout import DeliveryHour
from ddb_pipeline.lake.objects import StoredObject
from ddb_pipeline.lake.retention import (
    RetentionPolicy,
    ViewNeeds,
    changes_are_removable,
    export_is_removable,
    kept_snapshots,
    raw_is_removable,
    stale_folders,
)

HOUR = DeliveryHour("2026-05-28", "10")
DAY = 86_400.0
NOW = HOUR.ends_at + 30 * DAY


def policy(raw: float = 7, exports: float = 30, last: int = 2, monthly: int = 2) -> RetentionPolicy:
    return RetentionPolicy(raw * DAY, DAY, exports * DAY, last, monthly)


def generation(age_days: float, folder: str = "000002-b") -> Generation:
    return Generation(2, folder, (), (), frozenset(), 0, NOW - age_days * DAY)


def stored(folder: str, age_days: float) -> StoredObject:
    key = f"{HOUR.compacted_prefix}{folder}"
    return StoredObject(key, 10, "etag", NOW - age_days * DAY)


@pytest.mark.parametrize(
    ("objects", "current_age", "read", "stale"),
    [
        # A replaced generation, long after the switch.
        ([("000001-a/part", 9), ("000002-b/part", 5)], 5, "000002-b", {"000001-a"}),
        # Readers may not have left it yet.
        ([("000001-a/part", 9), ("000002-b/part", 0.5)], 0.5, "000002-b", set()),
        # Readers are still sent to it, because a switch is missing.
        ([("000001-a/part", 9), ("000002-b/part", 5)], 5, "000001-a", set()),
        # An attempt that was killed, and one that is at work.
        ([("000002-b/part", 5), ("000003-c/part", 3)], 5, "000002-b", {"000003-c"}),
        ([("000002-b/part", 5), ("000003-c/x", 3), ("000003-c/y", 0.1)], 5, "000002-b", set()),
        # Objects beside the generations.
        ([("_current.json", 9), ("", 9), ("000002-b/part", 9)], 9, "000002-b", set()),
        # Nothing was ever committed.
        ([("000001-a/part", 9)], None, "", {"000001-a"}),
        ([("000001-a/part", 9)], None, "000001-a", set()),
    ],
)
def test_stale_generations(
    objects: list[tuple[str, float]], current_age: float | None, read: str, stale: set[str]
) -> None:
    current = None if current_age is None else generation(current_age)
    location = f"s3://bucket/{HOUR.compacted_prefix}{read}/" if read else ""
    found = stale_folders(
        HOUR, [stored(name, age) for name, age in objects], current, location, DAY, NOW
    )
    assert set(found) == stale


@pytest.mark.parametrize(
    ("compacted_days_ago", "needed_days_ago", "raw_days", "removable"),
    [
        (8, 1, 7, True),
        (6, 1, 7, False),
        (8, 1, 0, False),
        (8, 31, 7, False),
        (8, 29.9, 7, True),
    ],
)
def test_raw_objects(
    compacted_days_ago: float, needed_days_ago: float, raw_days: float, removable: bool
) -> None:
    current = generation(compacted_days_ago)
    needed = NOW - needed_days_ago * DAY
    assert raw_is_removable(HOUR, current, needed, policy(raw_days), NOW) is removable


def export_id(day: str) -> str:
    moment = datetime.fromisoformat(f"{day}T12:00+00:00")
    assert moment.tzinfo == timezone.utc
    return f"{int(moment.timestamp() * 1000):014d}-a1b2c3d4"


DAYS = ["2026-01-05", "2026-01-31", "2026-02-10", "2026-02-20", "2026-03-01", "2026-03-02"]


@pytest.mark.parametrize(
    ("last", "monthly", "kept"),
    [
        (2, 0, DAYS[4:]),
        (1, 2, [DAYS[3], DAYS[5]]),
        (1, 12, [DAYS[1], DAYS[3], DAYS[5]]),
        (4, 3, [DAYS[1], *DAYS[2:]]),
        (0, 0, DAYS),
        (9, 0, DAYS),
    ],
)
def test_snapshots_that_stay(last: int, monthly: int, kept: list[str]) -> None:
    ids = [export_id(day) for day in reversed(DAYS)]
    found = kept_snapshots(ids, policy(last=last, monthly=monthly))
    assert found == {export_id(day) for day in kept}


MERGED = ViewNeeds(merged_until=NOW - 10, merged=frozenset(("healed",)))


@pytest.mark.parametrize(
    ("export_id", "window_ago", "days_ago", "days", "view", "removable"),
    [
        ("e", 10, 31, 30, MERGED, True),
        ("e", 9, 31, 30, MERGED, False),
        ("healed", 9, 31, 30, MERGED, True),
        ("e", 10, 29, 30, MERGED, False),
        ("e", 10, 31, 0, MERGED, False),
        ("e", 10, 31, 30, replace(MERGED, base="full", rebuilt_from=NOW - 10), True),
        ("e", 10, 31, 30, replace(MERGED, base="full", rebuilt_from=NOW - 11), False),
        ("e", 10, 31, 30, replace(MERGED, rebuilt_from=NOW - 11), True),
        ("e", 10, 31, 30, ViewNeeds(), False),
    ],
)
def test_changes(
    export_id: str,
    window_ago: float,
    days_ago: float,
    days: float,
    view: ViewNeeds,
    removable: bool,
) -> None:
    configured = replace(policy(), changes_seconds=days * DAY)
    published = NOW - days_ago * DAY
    found = changes_are_removable(export_id, NOW - window_ago, published, view, configured, NOW)
    assert found is removable


@pytest.mark.parametrize("strange", ["backfill", "01767323045678", "٠" * 14 + "-a1"])
def test_a_snapshot_whose_id_has_no_time_stays(strange: str) -> None:
    ids = [strange, *map(export_id, DAYS)]
    assert kept_snapshots(ids, policy(last=1, monthly=0)) == {strange, export_id(DAYS[-1])}


@pytest.mark.parametrize(
    ("days_ago", "export_days", "removable"), [(31, 30, True), (29, 30, False), (999, 0, False)]
)
def test_exports(days_ago: float, export_days: float, removable: bool) -> None:
    assert export_is_removable(NOW - days_ago * DAY, policy(exports=export_days), NOW) is removable
