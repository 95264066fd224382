"""Many stacks: their order, their parameters, and a deployment that was interrupted."""

from contextlib import nullcontext
from dataclasses import replace
from typing import Any

import click
import pytest
from botocore.exceptions import ClientError

from ddb_pipeline.cli.deploy import require_code_bucket_in_each
from ddb_pipeline.config.settings import Settings
from ddb_pipeline.deploy.bundle import Bundle
from ddb_pipeline.deploy.estate import (
    Account,
    Outcome,
    Planned,
    deploy_stacks,
    remove_stacks,
    usable_stack,
    waves,
)
from ddb_pipeline.deploy.parameters import Stack
from ddb_pipeline.deploy.stack import DeployError

CODES = {name: Bundle(name, b"", "0" * 64) for name in ("stream_to_firehose", "fix_schema")}


class Answers:
    """CloudFormation and Glue, as they answer while stacks are in states that no emulator shows.

    Attributes:
        states: the states of a stack, one for each time that it is described.
        calls: what was called, with the stack.
    """

    def __init__(self, states: dict[str, list[str]], refused: str = "") -> None:
        self.states = states
        self.refused = refused
        self.calls: list[tuple[str, str]] = []

    def describe_stacks(self, StackName: str) -> Any:
        states = self.states.get(StackName, [])
        state = states.pop(0) if len(states) > 1 else (states or ["DELETE_COMPLETE"])[0]
        return {"Stacks": [{"StackStatus": state}]}

    def delete_stack(self, StackName: str) -> None:
        self.calls.append(("delete", StackName))
        self.states[StackName] = ["DELETE_COMPLETE"]

    def create_change_set(self, StackName: str, **_: Any) -> None:
        self.calls.append(("change set", StackName))
        if StackName == self.refused:
            raise DeployError("refused")

    def describe_change_set(self, **_: Any) -> Any:
        return {"Changes": []}

    def execute_change_set(self, StackName: str, **_: Any) -> None:
        self.calls.append(("execute", StackName))

    def get_waiter(self, name: str) -> "Answers":
        return self

    def wait(self, **_: Any) -> None:
        """Everything ends at once."""


def account(answers: Answers) -> Account:
    client: Any = answers
    return Account(client, client, client, client, "url", delay_seconds=0)


def plan(*names: str) -> list[Planned]:
    return [Planned(Stack(name, {"Part": "table"}, {})) for name in names]


def planned_names(data: dict[str, Any], *chosen: str) -> list[list[str]]:
    settings = Settings.model_validate(data)
    pipelines = [each for each in settings.pipelines if not chosen or each.name in chosen]
    found = waves(settings.lake, pipelines, settings.pipelines, "code", CODES)
    return [[each.stack.name for each in wave] for wave in found]


def test_what_others_use_comes_first() -> None:
    lake = {"lake": {"name": "company", "bucket": "company-data"}}
    three = [{"name": "orders"}, {"name": "logs", "bucket": "logs-data"}, {"name": "users"}]
    assert planned_names({**lake, "pipelines": three}) == [["company"], ["orders", "logs", "users"]]
    assert planned_names({**lake, "pipelines": three}, "logs") == [["logs"]]
    uses = {"name": "users", "bucket": "orders-data", "existing_bucket": True, "lake_prefix": "u"}
    owner = {"name": "orders", "bucket": "orders-data"}
    assert planned_names({"pipelines": [uses, owner]}) == [["orders"], ["users"]]


def test_a_stack_of_a_lake_has_its_part_of_the_template() -> None:
    settings = Settings.model_validate(
        {
            "lake": {"name": "company", "bucket": "company-data"},
            "pipelines": [{"name": "orders"}, {"name": "logs", "bucket": "logs-data"}],
        }
    )
    [lake], [orders, logs] = waves(
        settings.lake, settings.pipelines, settings.pipelines, "code", CODES
    )
    parts = [each.stack.parameters["Part"] for each in (lake, orders, logs)]
    assert parts == ["lake", "table", "all"]
    topics = [each.stack.parameters["AlarmTopicName"] for each in (lake, orders, logs)]
    assert topics == ["company-alarms", "company-alarms", "logs-alarms"]


