"""What a lake needs of a bucket that no stack of ours creates: lifecycle rules and events.

Both are settings of the whole bucket, which others may use: what is there stays, and the lake's own
are added to it or changed in it.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from botocore.exceptions import ClientError

from ddb_pipeline.client_errors import DENIED_CODES, access_error, error_code
from ddb_pipeline.config.names import resource_stem
from ddb_pipeline.config.pipeline import PipelineConfig
from ddb_pipeline.deploy.stack import DeployError
from ddb_pipeline.lake.layout import REDELIVERED_PREFIX, SPARK_COLUMNS_PREFIX
from ddb_pipeline.lake.redelivery import PLAN_PREFIX

if TYPE_CHECKING:
    from mypy_boto3_s3.client import S3Client

ABANDONED_UPLOAD_DAYS = 7
WORKING_FILE_DAYS = 7
MAX_RULES = 1000
"""Rules of a bucket's lifecycle configuration (Amazon S3 API, PutBucketLifecycleConfiguration)."""

Rule = Mapping[str, Any]


@dataclass(frozen=True, slots=True)
class BucketSettings:
    """The settings of a bucket that a lake needs, as S3 has them.

    Attributes:
        rules: the rules of its lifecycle configuration.
        minimum_size: ``TransitionDefaultMinimumObjectSize`` of that configuration; may be empty.
        notifications: its notification configuration.
    """

    rules: Sequence[Rule]
    minimum_size: str
    notifications: Mapping[str, Any]


def lifecycle_rules(pipeline: PipelineConfig) -> list[Rule]:
    """The rules for a pipeline's objects, as the template has them for a bucket that it creates."""
    days = {
        "spark-columns": (SPARK_COLUMNS_PREFIX, WORKING_FILE_DAYS),
        "redelivery-plans": (PLAN_PREFIX, WORKING_FILE_DAYS),
        "redelivered": (REDELIVERED_PREFIX, pipeline.retention.redelivered_days),
    }
    stem = resource_stem(pipeline.name)
    expiring: list[Rule] = [
        {
            "ID": f"{stem}-{name}",
            "Status": "Enabled",
            "Filter": {"Prefix": pipeline.lake.object_key(prefix)},
            "Expiration": {"Days": expires},
        }
        for name, (prefix, expires) in days.items()
    ]
    uploads = {
        "ID": f"{stem}-abandoned-uploads",
        "Status": "Enabled",
        "Filter": {"Prefix": pipeline.lake.prefix},
        "AbortIncompleteMultipartUpload": {"DaysAfterInitiation": ABANDONED_UPLOAD_DAYS},
    }
    # Without a prefix, this would end uploads of others too.
    return [*expiring, uploads] if pipeline.lake.prefix else expiring


def wanted_settings(found: BucketSettings, pipelines: Sequence[PipelineConfig]) -> BucketSettings:
    """The settings of a bucket with what the lakes of these pipelines need."""
    wanted = {rule["ID"]: rule for pipeline in pipelines for rule in lifecycle_rules(pipeline)}
    kept = [wanted.pop(rule.get("ID", ""), rule) for rule in found.rules]
    notifications = {**found.notifications}
    notifications.setdefault("EventBridgeConfiguration", {})
    return BucketSettings([*kept, *wanted.values()], found.minimum_size, notifications)


def changes(found: BucketSettings, wanted: BucketSettings) -> list[str]:
    """What would change, a line each."""
    before = {rule.get("ID", ""): rule for rule in found.rules}
    lines = [
        f"{'~' if rule.get('ID', '') in before else '+'} lifecycle rule {rule['ID']}: "
        f"{_effect(rule)}"
        for rule in wanted.rules
        if before.get(rule.get("ID", "")) != rule
    ]
    if "EventBridgeConfiguration" not in found.notifications:
        lines.append("+ events of objects to EventBridge")
    return lines


def _effect(rule: Rule) -> str:
    prefix = rule["Filter"]["Prefix"]
    if "Expiration" in rule:
        return f"objects under {prefix} expire after {rule['Expiration']['Days']} days"
    days = rule["AbortIncompleteMultipartUpload"]["DaysAfterInitiation"]
    return f"unfinished uploads under {prefix} end after {days} days"


def existing_buckets(pipelines: Sequence[PipelineConfig]) -> dict[str, list[PipelineConfig]]:
    """The buckets that exist already, each with the pipelines whose stack does not create it."""
    found: dict[str, list[PipelineConfig]] = {}
    for pipeline in pipelines:
        if pipeline.existing_bucket:
            found.setdefault(pipeline.bucket, []).append(pipeline)
    return found


def prepare_bucket(
    s3: "S3Client", bucket: str, pipelines: Sequence[PipelineConfig], *, dry_run: bool = False
) -> list[str]:
    """Give an existing bucket what the lakes of these pipelines need; returns what changed.

    Where the bucket's settings may not be read or written, returns that its owner has to do it: the
    pipelines work without, but expired copies stay, and late objects are found a day later.

    Raises:
        DeployError: the bucket does not exist, or has too many rules.
    """
    try:
        found = read_settings(s3, bucket)
        wanted = wanted_settings(found, pipelines)
        lines = changes(found, wanted)
        if len(wanted.rules) > MAX_RULES:
            raise DeployError(
                f"Bucket {bucket!r} would have {len(wanted.rules)} lifecycle rules; S3 takes "
                f"{MAX_RULES}. Use another bucket for some of the pipelines."
            )
        if lines and not dry_run:
            write_settings(s3, bucket, wanted)
        return lines
    except ClientError as error:
        if error_code(error) in DENIED_CODES:
            names = ", ".join(pipeline.name for pipeline in pipelines)
            return [
                f"! not changed, as this role may not ({error_code(error)}). Its owner should "
                f"turn on EventBridge events and add lifecycle rules for: {names}"
            ]
        if error_code(error) in ("NoSuchBucket", "404"):
            raise DeployError(
                f"Bucket {bucket!r} does not exist, although existing_bucket is true. Create it, "
                "or remove existing_bucket, and the stack creates it."
            ) from error
        raise DeployError(f"Bucket {bucket!r} cannot be prepared: {access_error(error)}") from error


def read_settings(s3: "S3Client", bucket: str) -> BucketSettings:
    """The settings of a bucket as they are.

    Raises:
        ClientError: S3 refuses.
    """
    notifications: dict[str, Any] = {**s3.get_bucket_notification_configuration(Bucket=bucket)}
    notifications.pop("ResponseMetadata", None)
    try:
        lifecycle: Any = s3.get_bucket_lifecycle_configuration(Bucket=bucket)
    except ClientError as error:
        if error_code(error) != "NoSuchLifecycleConfiguration":
            raise
        lifecycle = {}
    return BucketSettings(
        lifecycle.get("Rules", []),
        lifecycle.get("TransitionDefaultMinimumObjectSize", ""),
        notifications,
    )


def write_settings(s3: "S3Client", bucket: str, settings: BucketSettings) -> None:
    """Replace the settings of a bucket.

    Raises:
        ClientError: S3 refuses.
    """
    notifications: Any = settings.notifications
    request: dict[str, Any] = {
        "Bucket": bucket,
        "LifecycleConfiguration": {"Rules": list(settings.rules)},
    }
    if settings.minimum_size:
        request["TransitionDefaultMinimumObjectSize"] = settings.minimum_size
    s3.put_bucket_lifecycle_configuration(**request)
    s3.put_bucket_notification_configuration(
        Bucket=bucket,
        NotificationConfiguration=notifications,
        # Targets of others may be gone; that is no reason not to add ours.
        SkipDestinationValidation=True,
    )
