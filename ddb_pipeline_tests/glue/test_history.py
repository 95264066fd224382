"""The timeline of a catalog table: what each version changed."""

from datetime import datetime, timezone

from ddb_pipeline.glue.history import TableVersion, column_events
from ddb_pipeline.hive.type_changes import TypeChange
from ddb_pipeline.hive.types import Column

AT = datetime(2026, 11, 26, tzinfo=timezone.utc)


def version(number: int, **columns: str) -> TableVersion:
    return TableVersion(str(number), AT, tuple(Column(*each) for each in columns.items()))


def test_columns_added_changed_and_removed() -> None:
    newest_first = [
        version(3, id="string", tags="array<string>"),
        version(2, id="string", tags="set<string>", old="int"),
        version(1, id="string", old="int"),
    ]
    found = [(each.version.version_id, each.change) for each in column_events(newest_first)]
    assert found == [
        ("3", TypeChange("tags", "set<string>", "array<string>")),
        ("3", TypeChange("old", "int", "")),
        ("2", TypeChange("tags", "", "set<string>")),
    ]


def test_a_version_that_changes_no_column_is_left_out() -> None:
    assert column_events([version(2, id="string"), version(1, id="string")]) == []
