"""The check ``nothing_lost``: what it expects of a change, and what it shows."""

import json
from typing import Any

import pytest

from ddb_pipeline.config.pipeline import DeliverySchema, PipelineConfig
from ddb_pipeline.defs import checks
from ddb_pipeline.dynamodb.stream import StreamRecord, read_record
from ddb_pipeline.functions.stream_settings import StreamSettings, read_settings
from ddb_pipeline.lake.change_identity import of_change
from ddb_pipeline.lake.identity_partitions import Expected
from ddb_pipeline.lake.reconcile import Reconciliation
from ddb_pipeline_tests.support.sensor_ticks import MockAccount

ENVIRONMENT = {
    "DELIVERY_STREAM": "s",
    "PSEUDONYMISE_ATTRIBUTES": "log_id",
    "PSEUDONYM_KEY": "k" * 32,
    "EVENT_NAMES": "INSERT,REMOVE",
}
MARKER = "somebody@example.org"


def record(name: str = "INSERT") -> StreamRecord:
    item = {"log_id": {"S": MARKER}}
    return read_record(
        {
            "eventID": "event-1",
            "eventName": name,
            "dynamodb": {
                "ApproximateCreationDateTime": 1_780_000_000,
                "Keys": item,
                "SequenceNumber": "1",
                ("OldImage" if name == "REMOVE" else "NewImage"): item,
            },
        }
    )


@pytest.fixture
def account(account_of: Any, monkeypatch: pytest.MonkeyPatch) -> MockAccount:
    """An account with a pipeline that delivers pseudonyms of the items' keys."""

    def settings(*_: Any) -> StreamSettings:
        return read_settings(ENVIRONMENT)

    monkeypatch.setattr(checks, "function_settings", settings)
    found: MockAccount = account_of(
        PipelineConfig(name="logs", delivery_schema=DeliverySchema.CRAWLED)
    )
    return found


def test_keys_are_compared_as_they_are_delivered(account: MockAccount) -> None:
    source = checks.source(account.cloud, account.pipeline)
    assert source.columns == ["log_id"]
    delivered = source.delivered(record())
    assert delivered is not None
    (key,) = of_change(delivered, source.columns) or ()
    assert len(key) == 64
    assert MARKER not in str(delivered)


def test_changes_that_the_settings_filter_out_are_not_expected(account: MockAccount) -> None:
    source = checks.source(account.cloud, account.pipeline)
    assert source.delivered(record("MODIFY")) is None
    delete = source.delivered(record("REMOVE"))
    assert delete is not None
    assert of_change(delete, source.columns) is None


def test_event_ids_need_no_pseudonyms(
    account: MockAccount, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delattr(checks, "delivery_rules")
    pipeline = account.pipeline.model_copy(update={"delivery_schema": DeliverySchema.LAKE})
    source = checks.source(account.cloud, pipeline)
    assert source.columns == ["ddb_event_id"]
    delivered = source.delivered(record())
    assert delivered is not None
    assert of_change(delivered, source.columns) == ("event-1",)


def test_the_metadata_name_changes_by_their_event_ids() -> None:
    missing = (Expected("digest", 2.0, "event-2"), Expected("digest", 1.0, "event-1"))
    found = Reconciliation(expected=5, rows=3, lost=2, missing=missing, gaps=["a reason"])
    metadata = checks.reconciliation_metadata(found)
    values = {name: value.value for name, value in metadata.items()}
    assert values["lost_events"] == ["event-1", "event-2"]
    assert values["not_reconciled"] == ["a reason"]
    assert (values["stream_records"], values["rows"], values["lost"]) == (5, 3, 2)
    assert json.dumps(values)