def test_each_stack_has_its_region_and_the_bucket_for_code_there() -> None:
    settings = Settings.model_validate(
        {
            "region": "eu-west-1",
            "lake": {"name": "company", "bucket": "company-data"},
            "pipelines": [
                {"name": "orders"},
                {"name": "logs", "bucket": "logs-data", "region": "us-east-1"},
            ],
        }
    )
    [lake], [orders, logs] = waves(
        settings.lake, settings.pipelines, settings.pipelines, "code-{region}", CODES
    )
    found = [(each.region, each.stack.parameters["CodeBucket"]) for each in (lake, orders, logs)]
    assert found == [
        ("eu-west-1", "code-eu-west-1"),
        ("eu-west-1", "code-eu-west-1"),
        ("us-east-1", "code-us-east-1"),
    ]


def test_a_stack_is_deployed_and_removed_in_its_region() -> None:
    here, there = Answers({}), Answers({})
    both = replace(account(here), regions={"us-east-1": account(there)})
    planned = Planned(Stack("logs", {"Part": "table"}, {}), region="us-east-1")
    deploy_stacks(both, [[planned]], parallel=1)
    there.states["logs"] = ["CREATE_COMPLETE"]
    remove_stacks(both, [("us-east-1", "logs")], parallel=1)
    assert here.calls == []
    assert there.calls == [("change set", "logs"), ("execute", "logs"), ("delete", "logs")]


@pytest.mark.parametrize(
    ("bucket", "regions", "refused"),
    [
        ("code", ["eu-west-1"], False),
        ("code", ["us-east-1", "eu-west-1"], True),
        ("code-{region}", ["us-east-1", "eu-west-1"], False),
    ],
)
def test_lambda_needs_a_bucket_for_code_in_each_region(
    bucket: str, regions: list[str], refused: bool
) -> None:
    message = r"code-\{region\}.*code-eu-west-1, code-us-east-1"
    with pytest.raises(click.UsageError, match=message) if refused else nullcontext():
        require_code_bucket_in_each(bucket, regions)


def test_a_failed_stack_stops_no_other_of_its_wave() -> None:
    answers = Answers({}, refused="b")
    results = deploy_stacks(account(answers), [plan("a", "b", "c"), plan("d")], parallel=2)
    outcomes = {each.stack: each.outcome for each in results}
    assert outcomes == {
        "a": Outcome.CREATED,
        "b": Outcome.FAILED,
        "c": Outcome.CREATED,
        "d": Outcome.NOT_BEGUN,
    }


def test_errors_of_aws_are_one_line_with_what_to_do() -> None:
    class Denied(Answers):
        """An account in which nothing is allowed."""

        def describe_stacks(self, StackName: str) -> Any:
            error = f"not allowed\non {StackName}"
            raise ClientError(
                {"Error": {"Code": "AccessDenied", "Message": error}}, "DescribeStacks"
            )

        def get_table(self, **_: Any) -> Any:
            raise ClientError({"Error": {"Code": "EntityNotFoundException"}}, "GetTable")

    expected = (
        "Stack 'a' cannot be described: AWS: DescribeStacks failed: AccessDenied: not allowed on "
        "a. Grant this permission to the caller's role."
    )
    [deployed] = deploy_stacks(account(Denied({})), [plan("a")], parallel=1)
    [removed] = remove_stacks(account(Denied({})), [("", "a")], parallel=1)
    assert (deployed.reason, removed.reason) == (expected, expected)


def test_an_interrupted_deployment_is_waited_for() -> None:
    answers = Answers({"a": ["UPDATE_IN_PROGRESS", "UPDATE_IN_PROGRESS", "UPDATE_COMPLETE"]})
    [result] = deploy_stacks(account(answers), [plan("a")], parallel=1)
    assert result.outcome is Outcome.CHANGED
    assert answers.calls == [("change set", "a"), ("execute", "a")]


