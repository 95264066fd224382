"""What a deployment of many stacks and a removal say."""

import pytest

from ddb_pipeline.cli.deploy_report import removal_text, result_json, result_text, summary_text
from ddb_pipeline.config.pipeline import PipelineConfig
from ddb_pipeline.deploy.estate import Outcome, StackResult
from ddb_pipeline.deploy.stack import ResourceChange

ADDED = ResourceChange("Add", "Crawler", "AWS::Glue::Crawler", "")
REPLACED = ResourceChange("Modify", "Table", "AWS::DynamoDB::Table", "True")
CREATED = StackResult("a", Outcome.CREATED, True, (ADDED, ADDED), {"Bucket": "lake"})
CHANGED = StackResult("b", Outcome.CHANGED, False, (ADDED, REPLACED))
UNCHANGED = StackResult("c", Outcome.UNCHANGED)
FAILED = StackResult("d", Outcome.FAILED, reason="Stack 'd' could not be deployed: no")
PLANNED = StackResult("e", Outcome.PLANNED, True, (ADDED,))


@pytest.mark.parametrize(
    ("result", "line"),
    [
        (CREATED, "a: created (+2 resources)"),
        (CHANGED, "b: changed (+1, ~1 resources)"),
        (UNCHANGED, "c: unchanged"),
        (FAILED, "d: failed: Stack 'd' could not be deployed: no"),
        (PLANNED, "e: would be created (+1 resources)"),
    ],
)
def test_a_stack_is_one_line(result: StackResult, line: str) -> None:
    assert result_text(result).splitlines()[0] == line


def test_a_replaced_resource_is_always_named() -> None:
    assert "~ Table" in result_text(CHANGED)
    assert "(REPLACED)" in result_text(CHANGED)
    assert len(result_text(CREATED).splitlines()) == 1
    assert "Bucket: lake" in result_text(CREATED, in_full=True)


def test_the_summary_counts_stacks_and_resources() -> None:
    text = summary_text([CREATED, CHANGED, UNCHANGED, FAILED])
    assert text.startswith("4 stack(s): 1 created, 1 changed, 1 unchanged, 1 failed.")
    assert "3 × + AWS::Glue::Crawler" in text
    assert "run the same command again" in text
    assert "again" not in summary_text([UNCHANGED])


def test_a_result_as_json() -> None:
    found = result_json(CHANGED)
    assert (found["stack"], found["outcome"]) == ("b", "changed")
    assert [change["replaced"] for change in found["changes"]] == [False, True]


def test_a_removal_says_what_brings_the_pipeline_back() -> None:
    own = removal_text(PipelineConfig(name="logs"))
    assert "set existing_table = true, existing_bucket = true, existing_database = true" in own
    uses = PipelineConfig(
        name="logs", existing_table=True, existing_bucket=True, existing_database=True
    )
    assert "deploy brings it back" in removal_text(uses)
