"""Hours in keys, and the slices of a listing."""

import pytest

from ddb_pipeline.lake.content import SLICE_OBJECTS, versions_between
from ddb_pipeline.lake.layout import DeliveryHour, hour_of_key
from ddb_pipeline.lake.root import LakeRoot
from ddb_pipeline_tests.support.counting_s3 import CountingS3

FIRST = DeliveryHour("2026-09-21", "00")


@pytest.mark.parametrize(
    ("key", "hour"),
    [
        ("stream/delivery_date=2026-09-21/delivery_hour=09/a", DeliveryHour("2026-09-21", "09")),
        ("stream/delivery_date=2026-13-45/delivery_hour=09/a", None),
        ("stream/delivery_date=2026-09-21/delivery_hour=24/a", None),
        ("stream/delivery_date=2026-09-21/delivery_hour=٠٩/a", None),
        ("errors/delivery_date=2026-09-21/delivery_hour=09/a", None),
        ("stream/x/stream/delivery_date=2026-09-21/delivery_hour=09/a", None),
        ("stream/delivery_date=2026-09-21/a", None),
    ],
)
def test_the_hour_in_a_key(key: str, hour: DeliveryHour | None) -> None:
    assert hour_of_key(key) == hour


def test_hours_follow_each_other_across_days() -> None:
    assert DeliveryHour("2026-12-31", "23").plus(2) == DeliveryHour("2027-01-01", "01")
    hours = list(DeliveryHour("2026-12-31", "22").until(DeliveryHour("2027-01-01", "01")))
    assert [hour.partition_key for hour in hours] == [
        "2026-12-31-22:00",
        "2026-12-31-23:00",
        "2027-01-01-00:00",
    ]
    assert list(FIRST.until(FIRST)) == []


def bucket(per_hour: int, hours: int) -> CountingS3:
    s3 = CountingS3()
    for hour in FIRST.until(FIRST.plus(hours)):
        for number in range(per_hour):
            s3.put(f"{hour.prefix}{number:06}")
    s3.put("stream/notes.txt")
    return s3


@pytest.mark.parametrize(("per_hour", "lists"), [(60, 1), (SLICE_OBJECTS, 2), (2500, 3)])
def test_a_slice_ends_with_a_whole_hour(per_hour: int, lists: int) -> None:
    s3 = bucket(per_hour, 40)
    end, position, found = FIRST.plus(40), FIRST, []
    while position < end:
        s3.requests.clear()
        versions, following = versions_between(s3, LakeRoot("lake"), position, end)  # type: ignore[arg-type]
        assert list(versions) == list(position.until(following)) != []
        assert s3.requests["ListObjectsV2"] <= lists + 1
        found += list(versions)
        position = following
    assert found == list(FIRST.until(end))


def test_a_slice_ends_before_hours_that_are_not_in_question() -> None:
    s3 = bucket(2, 40)
    versions, following = versions_between(s3, LakeRoot("lake"), FIRST, FIRST.plus(5))  # type: ignore[arg-type]
    assert (len(versions), following) == (5, FIRST.plus(5))
    versions, following = versions_between(s3, LakeRoot("lake"), FIRST.plus(50), FIRST.plus(60))  # type: ignore[arg-type]
    assert (versions, following) == ({}, FIRST.plus(60))
