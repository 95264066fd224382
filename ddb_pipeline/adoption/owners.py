"""Resource-based policies that owners of shared catalogs and tables add for a pipeline's account.

Identity-based policies are not enough between accounts: the owner of the resource allows it, too
(AWS Glue developer guide, "Granting cross-account access"; Amazon DynamoDB developer guide,
"Cross-account access with resource-based policies").
"""

from collections.abc import Iterable, Sequence
from dataclasses import replace
from typing import Any

from ddb_pipeline.adoption.policy import POLICY_VERSION, Arns, Statement, dagster_statements
from ddb_pipeline.config.names import shared_table_arn
from ddb_pipeline.config.pipeline import PipelineConfig

STREAM = "/stream/"


def owner_policies(
    pipelines: Sequence[PipelineConfig], region: str, account: str
) -> dict[str, dict[str, Any]]:
    """The policies, by the ARN of the catalog, table or stream that gets them.

    They allow the account what Dagster's role needs, which includes what Firehose and the streaming
    function do; IAM of the account decides which of its roles may.

    Args:
        pipelines: the pipelines.
        region: the region of pipelines that name none.
        account: the account of the pipelines' stacks.
    """
    found: dict[str, list[Statement]] = {}
    for each in pipelines:
        statements = dagster_statements([each], region, account)
        if each.catalog_id:
            arns = Arns(each.region or region, each.catalog_id)
            found.setdefault(arns.of("glue", "catalog"), []).extend(_of(statements, ":glue:"))
        if each.table_account:
            table = shared_table_arn(each)
            stream = each.stream_arn or f"{table}{STREAM}*"
            of_stream = _of(statements, f"{table}{STREAM}")
            found[table] = [one for one in _of(statements, table) if one not in of_stream]
            found[stream] = [replace(one, resources=(stream,)) for one in of_stream]
    return {arn: _policy(statements, account, arn) for arn, statements in found.items()}


def _of(statements: Iterable[Statement], part: str) -> list[Statement]:
    return [each for each in statements if part in each.resources[0]]


def _policy(statements: Iterable[Statement], account: str, arn: str) -> dict[str, Any]:
    partition = arn.split(":")[1]
    principal = {"AWS": f"arn:{partition}:iam::{account}:root"}
    return {
        "Version": POLICY_VERSION,
        "Statement": [
            {
                "Effect": "Allow",
                "Principal": principal,
                "Action": list(each.actions),
                "Resource": list(each.resources),
            }
            for each in statements
        ],
    }
