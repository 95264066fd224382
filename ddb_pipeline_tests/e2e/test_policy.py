"""The policy that ``ddb-pipeline policy`` prints, against what Dagster does with AWS.

A fake of IAM is needed, because the embedded AWS allows everything: its log has each request, also
those of pyarrow, and the policy's statements are evaluated as IAM does.
"""

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import dagster as dg
import pytest

from ddb_pipeline.adoption.policy import Statement, compact, dagster_statements
from ddb_pipeline.config.settings import Settings
from ddb_pipeline_tests.support.recorded_actions import (
    ACCOUNT,
    REGION,
    Use,
    allows,
    is_allowed,
    uses,
)
from ddb_pipeline_tests.support.whole_flow import (
    DAGSTERS_KEY_ID,
    LOG,
    WholeFlow,
    client,
    recorded_aws,
)

pytestmark = [pytest.mark.e2e, pytest.mark.embedded, pytest.mark.timeout(1500)]

ITEMS = 60
ALLOWED_TO_FAIL = {
    Use("s3:ListBucket", "arn:aws:s3:::$extremelyunlikelytoexist$"): (
        "pyarrow asks for a bucket that cannot exist, to see which kind of server answers"
    ),
}
"""Requests that need no permission, because their failure changes nothing."""
NOT_USED_HERE = {
    ("ReadCatalog", "glue:BatchGetPartition"): (
        "assets of a project that load some partitions by the IO manager"
    ),
    ("Objects", "s3:AbortMultipartUpload"): "an upload that fails",
    ("ExportedObjects", "s3:PutObjectAcl"): "DynamoDB, with the permissions of the requester",
}
"""Actions that this flow does not need, and what does."""


def settings_of(home: Path, secret: str) -> Settings:
    """A pipeline for each way of reading a stream and of making a current view."""
    return Settings.model_validate(
        {
            "home": home,
            "pipelines": [
                {
                    "name": "search_logs",
                    "delivery_schema": "crawled",
                    "schema_fix": "dagster",
                    "current": "exports",
                    "current_every": "15m",
                    "buffer_seconds": 1,
                    "retention": {"snapshots_last": 1, "snapshots_monthly": 0},
                    "function_settings": {
                        "PSEUDONYMISE_ATTRIBUTES": "user",
                        "PSEUDONYM_KEY_SECRET_ARN": secret,
                    },
                },
                {
                    "name": "orders",
                    "stream_reader": "consumer",
                    "current": "stream",
                    "table_format": "iceberg",
                    "buffer_seconds": 1,
                },
            ],
        }
    )


@pytest.fixture(scope="module")
def settings(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Settings]:
    """The settings of pipelines that have been through everything."""
    home = tmp_path_factory.mktemp("policy")
    with (
        pytest.MonkeyPatch.context() as patch,
        recorded_aws(home, patch) as endpoint,
        dg.DagsterInstance.ephemeral() as instance,
    ):
        secrets = client(endpoint, "secretsmanager")
        key = secrets.create_secret(Name="pseudonyms", SecretString="k" * 32)["ARN"]
        settings = settings_of(home, key)
        WholeFlow(settings, endpoint, instance).run(ITEMS)
        yield settings


@pytest.fixture(scope="module")
def used(settings: Settings) -> set[Use]:
    """What Dagster's requests needed to be allowed."""
    lines = (settings.home / LOG).read_text("utf-8").splitlines()
    entries = (json.loads(line) for line in lines)
    own = (entry for entry in entries if entry["caller"] == DAGSTERS_KEY_ID)
    return {use for entry in own for use in uses(entry)} - set(ALLOWED_TO_FAIL)


@pytest.fixture(scope="module")
def statements(settings: Settings) -> list[Statement]:
    """The statements that ``ddb-pipeline policy`` prints."""
    return dagster_statements(settings.pipelines, REGION, ACCOUNT)


def documents(statements: list[Statement]) -> list[dict[str, Any]]:
    return [each.document() for each in statements]


def test_the_policy_allows_all_that_dagster_does(
    used: set[Use], statements: list[Statement]
) -> None:
    assert len({use.action for use in used}) > 30
    assert sorted(use for use in used if not is_allowed(use, documents(statements))) == []


def test_the_compact_policy_does_so_too(used: set[Use], statements: list[Statement]) -> None:
    policy = documents(compact(statements))
    assert sorted(use for use in used if not is_allowed(use, policy)) == []


def test_each_action_is_used(used: set[Use], statements: list[Statement]) -> None:
    # Each action of Glue needs the permission on the catalog besides that on its resource.
    used = {use for use in used if not use.resource.endswith(":catalog")}
    unused = {
        (each["Sid"], action)
        for each in documents(statements)
        for action in each["Action"]
        if not any(allows({**each, "Action": [action]}, use) for use in used)
    }
    assert unused == set(NOT_USED_HERE)


def test_without_any_statement_something_is_denied(
    used: set[Use], statements: list[Statement]
) -> None:
    policy = documents(statements)
    without = {each["Sid"]: [other for other in policy if other is not each] for each in policy}
    superfluous = {
        sid for sid, rest in without.items() if all(is_allowed(use, rest) for use in used)
    }
    assert superfluous == {"ExportedObjects"}
