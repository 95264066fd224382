"""The manifest: its text, the versions it names, and the versions that can be deleted."""

from datetime import datetime, timedelta, timezone

import pytest

from ddb_pipeline.lake.hour_generations import CURRENT, Generation
from ddb_pipeline.parquet.parts import Part
from ddb_pipeline.spark.arguments import RelevanceError
from ddb_pipeline.spark.manifest import (
    GENERATION,
    HourEntry,
    Manifest,
    ScoresEntry,
    deletable_versions,
    digest_of,
    epoch_hour,
    files_by_hour,
    from_text,
    generation_files,
    new_version,
    to_text,
)
from ddb_pipeline.spark.storage import StoredFile

FULL = Manifest(
    configuration="abc",
    hours={"2026-11-24-10": HourEntry(source="s", keys="v1", pairs="v2", counts={"rows": 3})},
    scores=ScoresEntry(
        version="v3", digest="d", as_of="2026-11-24T11:00:00Z", rows=7, previous="v0"
    ),
)
HOUR = "s3://b/stream/delivery_date=2026-11-24/delivery_hour=10/"


def test_parsing_restores_a_manifest() -> None:
    assert from_text(to_text(FULL), "m") == FULL
    assert FULL.versions() == {"v0", "v1", "v2", "v3"}


def test_another_configuration_has_no_hours() -> None:
    assert FULL.for_configuration("abc") is FULL
    assert FULL.for_configuration("other") == Manifest("other", {}, FULL.scores)


@pytest.mark.parametrize("text", ["", "[]", '{"format": 1}', '{"format": 99}'])
def test_text_that_is_not_a_manifest_is_an_error(text: str) -> None:
    with pytest.raises(RelevanceError, match=r"s3://b/manifest\.json"):
        from_text(text, "s3://b/manifest.json")


def test_only_old_folders_that_are_not_in_use_are_deleted() -> None:
    now = datetime(2026, 11, 24, tzinfo=timezone.utc)
    old, young = (new_version(now - timedelta(hours=hours)) for hours in (30, 1))
    kept = new_version(now - timedelta(hours=40))
    assert deletable_versions([old, young, kept, "someone-elses"], {kept}, now) == [old]


def test_files_are_grouped_by_hour() -> None:
    inside, outside = StoredFile(f"{HOUR}a.parquet", 1, 1), StoredFile("s3://b/stream/x", 1, 1)
    assert files_by_hour([inside, outside]) == {"2026-11-24-10": [inside]}
    assert epoch_hour("1970-01-02-01") == 25


def test_the_digest_depends_on_the_files_and_not_on_their_order() -> None:
    files = [StoredFile(f"{HOUR}{name}", 5, 100) for name in ("a", "b")]
    replaced = [files[0], StoredFile(f"{HOUR}b", 5, 101)]
    assert digest_of(files) == digest_of(files[::-1])
    assert len({digest_of(files), digest_of(files[:1]), digest_of(replaced)}) == 3


def test_the_generation_that_is_read_is_the_one_that_compaction_commits() -> None:
    part = Part("part-0000.parquet", 1, 1)
    text = Generation(2, "000002-b", (part,), (), frozenset(), 0, 0.0).render().decode()
    old, new = (
        StoredFile(f"s3://b/h/{name}/part-0000.parquet", 1, 1) for name in ("000001-a", "000002-b")
    )
    assert generation_files([old, new], text, "uri") == [new]
    assert GENERATION == CURRENT
    with pytest.raises(RelevanceError, match=r"000002-b/part-0000\.parquet, which is not there"):
        generation_files([old], text, "uri")
    with pytest.raises(RelevanceError, match="names no generation"):
        generation_files([new], "[]", "uri")
