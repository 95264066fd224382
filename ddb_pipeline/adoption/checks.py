"""Whether a pipeline's configuration fits what its account holds: pure decisions."""

import json
from collections.abc import Iterable, Mapping

from ddb_pipeline.adoption.account import BucketFacts, DatabaseGrants, NotReadable, Usage
from ddb_pipeline.adoption.findings import Finding, Level
from ddb_pipeline.adoption.permissions import Denied
from ddb_pipeline.adoption.policy import requests_exports
from ddb_pipeline.adoption.tables import NEW_AND_OLD_IMAGES, READERS_OF_A_STREAM, TableFacts
from ddb_pipeline.config.names import stream_function
from ddb_pipeline.config.pipeline import PipelineConfig

VERSIONS_OF_A_TABLE = 100_000
"""Default quota of the versions of a Glue table (AWS general reference, "AWS Glue quotas")."""
NEARLY = 0.8
"""The share of a quota from which a check warns."""
NEEDED = {"Glue crawlers": 1, "Firehose delivery streams": 1, "IAM roles": 4}
"""What a stack adds to the account; the roles are those of the template."""


def table_findings(
    pipeline: PipelineConfig, table: TableFacts | None, *, deployed: bool
) -> Iterable[Finding]:
    """What is to be known of the pipeline's table; None is a table that does not exist."""
    name = pipeline.dynamodb_table
    if table is None:
        if _exists_already(pipeline):
            text = f"{name} does not exist in this account and region."
            yield _error(pipeline, "table", text, "Correct dynamodb_table or the region.")
        else:
            yield _ok(pipeline, "table", f"{name} does not exist; the stack creates it.")
        return
    if not _exists_already(pipeline) and not deployed:
        text = f"{name} exists already, and the stack would create it."
        yield _error(pipeline, "table", text, "existing_table = true")
        return
    yield _ok(pipeline, "table", f"{name}: {table.items:,} items, {table.size_bytes:,} bytes.")
    yield from _stream_findings(pipeline, table)
    yield from _recovery_findings(pipeline, table)
    if table.kms_key:
        text = f"{name} is encrypted with {table.kms_key}."
        fix = "Let Dagster's role, the crawler's and the streaming function's use kms:Decrypt."
        yield Finding(Level.WARNING, pipeline.name, "table encryption", text, fix)


def _exists_already(pipeline: PipelineConfig) -> bool:
    """Whether the configuration says that the table is not the stack's."""
    return pipeline.existing_table or bool(pipeline.stream_arn)


def _stream_findings(pipeline: PipelineConfig, table: TableFacts) -> Iterable[Finding]:
    turn_on = f"ddb-pipeline enable-stream {table.name}"
    if not table.stream_arn:
        yield _error(pipeline, "stream", f"{table.name} has no stream.", turn_on)
        return
    if table.stream_view != NEW_AND_OLD_IMAGES:
        text = f"The stream's view is {table.stream_view}, not {NEW_AND_OLD_IMAGES}."
        yield _error(pipeline, "stream", text, f"{turn_on} --replace")
    if pipeline.stream_arn and pipeline.stream_arn != table.stream_arn:
        text = "stream_arn is not of the stream that is on now: it was turned off and on."
        fix = "Remove stream_arn and set existing_table = true; deploy then finds the stream."
        yield _error(pipeline, "stream", text, fix)
    elif table.stream_view == NEW_AND_OLD_IMAGES:
        yield _ok(pipeline, "stream", f"{NEW_AND_OLD_IMAGES}.")
    others = [each for each in table.functions or () if each != stream_function(pipeline)]
    if len(others) >= READERS_OF_A_STREAM:
        text = (
            f"{', '.join(others)} read the stream; DynamoDB allows {READERS_OF_A_STREAM} readers "
            "of a shard, and throttles more."
        )
        fix = "Let one of them read through another, or share a function."
        yield Finding(Level.WARNING, pipeline.name, "stream readers", text, fix)


