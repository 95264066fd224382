"""What a current view has not merged yet: by its marks, and by the hours that it looks at."""

from typing import Any

from ddb_pipeline.lake.current.manifest import Manifest, Snapshot, TableIdentity
from ddb_pipeline.lake.current_sources import (
    HOURS,
    MICROS,
    REMEMBERED_HOURS,
    LakeChanges,
    hours_to_list,
    next_marks,
    unmerged,
)
from ddb_pipeline.lake.hour_generations import Generation, HourObjects, source_digest
from ddb_pipeline.lake.layout import DeliveryHour
from ddb_pipeline.lake.objects import StoredObject
from ddb_pipeline.parquet.parts import Part

HOUR = DeliveryHour("2026-05-28", "10")
NOW = HOUR.ends_at - 60


def stored(name: str) -> StoredObject:
    return StoredObject(f"{HOUR.prefix}{name}", 10, name, NOW)


def changes(found: Any) -> LakeChanges:
    return LakeChanges(TableIdentity(), (), (), None, found, {}, NOW, 7)


def test_objects_are_merged_once_also_when_they_are_compacted() -> None:
    raw = (stored("a"), stored("b"))
    found = unmerged(lambda hour: HourObjects(None, raw), [HOUR], {})
    assert [key for key, _ in found[HOUR].objects] == [each.key for each in raw]
    marks = next_marks({}, changes(found))
    assert unmerged(lambda hour: HourObjects(None, raw), [HOUR], marks) == {}
    late = (*raw, stored("late"))
    found = unmerged(lambda hour: HourObjects(None, late), [HOUR], marks)
    assert [key for key, _ in found[HOUR].objects] == [stored("late").key]
    sources = frozenset(map(source_digest, raw))
    part = Part("part-0.parquet", 2, 20)
    generation = Generation(1, "g", (part,), (), sources, 0, NOW)
    compacted = HourObjects(generation, (stored("late"),))
    found = unmerged(lambda hour: compacted, [HOUR], marks)
    assert [key for key, _ in found[HOUR].objects] == [stored("late").key]
    # A view that does not remember the hour reads the compacted files.
    found = unmerged(lambda hour: compacted, [HOUR], {})
    assert [key for key, _ in found[HOUR].objects] == [
        stored("late").key,
        *generation.keys(HOUR),
    ]


def test_marks_are_bounded() -> None:
    marks: Any = {}
    for number in range(60):
        hour = HOUR.plus(number)
        found = unmerged(lambda hour: HourObjects(None, (stored("a"),)), [hour], marks)
        marks = next_marks(marks, changes(found))
    assert len(marks[HOURS]) == REMEMBERED_HOURS


def test_hours_are_those_since_the_full_export_and_then_the_recent_ones() -> None:
    snapshot = Snapshot("e", int((NOW - 50 * 3600) * MICROS), 300 * MICROS)
    first = hours_to_list(Manifest(), NOW, [], snapshot)
    assert (first[0], first[-1]) == (HOUR.plus(-51), HOUR)
    state = Manifest(version=1, snapshot=snapshot)
    changed = [HOUR.plus(-40), HOUR.plus(-400)]
    later = hours_to_list(state, NOW, changed, None)
    assert later[0] == HOUR.plus(-40)
    assert later[1:] == list(HOUR.plus(1 - REMEMBERED_HOURS).until(HOUR.plus(1)))
