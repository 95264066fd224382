"""Pipelines that share a bucket, a database or the names of catalog tables."""

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ddb_pipeline.config.pipeline import PipelineConfig
from ddb_pipeline.config.settings import Settings
from ddb_pipeline.config.sharing import lake_folders, sharing_problems

USES = {"bucket": "lake-of-all", "existing_bucket": True}


def pipelines(*options: dict[str, Any]) -> list[PipelineConfig]:
    return [
        PipelineConfig.model_validate({"name": f"logs_{number}", **given})
        for number, given in enumerate(options)
    ]


@pytest.mark.parametrize(
    ("first", "second", "problem"),
    [
        ({}, {}, ""),
        (USES, USES, "would both use"),
        ({**USES, "lake_prefix": "a"}, {**USES, "lake_prefix": "b"}, ""),
        ({**USES, "lake_prefix": "a"}, {**USES, "lake_prefix": "a/"}, "would both use"),
        (USES, {**USES, "lake_prefix": "a"}, ""),
        (USES, {**USES, "lake_prefix": "stream"}, "would both use stream/"),
        (USES, {**USES, "lake_prefix": "exports/a"}, "would both use exports/a/"),
        ({**USES, "lake_prefix": "a"}, {**USES, "lake_prefix": "a/b"}, ""),
        (
            {"bucket": "lake-of-all", "lake_prefix": "a"},
            {"bucket": "lake-of-all", "lake_prefix": "b"},
            "set existing_bucket = true for all but one",
        ),
        ({"bucket": "lake-of-all", "lake_prefix": "a"}, {**USES, "lake_prefix": "b"}, ""),
        ({"database": "all"}, {"database": "all"}, "set existing_database = true for all but one"),
        ({"database": "all"}, {"database": "all", "existing_database": True}, ""),
        (
            {"database": "all", "dynamodb_table": "orders"},
            {"database": "all", "existing_database": True, "dynamodb_table": "orders_lake"},
            "have the same catalog table, 'all.orders_lake'",
        ),
    ],
)
def test_two_pipelines(first: dict[str, Any], second: dict[str, Any], problem: str) -> None:
    found = list(sharing_problems(pipelines(first, second)))
    assert any(problem in each for each in found) if problem else not found


SAME = {
    "stack": "all",
    "crawler": "all",
    "change_queue": "all",
    "delivery_stream": "all",
    "database": "all",
    "dynamodb_table": "all",
}
"""The names of resources that each region has for itself."""
HERE, THERE = {"region": "eu-west-1"}, {"region": "us-east-1"}


@pytest.mark.parametrize(
    ("first", "second", "problem"),
    [
        ({**SAME, **HERE}, {**SAME, **THERE}, ""),
        ({**SAME, **HERE}, {**SAME, **HERE}, "have the same stack"),
        ({**USES, **HERE}, {**USES, **THERE}, "would both use"),
        (
            {"bucket": "lake-of-all", "lake_prefix": "a", **HERE},
            {"bucket": "lake-of-all", "lake_prefix": "b", **THERE},
            "set existing_bucket = true for all but one",
        ),
        ({"name": "logs", **HERE}, {"name": "logs", **THERE}, "'logs' is given twice"),
        (
            {**USES, "lake_prefix": "a", **HERE},
            {**USES, "lake_prefix": "b", **THERE},
            "are in eu-west-1 and us-east-1 and have the same bucket, 'lake-of-all'",
        ),
    ],
)
def test_two_pipelines_in_regions(
    first: dict[str, Any], second: dict[str, Any], problem: str
) -> None:
    found = list(sharing_problems(pipelines(first, second)))
    assert any(problem in each for each in found) if problem else not found


@pytest.mark.parametrize(
    ("pipeline", "problem"),
    [
        ({}, ""),
        ({"region": "eu-west-1"}, ""),
        ({"region": "us-east-1"}, "logs is in us-east-1, and lake 'company', whose stack it uses"),
        ({"region": "us-east-1", "bucket": "logs-lake"}, ""),
    ],
)
def test_the_pipelines_of_a_lake_are_in_its_region(pipeline: dict[str, Any], problem: str) -> None:
    data = {
        "region": "eu-west-1",
        "lake": {"name": "company", "bucket": "company-data"},
        "pipelines": [{"name": "logs", **pipeline}],
    }
    if problem:
        with pytest.raises(ValueError, match=problem):
            Settings.model_validate(data)
    else:
        assert Settings.model_validate(data).pipelines[0].region


@pytest.mark.parametrize(
    ("given", "region"), [({}, "eu-west-1"), ({"region": "ap-south-1"}, "ap-south-1")]
)
def test_a_pipelines_region_is_by_default_that_of_the_settings(
    given: dict[str, Any], region: str
) -> None:
    data = {"region": "eu-west-1", "pipelines": [{"name": "logs", **given}]}
    (pipeline,) = Settings.model_validate(data).pipelines
    assert pipeline.region == region


def test_what_is_no_region_is_refused() -> None:
    with pytest.raises(ValueError, match="region"):
        pipelines({"region": "eu central"})


FOLDERS = st.lists(st.sampled_from(["a", "b", "stream", "exports", "errors"]), max_size=3)


@given(st.lists(FOLDERS, min_size=2, max_size=4), st.sampled_from(["exports", "a", "a/b"]))
def test_accepted_lakes_never_see_each_others_objects(
    prefixes: list[list[str]], export_prefix: str
) -> None:
    found = pipelines(
        *({**USES, "lake_prefix": "/".join(p), "export_prefix": export_prefix} for p in prefixes)
    )
    accepted = not any("would both use" in each for each in sharing_problems(found))
    mixed = any(
        one.startswith(other)
        for owner in found
        for another in found
        if owner is not another
        for one in lake_folders(owner)
        for other in lake_folders(another)
    )
    assert accepted is not mixed


@pytest.mark.parametrize("prefix", ["a b", "a//b", "../a", "a/./b", "a/!{x}", "*", "é", "x" * 201])
def test_prefixes_with_a_meaning_elsewhere_are_refused(prefix: str) -> None:
    with pytest.raises(ValueError, match="prefix"):
        pipelines({"lake_prefix": prefix})


def test_a_prefix_has_no_slash_around_it() -> None:
    (pipeline,) = pipelines({"lake_prefix": "/sales/orders/", "export_prefix": "/exports/"})
    assert pipeline.lake.prefix == "sales/orders/"
    assert pipeline.bucket_export_prefix == "sales/orders/exports"
