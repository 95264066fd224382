"""The streaming function gives values the form of their columns, or makes them dead letters."""

import json
from typing import Any

import pytest

from ddb_pipeline.dynamodb.targets import Target
from ddb_pipeline.functions.changes import Change, decide, decode
from ddb_pipeline.functions.environment import SettingsError
from ddb_pipeline.hive.coverage import covered_fields
from ddb_pipeline.hive.names import DELIVERY_NAMES
from ddb_pipeline.hive.types import Column
from ddb_pipeline_tests.support.stream_events import rules_of, stream_record

TEXT, NUMBER = {"S": "x"}, {"N": "1"}


def changed(
    records: list[Any], columns: dict[str, str], decisions: dict[str, str], **environment: str
) -> list[Change]:
    delivery = dict.fromkeys((*DELIVERY_NAMES, "id"), "string")
    table = [Column(*column) for column in (delivery | columns).items()]
    rules = rules_of(TYPE_CONFLICTS=json.dumps(decisions), **environment)
    changes = decode(records)
    decide(changes, rules, Target(covered_fields(table), table))
    return changes


def members(change: Change) -> dict[str, Any]:
    """The members of a document that the item has."""
    found = json.loads(change.document or b"{}")
    return {n: v for n, v in found.items() if n == "ddb_old_image" or not n.startswith("ddb_")}


@pytest.mark.parametrize(
    ("decision", "columns", "value", "expected"),
    [
        ("text", {"v": "string"}, NUMBER, {"v": "1"}),
        ("text", {}, NUMBER, {"v": "1"}),
        ("split", {"v__n": "bigint", "v__s": "string"}, NUMBER, {"v__n": 1}),
        ("split", {"v__n": "bigint", "v__s": "string"}, {"N": "1.5"}, {"v__s": "1.5"}),
        ("split", {"v": "bigint"}, TEXT, {"v__s": "x"}),
        ("wider", {"v": "double"}, NUMBER, {"v": 1}),
        ("refuse", {"v": "bigint"}, NUMBER, {"v": 1}),
    ],
)
def test_documents(
    decision: str, columns: dict[str, str], value: Any, expected: dict[str, Any]
) -> None:
    (change,) = changed([stream_record(0, {"v": value})], columns, {"v": decision})
    found = members(change)
    found.pop("id", None)
    assert found == expected
    assert change.problem is None
    # What has no column yet is held until a crawl adds it.
    assert change.lacks_column is not (expected.keys() <= columns.keys())


@pytest.mark.parametrize(
    ("decision", "columns", "value"),
    [
        ("wider", {"v": "bigint"}, TEXT),
        ("wider", {}, TEXT),
        ("wider", {"v": "bigint"}, {"N": "1.5"}),
        ("refuse", {"v": "bigint"}, TEXT),
        ("refuse", {"v": "string"}, NUMBER),
        # The column is older than the decision.
        ("text", {"v": "bigint"}, TEXT),
        ("text", {"v": "bigint"}, {"N": "1.5"}),
    ],
)
def test_refused_values(decision: str, columns: dict[str, str], value: Any) -> None:
    records = [stream_record(0, {"v": value}), stream_record(1, {"v": {"NULL": True}})]
    refused, other = changed(records, columns, {"v": decision})
    assert refused.document is None
    assert refused.problem is not None
    assert refused.problem.code == "refused"
    assert "'v'" in refused.problem.reason
    assert f"(decided: {decision})" in refused.problem.reason
    assert other.document is not None


def test_the_old_image_does_not_hold_up_its_correction() -> None:
    record = stream_record(0, {"v": NUMBER}, name="MODIFY")
    record["dynamodb"]["OldImage"] = {"id": {"S": "a"}, "v": TEXT}
    columns = {"v": "bigint", "ddb_old_image": "struct<id:string,v:bigint>"}
    (change,) = changed([record], columns, {"v": "refuse"}, IMAGES="both")
    assert members(change)["v"] == 1
    assert members(change)["ddb_old_image"]["v"] == "x"


def test_a_decision_about_a_key() -> None:
    with pytest.raises(SettingsError, match="a key of table"):
        changed([stream_record(0)], {}, {"ID": "split"})


@pytest.mark.parametrize("text", ["{", "[]", '{"v": "number"}'])
def test_settings_that_are_not_valid(text: str) -> None:
    with pytest.raises(SettingsError, match="TYPE_CONFLICTS"):
        rules_of(TYPE_CONFLICTS=text)
