"""Net changes of exports on their way into the change log."""

import json
from pathlib import Path
from typing import Any

import pytest

from ddb_pipeline.dynamodb.stream import change_document
from ddb_pipeline.export.layout import ItemChange
from ddb_pipeline.firehose.error_objects import read_error_object
from ddb_pipeline.lake import healed_changes
from ddb_pipeline.lake.healed_changes import HealedChanges, event_id, healed_record
from ddb_pipeline.lake.root import LakeRoot
from ddb_pipeline_tests.support.interleaved_s3 import InterleavedS3, MemoryBucket

KEYS = {"id": {"S": "a"}}
NEW, OLD = {**KEYS, "n": {"N": "2"}}, {**KEYS, "n": {"N": "1"}}
MICROS = 1_780_000_000_123_456


@pytest.mark.parametrize(
    ("new", "old", "name"),
    [(NEW, None, "INSERT"), (NEW, OLD, "MODIFY"), (None, OLD, "REMOVE"), (None, None, "REMOVE")],
)
def test_a_change_has_the_name_of_one_change_with_its_result(new: Any, old: Any, name: str) -> None:
    record = healed_record(ItemChange(KEYS, new, old, MICROS), "t")
    document = json.loads(change_document(record) or b"")
    assert document["ddb_event_name"] == name
    assert document["ddb_sequence_number"] is None
    assert document["ddb_event_time"] == MICROS // 1000
    assert document["ddb_keys"] == '{"id":"a"}'
    assert document.get("n") == (2 if new else None)


def test_event_ids_follow_from_key_and_time() -> None:
    two = {"b": {"N": "1"}, "a": {"S": "x"}}
    assert event_id(two, 1) == event_id(dict(reversed(two.items())), 1)
    ids = {event_id(KEYS, 1), event_id(KEYS, 2), event_id({"id": {"N": "a"}}, 1), event_id(two, 1)}
    assert len(ids) == 4
    assert all(each.startswith("healed-") for each in ids)


def test_objects_hold_one_hour_each_and_are_overwritten_by_a_repetition(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(healed_changes, "MAX_CHANGES", 10)
    monkeypatch.setattr(healed_changes, "MAX_PENDING", 25)
    bucket = MemoryBucket(tmp_path)
    s3: Any = InterleavedS3(bucket)
    for _ in range(2):
        healed = HealedChanges(s3, LakeRoot("lake"))
        for number in range(60):
            micros = MICROS + number * 7 * 60 * 1_000_000
            record = healed_record(ItemChange(KEYS, NEW, None, micros), "t")
            record = record._replace(event_id=event_id(KEYS, micros))
            healed.add(record, json.dumps({"ddb_event_id": record.event_id}).encode())
        healed.flush()
        assert healed.changes == 60
        assert healed.objects == len(bucket.bodies)
    records = [
        record for body in bucket.bodies.values() for record in read_error_object(body).records
    ]
    assert len(records) == 60
    assert all(key.startswith("errors/healed-changes/2026-05-2") for key in bucket.bodies)
    for body in bucket.bodies.values():
        found = read_error_object(body).records
        assert len({(r.arrival_timestamp or 0) // 3_600_000 for r in found}) == 1