def _recovery_findings(pipeline: PipelineConfig, table: TableFacts) -> Iterable[Finding]:
    subject = "point-in-time recovery"
    if table.recovery is None:
        yield Finding(Level.UNKNOWN, pipeline.name, subject, "It may not be read.")
    elif table.recovery:
        yield _ok(pipeline, subject, "On.")
    elif requests_exports(pipeline):
        fix = (
            f"aws dynamodb update-continuous-backups --table-name {table.name} "
            "--point-in-time-recovery-specification PointInTimeRecoveryEnabled=true\n"
            'or export_with = "scan" and gap_policy = "report"'
        )
        text = "Off; the configuration requests exports, which need it."
        yield _error(pipeline, subject, text, fix)
    else:
        yield _ok(pipeline, subject, "Off, and not needed.")


def bucket_findings(
    pipeline: PipelineConfig,
    bucket: BucketFacts | NotReadable | None,
    region: str,
    *,
    deployed: bool,
) -> Iterable[Finding]:
    """What is to be known of the lake's bucket; None is a bucket that does not exist."""
    name = pipeline.bucket
    if isinstance(bucket, NotReadable):
        text = f"{name} belongs to another account, or may not be listed: {bucket.reason}."
        fix = "Choose another name, or grant s3:ListBucket on it."
        yield _error(pipeline, "bucket", text, fix)
        return
    if bucket is None:
        if pipeline.existing_bucket or deployed:
            text = f"{name} does not exist."
            yield _error(pipeline, "bucket", text, f"aws s3 mb s3://{name} --region {region}")
        else:
            yield _ok(pipeline, "bucket", f"{name} does not exist; the stack creates it.")
        return
    if not pipeline.existing_bucket and not deployed:
        text = f"{name} exists already, and the stack would create it."
        yield _error(pipeline, "bucket", text, "existing_bucket = true")
    if bucket.region and bucket.region != region:
        text = (
            f"{name} is in {bucket.region}, the table in {region}: data crosses regions at a cost, "
            "and events of its objects do not arrive."
        )
        yield Finding(Level.WARNING, pipeline.name, "bucket region", text, "Use another bucket.")
    yield from _bucket_settings(pipeline, bucket)


def _bucket_settings(pipeline: PipelineConfig, bucket: BucketFacts) -> Iterable[Finding]:
    if bucket.encryption.startswith("aws:kms"):
        key = bucket.kms_key or "the account's key aws/s3"
        text = f"Objects are encrypted with {key}."
        fix = (
            "Let the roles of Firehose, the functions and Dagster use kms:Decrypt and "
            "kms:GenerateDataKey with it, in the key's policy too."
        )
        yield Finding(Level.WARNING, pipeline.name, "bucket encryption", text, fix)
    elif bucket.encryption:
        yield _ok(pipeline, "bucket encryption", f"{bucket.encryption}.")
    else:
        yield Finding(Level.UNKNOWN, pipeline.name, "bucket encryption", "It may not be read.")
    if bucket.events is False:
        text = "Its events are not sent to EventBridge yet; deploy turns them on."
        yield _ok(pipeline, "bucket events", text)
    if bucket.versioned:
        text = "Old versions of objects stay, also of those that vacuum deletes, and are paid for."
        fix = "Add a lifecycle rule that expires noncurrent versions."
        yield Finding(Level.WARNING, pipeline.name, "bucket versions", text, fix)


def database_findings(
    pipeline: PipelineConfig,
    *,
    exists: bool | NotReadable,
    deployed: bool,
    grants: DatabaseGrants | NotReadable,
) -> Iterable[Finding]:
    """What is to be known of the Glue database."""
    name = pipeline.database
    if isinstance(exists, NotReadable):
        owner = f"Account {pipeline.catalog_id} adds what ddb-pipeline policy --owners prints."
        fix = owner if pipeline.catalog_id else ""
        yield Finding(Level.UNKNOWN, pipeline.name, "database", exists.reason, fix)
    elif exists and not pipeline.existing_database and not deployed:
        text = f"{name} exists already, and the stack would create it."
        yield _error(pipeline, "database", text, "existing_database = true")
    elif not exists and pipeline.existing_database:
        fix = f"aws glue create-database --database-input Name={name}"
        if pipeline.catalog_id:
            fix = f"In account {pipeline.catalog_id}: {fix}, and ddb-pipeline policy --owners"
        yield _error(pipeline, "database", f"{name} does not exist.", fix)
    else:
        text = f"{name} exists." if exists else f"{name} does not exist; the stack creates it."
        yield _ok(pipeline, "database", text)
    yield from _grant_findings(pipeline, grants)