@pytest.mark.parametrize("state", ["ROLLBACK_COMPLETE", "ROLLBACK_FAILED", "DELETE_FAILED"])
def test_a_stack_whose_creation_failed_is_created_again(state: str) -> None:
    answers = Answers({"a": [state]})
    [result] = deploy_stacks(account(answers), [plan("a")], parallel=1)
    assert result.outcome is Outcome.CREATED
    assert answers.calls == [("delete", "a"), ("change set", "a"), ("execute", "a")]


def test_a_dry_run_deletes_nothing() -> None:
    answers = Answers({"a": ["ROLLBACK_COMPLETE"]})
    assert usable_stack(account(answers), "a", dry_run=True) is None
    assert answers.calls == []


def test_a_stuck_stack_is_named_with_what_to_do() -> None:
    answers = Answers({"a": ["UPDATE_ROLLBACK_FAILED"]})
    [result] = deploy_stacks(account(answers), [plan("a")], parallel=1)
    assert "continue-update-rollback --stack-name a" in result.reason


def test_the_stream_of_an_existing_table_is_found_when_it_is_deployed() -> None:
    class Tables(Answers):
        """An account with one table, whose stream is on."""

        parameters: Any = None

        def describe_table(self, TableName: str) -> Any:
            stream = {"StreamEnabled": True, "StreamViewType": "NEW_AND_OLD_IMAGES"}
            arn = f"arn:{TableName}"
            return {"Table": {"StreamSpecification": stream, "LatestStreamArn": arn}}

        def get_table(self, **_: Any) -> Any:
            raise ClientError({"Error": {"Code": "EntityNotFoundException"}}, "GetTable")

        def head_bucket(self, **_: Any) -> Any:
            raise ClientError({"Error": {"Code": "404"}}, "HeadBucket")

        def get_database(self, **_: Any) -> Any:
            raise ClientError({"Error": {"Code": "EntityNotFoundException"}}, "GetDatabase")

        def create_change_set(self, StackName: str, **request: Any) -> None:
            given = {each["ParameterKey"]: each["ParameterValue"] for each in request["Parameters"]}
            self.parameters = given

    answers = Tables({})
    settings = Settings.model_validate(
        {"pipelines": [{"name": "orders", "dynamodb_table": "prod", "existing_table": True}]}
    )
    planned = waves(None, settings.pipelines, settings.pipelines, "code", CODES)
    [result] = deploy_stacks(account(answers), planned, parallel=1)
    assert result.outcome is Outcome.CREATED
    assert answers.parameters["ExistingStreamArn"] == "arn:prod"


@pytest.mark.parametrize(
    ("part", "existing", "setting"),
    [
        ("all", {"ExistingBucket"}, "existing_database"),
        ("all", {"ExistingBucket", "ExistingDatabase"}, "existing_table"),
        ("all", set(), "existing_bucket"),
        ("lake", set(), "existing_bucket"),
        ("table", {"ExistingStreamArn"}, ""),
        ("lake", {"ExistingBucket", "ExistingDatabase"}, ""),
    ],
)
def test_what_exists_is_not_created_but_named_with_its_setting(
    part: str, existing: set[str], setting: str
) -> None:
    class Everything(Answers):
        """An account in which every bucket, database and table exists."""

        def __getattr__(self, name: str) -> Any:
            return lambda **_: {}

    parameters = {
        "Part": part,
        "BucketName": "b",
        "DatabaseName": "d",
        "TableName": "t",
        "ExistingBucket": "true" if "ExistingBucket" in existing else "false",
        "ExistingDatabase": "true" if "ExistingDatabase" in existing else "false",
        "ExistingStreamArn": "arn" if "ExistingStreamArn" in existing else "",
    }
    planned = [[Planned(Stack("a", parameters, {}))]]
    [result] = deploy_stacks(account(Everything({})), planned, parallel=1)
    assert (f"Set {setting} = true" in result.reason) is bool(setting)
    assert result.outcome is (Outcome.FAILED if setting else Outcome.CREATED)
