"""What the pages of catalog tables show."""

from datetime import datetime, timezone

from ddb_pipeline.defs.metadata import LONGEST_TIMELINE, LONGEST_TYPE_OF_A_LINE, timeline_text
from ddb_pipeline.glue.history import ColumnEvent, TableVersion
from ddb_pipeline.hive.type_changes import TypeChange


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
