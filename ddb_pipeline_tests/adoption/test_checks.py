"""What a check says about an account: a table of cases for each thing that is looked at."""

from dataclasses import replace
from typing import Any

import pytest
from botocore.exceptions import ClientError

from ddb_pipeline.adoption import checks
from ddb_pipeline.adoption.account import BucketFacts, DatabaseGrants, NotReadable, Usage
from ddb_pipeline.adoption.findings import Finding, Level
from ddb_pipeline.adoption.permissions import (
    Denied,
    SimulationError,
    context_entries,
    denied_statements,
    is_root,
    role_of,
)
from ddb_pipeline.adoption.policy import Statement
from ddb_pipeline.config.pipeline import PipelineConfig
from ddb_pipeline_tests.adoption.test_proposal import FACTS
from ddb_pipeline_tests.support.other_accounts import OF_CATALOG

ORDERS = PipelineConfig(
    name="orders",
    dynamodb_table="prod-orders",
    bucket="lake",
    stream_arn=FACTS.stream_arn,
    lake_prefix="sales",
)
BUCKET = BucketFacts("eu-central-1", "AES256", "", events=True, versioned=False)
GRANTS = DatabaseGrants(iam_decides=True, registered=())


def pipeline(**changed: Any) -> PipelineConfig:
    return PipelineConfig.model_validate({**ORDERS.model_dump(exclude_defaults=True), **changed})


def worst(findings: Any) -> tuple[Level, str, str]:
    """The worst finding, with its text and fix in one."""
    order = list(Level)
    found: Finding = min(findings, key=lambda each: order.index(each.level))
    return found.level, found.subject, f"{found.text} {found.fix}"


@pytest.mark.parametrize(
    ("config", "table", "level", "said"),
    [
        ({}, {}, Level.OK, "1,200 items"),
        ({}, None, Level.ERROR, "does not exist in this account"),
        ({"stream_arn": ""}, None, Level.OK, "the stack creates it"),
        ({"stream_arn": ""}, {}, Level.ERROR, "existing_table = true"),
        ({"stream_arn": "", "existing_table": True}, {}, Level.OK, "1,200 items"),
        ({"stream_arn": "", "existing_table": True}, None, Level.ERROR, "does not exist"),
        ({}, {"stream_arn": "", "stream_view": ""}, Level.ERROR, "has no stream"),
        ({}, {"stream_view": "NEW_IMAGE"}, Level.ERROR, "enable-stream prod-orders --replace"),
        ({}, {"stream_arn": FACTS.stream_arn + "9"}, Level.ERROR, "was turned off and on"),
        ({}, {"recovery": False}, Level.ERROR, "PointInTimeRecoveryEnabled=true"),
        ({}, {"recovery": None}, Level.UNKNOWN, "may not be read"),
        ({"export_with": "scan"}, {"recovery": False}, Level.ERROR, "requests exports"),
        (
            {"export_with": "scan", "gap_policy": "report"},
            {"recovery": False},
            Level.OK,
            "1,200 items",
        ),
        ({}, {"kms_key": "arn:key"}, Level.WARNING, "kms:Decrypt"),
        ({}, {"functions": ("one", "two")}, Level.WARNING, "2 readers"),
        ({}, {"functions": ("one", "orders-stream-to-firehose")}, Level.OK, ""),
    ],
)
def test_tables(
    config: dict[str, Any], table: dict[str, Any] | None, level: Level, said: str
) -> None:
    facts = None if table is None else replace(FACTS, **table)
    found = worst(checks.table_findings(pipeline(**config), facts, deployed=False))
    assert found[0] is level
    assert said in found[2]


@pytest.mark.parametrize(
    ("config", "bucket", "deployed", "level", "said"),
    [
        ({"existing_bucket": True}, BUCKET, False, Level.OK, "AES256"),
        ({"existing_bucket": True}, None, False, Level.ERROR, "aws s3 mb s3://lake"),
        ({}, None, False, Level.OK, "the stack creates it"),
        ({}, None, True, Level.ERROR, "does not exist"),
        ({}, BUCKET, False, Level.ERROR, "existing_bucket = true"),
        ({}, BUCKET, True, Level.OK, "AES256"),
        ({}, NotReadable("403"), False, Level.ERROR, "another account"),
        ({}, replace(BUCKET, region="us-east-1"), True, Level.WARNING, "crosses regions"),
        ({}, replace(BUCKET, encryption="aws:kms"), True, Level.WARNING, "key aws/s3"),
        ({}, replace(BUCKET, encryption=""), True, Level.UNKNOWN, "may not be read"),
        ({}, replace(BUCKET, versioned=True), True, Level.WARNING, "noncurrent"),
        ({}, replace(BUCKET, events=False), True, Level.OK, ""),
    ],
)
def test_buckets(
    config: dict[str, Any], bucket: Any, deployed: bool, level: Level, said: str
) -> None:
    found = worst(
        checks.bucket_findings(pipeline(**config), bucket, "eu-central-1", deployed=deployed)
    )
    assert found[0] is level
    assert said in found[2]


