"""The report of a verification: which observations fit, what was not seen, what it costs."""

from typing import Any

import pytest

from ddb_pipeline.adoption.assumptions import (
    ASSUMPTIONS,
    estimated_cost,
    members,
    results,
)
from ddb_pipeline.cli.verify_run import code_bucket, temporary_pipeline
from ddb_pipeline.config.settings import Settings

AS_EXPECTED: dict[str, Any] = {
    "crawler_sets": "set<string>",
    "crawler_mixed": "string",
    "firehose_set_code": "DataFormatConversion.InvalidSchema",
    "firehose_set_message": "The schema is invalid. Error parsing the schema: ...",
    "nothing_lost": 0,
    "packed_documents": 2,
    "packed_bad_document": {"rows": 0, "failed": 1},
    "eventbridge_delay": 2.5,
    "incremental_export": {"items": 60, "written": 60},
    "shard_split": 2,
    "emr_job": "succeeded",
}
DIFFERENT: dict[str, Any] = {
    "crawler_sets": "no set",
    "crawler_mixed": "bigint",
    "firehose_set_code": "DataFormatConversion.MalformedData",
    "firehose_set_message": "no such text",
    "nothing_lost": 3,
    "packed_documents": 1,
    "packed_bad_document": {"rows": 1, "failed": 1},
    "eventbridge_delay": 61,
    "incremental_export": {"items": 59, "written": 60},
    "shard_split": 0,
    "emr_job": "failed",
}


def test_every_assumption_can_hold_and_can_differ() -> None:
    assert ASSUMPTIONS.keys() == AS_EXPECTED.keys() == DIFFERENT.keys()
    assert all(each.holds is True for each in results(AS_EXPECTED, {}))
    assert all(each.holds is False for each in results(DIFFERENT, {}))


def test_what_was_not_seen_says_why() -> None:
    found = members(results({"nothing_lost": 0}, {"emr_job": "not asked for: --emr"}))
    notes = {each["name"]: (each["holds"], each["note"]) for each in found}
    assert notes["nothing_lost"] == (True, "")
    assert notes["emr_job"] == (None, "not asked for: --emr")
    assert notes["crawler_sets"] == (None, "not reached")


def test_the_cost_grows_with_what_is_asked_for() -> None:
    plain = estimated_cost(shard_split=False, emr=False)
    assert 0.1 < plain < 2
    assert estimated_cost(shard_split=True, emr=True) > plain + 2


@pytest.mark.parametrize("emr", [False, True])
def test_all_names_of_a_verification_are_its_own(emr: bool) -> None:
    pipelines = [
        temporary_pipeline(name, "0" * 12, embedded=False, emr=emr)
        for name in ("ddb_verify_abcdef", "a" * 21 + "_abcdef")
    ]
    assert Settings.model_validate({"target": "aws", "pipelines": pipelines})
    for pipeline in pipelines:
        stem = pipeline.name.replace("_", "-")
        assert pipeline.bucket == f"{stem}-{'0' * 12}"
        assert len(code_bucket(pipeline)) <= 63
        assert pipeline.dynamodb_table == pipeline.stack == stem
        assert not pipeline.existing_database
        assert not pipeline.existing_bucket