def _grant_findings(
    pipeline: PipelineConfig, grants: DatabaseGrants | NotReadable
) -> Iterable[Finding]:
    subject = "Lake Formation"
    if isinstance(grants, NotReadable):
        yield Finding(Level.UNKNOWN, pipeline.name, subject, grants.reason)
        return
    if grants.iam_decides:
        yield _ok(pipeline, subject, f"IAM alone decides about {pipeline.database}.")
    else:
        text = (
            f"Lake Formation decides about {pipeline.database}: IAM's permissions are not enough "
            "for the crawler's, Firehose's, the functions' and Dagster's roles."
        )
        yield Finding(Level.WARNING, pipeline.name, subject, text, grant_command(pipeline))
    arn = f":s3:::{pipeline.bucket}/{pipeline.lake.prefix}"
    if any(arn.startswith(each[each.index(":s3:") :].rstrip("*")) for each in grants.registered):
        text = f"The location {pipeline.lake.uri()} is registered with Lake Formation."
        fix = "Grant DATA_LOCATION_ACCESS on it to the crawler's, Firehose's and Dagster's roles."
        yield Finding(Level.WARNING, pipeline.name, subject, text, fix)


def grant_command(pipeline: PipelineConfig) -> str:
    """The command that grants a role what the pipeline's roles need of its database."""
    return (
        "For each role: aws lakeformation grant-permissions --principal "
        "DataLakePrincipalIdentifier=ROLE_ARN --permissions ALL --resource "
        f'\'{{"Database":{{"Name":"{pipeline.database}"}}}}\', and with --resource '
        f'\'{{"Table":{{"DatabaseName":"{pipeline.database}","TableWildcard":{{}}}}}}\''
    )


def version_findings(pipeline: PipelineConfig, versions: Mapping[str, int]) -> Iterable[Finding]:
    """Catalog tables whose versions come near their quota; a version's id is its number."""
    for table, number in versions.items():
        if number >= NEARLY * VERSIONS_OF_A_TABLE:
            text = f"{table} has up to {number:,} versions of {VERSIONS_OF_A_TABLE:,}."
            fix = "Delete old versions: aws glue batch-delete-table-version."
            yield Finding(Level.WARNING, pipeline.name, "table versions", text, fix)


def quota_findings(found: Mapping[str, Usage | NotReadable], new: int) -> Iterable[Finding]:
    """Whether the account has room for stacks.

    Args:
        found: the quotas' usage by name.
        new: number of pipelines that are not deployed.
    """
    for name, usage in found.items():
        if isinstance(usage, NotReadable):
            yield Finding(Level.UNKNOWN, "", f"quota: {name}", usage.reason)
            continue
        needed = usage.used + NEEDED[name] * new
        limit = f"{usage.limit:,}{' (the default)' if usage.default else ''}"
        text = f"{usage.used:,} used, {needed:,} with this configuration, of {limit}."
        level = Level.OK if needed <= NEARLY * usage.limit else Level.WARNING
        level = Level.ERROR if needed > usage.limit else level
        fix = "" if level is Level.OK else "Request an increase in Service Quotas."
        yield Finding(level, "", f"quota: {name}", text, fix)


def permission_findings(denied: Iterable[Denied]) -> Iterable[Finding]:
    """A finding for each statement of which something is denied."""
    for each in denied:
        actions = ", ".join(each.missing.actions)
        text = f"Missing: {actions}."
        if each.explicitly:
            text += " A policy denies it explicitly, so that no statement can allow it."
        statement = json.dumps(each.missing.document())
        yield Finding(Level.ERROR, "", "permissions", text, statement)


def _ok(pipeline: PipelineConfig, subject: str, text: str) -> Finding:
    return Finding(Level.OK, pipeline.name, subject, text)


def _error(pipeline: PipelineConfig, subject: str, text: str, fix: str) -> Finding:
    return Finding(Level.ERROR, pipeline.name, subject, text, fix)