@pytest.mark.parametrize(
    ("existing", "exists", "grants", "level", "said"),
    [
        (True, True, GRANTS, Level.OK, "orders exists"),
        (True, False, GRANTS, Level.ERROR, "aws glue create-database"),
        (False, True, GRANTS, Level.ERROR, "existing_database = true"),
        (False, False, GRANTS, Level.OK, "the stack creates it"),
        (False, NotReadable("denied"), GRANTS, Level.UNKNOWN, "denied"),
        (True, True, NotReadable("no"), Level.UNKNOWN, "no"),
        (True, True, DatabaseGrants(False, ()), Level.WARNING, "grant-permissions"),
        (True, True, DatabaseGrants(True, ("arn:aws:s3:::lake/sales",)), Level.WARNING, "LOCATION"),
        (True, True, DatabaseGrants(True, ("arn:aws:s3:::other",)), Level.OK, ""),
    ],
)
def test_databases(existing: bool, exists: Any, grants: Any, level: Level, said: str) -> None:
    config = pipeline(existing_database=existing)
    found = worst(checks.database_findings(config, exists=exists, deployed=False, grants=grants))
    assert found[0] is level
    assert said in found[2]


@pytest.mark.parametrize(
    ("exists", "level"), [(NotReadable("denied"), Level.UNKNOWN), (False, Level.ERROR)]
)
def test_the_owner_of_a_catalog_is_to_allow_it(exists: Any, level: Level) -> None:
    config = pipeline(**OF_CATALOG)
    grants = NotReadable("denied")
    found, _ = checks.database_findings(config, exists=exists, deployed=False, grants=grants)
    assert found.level is level
    assert "ddb-pipeline policy --owners" in found.fix


@pytest.mark.parametrize(
    ("usage", "new", "level"),
    [
        (Usage(10, 1000, default=False), 30, Level.OK),
        (Usage(780, 1000, default=True), 30, Level.WARNING),
        (Usage(980, 1000, default=True), 30, Level.ERROR),
        (Usage(1000, 1000, default=True), 0, Level.WARNING),
        (NotReadable("denied"), 30, Level.UNKNOWN),
    ],
)
def test_quotas(usage: Any, new: int, level: Level) -> None:
    (found,) = checks.quota_findings({"Glue crawlers": usage}, new)
    assert found.level is level


def test_versions_of_a_table() -> None:
    assert not list(checks.version_findings(ORDERS, {"orders.orders": 79_999}))
    (found,) = checks.version_findings(ORDERS, {"orders.orders": 80_000})
    assert "80,000" in found.text


class Simulator:
    """IAM's simulator, of which no emulator has paginated answers; each page has one result."""

    def __init__(self, decisions: dict[str, str]) -> None:
        self.decisions = decisions
        self.requests: list[Any] = []

    def get_paginator(self, operation: str) -> "Simulator":
        assert operation == "simulate_principal_policy"
        return self

    def paginate(self, **request: Any) -> Any:
        self.requests.append(request)
        for action in request["ActionNames"]:
            decision = self.decisions.get(action, "allowed")
            yield {"EvaluationResults": [{"EvalActionName": action, "EvalDecision": decision}]}


def test_what_is_denied_is_named_with_the_statement_to_add() -> None:
    statements = [
        Statement("Queues", ("sqs:A", "sqs:B"), ("arn:q1", "arn:q2")),
        Statement("Crawl", ("glue:C",), ("arn:c",)),
        Statement("Pass", ("iam:PassRole",), ("arn:r",), '{"StringEquals": {"k": "v"}}'),
    ]
    simulator = Simulator({"sqs:B": "implicitDeny", "iam:PassRole": "explicitDeny"})
    denied = list(denied_statements(simulator, "arn:role", statements))
    assert denied == [
        Denied(Statement("Queues", ("sqs:B",), ("arn:q1", "arn:q2")), explicitly=False),
        Denied(statements[2], explicitly=True),
    ]
    assert simulator.requests[-1]["ContextEntries"] == context_entries(statements[2])
    first, second = checks.permission_findings(denied)
    assert first.text == "Missing: sqs:B."
    assert '"Action": ["sqs:B"], "Resource": ["arn:q1", "arn:q2"]' in first.fix
    assert "explicitly" in second.text


@pytest.mark.parametrize(
    ("arn", "role"),
    [
        ("arn:aws:sts::1:assumed-role/dagster/me", "arn:aws:iam::1:role/dagster"),
        ("arn:aws:iam::1:user/me", "arn:aws:iam::1:user/me"),
    ],
)
def test_the_principal_of_a_caller(arn: str, role: str) -> None:
    assert role_of(arn) == role
    assert not is_root(role)


class Denying(Simulator):
    """A simulator that the caller may not use."""

    def paginate(self, **request: Any) -> Any:
        error = {"Error": {"Code": "AccessDenied", "Message": "not allowed"}}
        raise ClientError(error, "SimulatePrincipalPolicy")  # type: ignore[arg-type]


def test_a_simulator_that_may_not_be_used() -> None:
    statements = [Statement("Crawl", ("glue:C",), ("arn:c",))]
    with pytest.raises(SimulationError, match="AccessDenied: not allowed"):
        list(denied_statements(Denying({}), "arn:role", statements))
