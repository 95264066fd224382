"""The manifest: what it refers to, what may be cleared, what is no manifest."""

from datetime import datetime, timedelta, timezone

import pytest

from ddb_pipeline.spark.arguments import RelevanceError
from ddb_pipeline.spark.manifest import (
    HourEntry,
    Manifest,
    ScoresEntry,
    by_hour,
    clearable,
    digest_of,
    epoch_hour,
    from_text,
    new_version,
    to_text,
)
from ddb_pipeline.spark.storage import StoredFile

FULL = Manifest(
    "abc",
    {"2026-11-24-10": HourEntry("s", "v1", "v2", "", {"rows": 3})},
    ScoresEntry("v3", "d", "2026-11-24T11:00:00Z", 7, "v0"),
)
HOUR = "s3://b/stream/delivery_date=2026-11-24/delivery_hour=10/"


def test_a_manifest_reads_back() -> None:
    assert from_text(to_text(FULL), "m") == FULL
    assert FULL.versions() == {"v0", "v1", "v2", "v3"}


def test_another_configuration_knows_no_hours() -> None:
    assert FULL.under("abc") is FULL
    assert FULL.under("other") == Manifest("other", {}, FULL.scores)


@pytest.mark.parametrize("text", ["", "[]", '{"format": 1}', '{"format": 99}'])
def test_what_is_no_manifest(text: str) -> None:
    with pytest.raises(RelevanceError, match=r"s3://b/manifest\.json"):
        from_text(text, "s3://b/manifest.json")


def test_only_old_folders_that_nothing_refers_to_are_cleared() -> None:
    now = datetime(2026, 11, 24, tzinfo=timezone.utc)
    old, young = (new_version(now - timedelta(hours=hours)) for hours in (30, 1))
    kept = new_version(now - timedelta(hours=40))
    assert clearable([old, young, kept, "someone-elses"], {kept}, now) == [old]


def test_files_by_hour() -> None:
    inside, outside = StoredFile(f"{HOUR}a.parquet", 1, 1), StoredFile("s3://b/stream/x", 1, 1)
    assert by_hour([inside, outside]) == {"2026-11-24-10": [inside]}
    assert epoch_hour("1970-01-02-01") == 25


def test_a_replaced_file_is_another_content() -> None:
    files = [StoredFile(f"{HOUR}{name}", 5, 100) for name in ("a", "b")]
    replaced = [files[0], StoredFile(f"{HOUR}b", 5, 101)]
    assert digest_of(files) == digest_of(files[::-1])
    assert len({digest_of(files), digest_of(files[:1]), digest_of(replaced)}) == 3
