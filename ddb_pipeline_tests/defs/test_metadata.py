"""What the pages of catalog tables show."""

from datetime import datetime, timezone

from ddb_pipeline.defs.metadata import (
    LONGEST_TIMELINE,
    LONGEST_TYPE_OF_A_LINE,
    crawled_changes,
    timeline_text,
)
from ddb_pipeline.glue.history import ColumnEvent, TableVersion
from ddb_pipeline.hive.type_changes import TypeChange
from ddb_pipeline.hive.types import Column


def version(number: int) -> TableVersion:
    return TableVersion(str(number), datetime(2026, 11, 26, 9, number, tzinfo=timezone.utc), ())


def test_the_timeline_has_a_list_for_each_version() -> None:
    events = [
        ColumnEvent(version(3), TypeChange("tags", "set<string>", "array<string>")),
        ColumnEvent(version(3), TypeChange("device.old", "int", "")),
        ColumnEvent(version(2), TypeChange("tags", "", "set<string>")),
        ColumnEvent(version(2), TypeChange("lines", "", f"array<struct<{'a' * 99}:int>>")),
    ]
    long = "array<struct<".ljust(LONGEST_TYPE_OF_A_LINE, "a")
    assert timeline_text(events).splitlines() == [
        "**2026-11-26 09:03:00 UTC, version 3**",
        "",
        "- `tags`: `set<string>` → `array<string>`",
        "- `device.old`: removed, was `int`",
        "",
        "**2026-11-26 09:02:00 UTC, version 2**",
        "",
        f"- new: `tags` `set<string>`, `lines` `{long}…`",
    ]


def test_a_long_timeline_says_how_much_is_left() -> None:
    change = TypeChange("a", "int", "bigint")
    events = [ColumnEvent(version(0), change)] * (LONGEST_TIMELINE + 1500)
    text = timeline_text(events)
    assert text.count("→") == LONGEST_TIMELINE
    assert text.endswith("\n\n1,500 earlier changes")
    assert timeline_text([]) == "No version that is stored has changed a column."


def test_a_crawl_shows_the_fields_that_changed() -> None:
    before = [("id", "string"), ("device", "struct<a:int,b:set<string>>"), ("old", "date")]
    after = [("id", "string"), ("device", "struct<a:int,b:array<string>>"), ("new", "double")]
    found = crawled_changes([Column(*each) for each in before], [Column(*each) for each in after])
    rows = str(found.value).split("\n")[2:]
    assert [[cell.strip() for cell in row.strip("|").split("|")] for row in rows] == [
        ["device.b", "`set<string>`", "`array<string>`"],
        ["old", "`date`", ""],
        ["new", "", "`double`"],
    ]
    assert crawled_changes((), ()).value == "The crawl changed nothing."
