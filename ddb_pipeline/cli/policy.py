"""``ddb-pipeline policy``: the IAM policy of Dagster's own role."""

import json

import click

from ddb_pipeline.adoption.owners import owner_policies
from ddb_pipeline.adoption.policy import (
    LONGEST_POLICY,
    POLICIES_OF_A_ROLE,
    compact,
    dagster_statements,
    documents,
    template,
)
from ddb_pipeline.config.settings import load_settings
from ddb_pipeline.resources.cloud import CloudResource


@click.command("policy")
@click.argument("pipeline", required=False)
@click.option(
    "--compact",
    "is_compact",
    is_flag=True,
    help="One pattern for all resources of a kind: shorter, and allows more.",
)
@click.option(
    "--template",
    "as_template",
    is_flag=True,
    help="Print a CloudFormation template that makes the policy; its outputs are the ARNs.",
)
@click.option("--account", default="", help="The account's id. Default: the caller's.")
@click.option(
    "--owners",
    is_flag=True,
    help="Print what the owners of catalogs and tables of other accounts allow, by ARN.",
)
def policy(
    pipeline: str | None, is_compact: bool, as_template: bool, account: str, owners: bool
) -> None:
    """Print the IAM policy that Dagster's role needs.

    It follows from the configuration: all that assets, sensors and jobs of the pipelines call, or
    of one PIPELINE, and nothing else. A policy that is longer than IAM allows is printed as a JSON
    array of several.
    """
    settings = load_settings()
    chosen = [settings.pipeline(pipeline)] if pipeline else list(settings.pipelines)
    account = account or caller_account(CloudResource.of(settings, deploys=False))
    if owners:
        click.echo(json.dumps(owner_policies(chosen, settings.region, account), indent=2))
        return
    statements = dagster_statements(chosen, settings.region, account)
    found = documents(compact(statements) if is_compact else statements)
    if len(found) > POLICIES_OF_A_ROLE and not is_compact:
        click.echo(
            f"{len(found)} policies of {LONGEST_POLICY:,} characters; a role takes "
            f"{POLICIES_OF_A_ROLE}. Give --compact.",
            err=True,
        )
    whole = template(found) if as_template else found[0] if len(found) == 1 else found
    click.echo(json.dumps(whole, indent=2))


def caller_account(cloud: CloudResource) -> str:
    """The id of the account whose credentials are used."""
    return str(cloud.client("sts").get_caller_identity()["Account"])
