"""What an account holds of what a pipeline uses: thin calls, one value for each thing."""

from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime, timedelta, timezone
from typing import Any, TypeVar

from botocore.exceptions import BotoCoreError, ClientError

from ddb_pipeline.client_errors import error_code, error_message

Found = TypeVar("Found")

METRIC_DAYS = 7


@dataclass(frozen=True, slots=True)
class NotReadable:
    """Something could not be looked at; ``reason`` is the service's."""

    reason: str


@dataclass(frozen=True, slots=True)
class BucketFacts:
    """A bucket.

    Attributes:
        encryption: ``AES256``, ``aws:kms`` and so on; empty if it may not be read.
        kms_key: the key of ``aws:kms``; empty for the account's own.
        events: whether its events are sent to EventBridge; None if that may not be read.
        versioned: whether it keeps old versions of objects.
    """

    region: str
    encryption: str
    kms_key: str
    events: bool | None
    versioned: bool


@dataclass(frozen=True, slots=True)
class DatabaseGrants:
    """Who decides about a Glue database.

    Attributes:
        iam_decides: whether Lake Formation leaves the decision to IAM (IAMAllowedPrincipals).
        registered: locations of S3 that are registered with Lake Formation.
    """

    iam_decides: bool
    registered: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Usage:
    """How much of a quota is used.

    Attributes:
        limit: the account's quota, or the documented default.
        default: whether the limit is the default, because the quota may not be read.
    """

    used: int
    limit: int
    default: bool


def read(call: Callable[[], Found]) -> Found | NotReadable:
    """What a call returns; the service's reason if it fails."""
    try:
        return call()
    except ClientError as error:
        said = f"{error_code(error)}: {error_message(error)}".strip(": ")
        return NotReadable(f"{error.operation_name} failed: {said}"[:200])
    except BotoCoreError as error:
        return NotReadable(str(error)[:200])


def bucket_facts(s3: Any, bucket: str) -> BucketFacts | None:
    """A bucket; None if it does not exist.

    Raises:
        ClientError: it belongs to others, or may not be listed.
    """
    try:
        head = s3.head_bucket(Bucket=bucket)
    except ClientError as error:
        if error_code(error) in ("404", "NoSuchBucket", "NotFound"):
            return None
        raise
    headers = head["ResponseMetadata"]["HTTPHeaders"]
    algorithm, key = _encryption(s3, bucket)
    events = read(
        lambda: (
            "EventBridgeConfiguration" in s3.get_bucket_notification_configuration(Bucket=bucket)
        )
    )
    status = read(lambda: s3.get_bucket_versioning(Bucket=bucket).get("Status", ""))
    return BucketFacts(
        region=str(head.get("BucketRegion") or headers.get("x-amz-bucket-region") or ""),
        encryption=algorithm,
        kms_key=key,
        events=None if isinstance(events, NotReadable) else events,
        versioned=status == "Enabled",
    )


def _encryption(s3: Any, bucket: str) -> tuple[str, str]:
    try:
        answer = s3.get_bucket_encryption(Bucket=bucket)
    except ClientError as error:
        missing = error_code(error) == "ServerSideEncryptionConfigurationNotFoundError"
        # Since 2023 S3 encrypts every object with its own keys (S3 user guide, "Default
        # encryption FAQ").
        return ("AES256" if missing else "", "")
    rule = answer["ServerSideEncryptionConfiguration"]["Rules"][0]
    default = rule["ApplyServerSideEncryptionByDefault"]
    return str(default["SSEAlgorithm"]), str(default.get("KMSMasterKeyID") or "")


def database_grants(lakeformation: Any, database: str) -> DatabaseGrants:
    """Whether IAM alone decides about a database.

    Raises:
        ClientError: it may not be read.
    """
    listed = lakeformation.list_permissions(Resource={"Database": {"Name": database}})
    principals = {
        each["Principal"]["DataLakePrincipalIdentifier"]
        for each in listed.get("PrincipalResourcePermissions", ())
    }
    locations = lakeformation.list_resources().get("ResourceInfoList", ())
    return DatabaseGrants(
        "IAM_ALLOWED_PRINCIPALS" in principals,
        tuple(sorted(each["ResourceArn"] for each in locations)),
    )


def usages(cloud: Callable[[str], Any]) -> dict[str, Usage | NotReadable]:
    """How much of each quota that pipelines need is used, by its name."""
    return {
        "Glue crawlers": _usage(
            cloud,
            lambda: _count(cloud("glue"), "get_crawlers", "Crawlers"),
            ("glue", "max crawlers per account", 1000),
        ),
        "Firehose delivery streams": _usage(
            cloud,
            lambda: delivery_streams(cloud("firehose")),
            ("firehose", "delivery streams", 5000),
        ),
        "IAM roles": read(lambda: _roles(cloud("iam"))),
    }


def _count(client: Any, operation: str, member: str) -> int:
    return sum(len(page[member]) for page in client.get_paginator(operation).paginate())


def delivery_streams(firehose: Any) -> int:
    """The number of delivery streams of the region; their listing has no paginator in boto3."""
    count, request = 0, {"Limit": 100}
    while True:
        page = firehose.list_delivery_streams(**request)
        names = page["DeliveryStreamNames"]
        count += len(names)
        if not page["HasMoreDeliveryStreams"] or not names:
            return count
        request = {**request, "ExclusiveStartDeliveryStreamName": names[-1]}


def _usage(
    cloud: Callable[[str], Any], count: Callable[[], int], quota: tuple[str, str, int]
) -> Usage | NotReadable:
    used = read(count)
    if isinstance(used, NotReadable):
        return used
    service, name, default = quota
    limit = read(lambda: _quota(cloud("service-quotas"), service, name))
    if isinstance(limit, NotReadable) or limit is None:
        return Usage(used, default, default=True)
    return Usage(used, limit, default=False)


def _quota(quotas: Any, service: str, name: str) -> int | None:
    pages = quotas.get_paginator("list_service_quotas").paginate(ServiceCode=service)
    for page in pages:
        for quota in page["Quotas"]:
            if quota["QuotaName"].casefold() == name:
                return int(quota["Value"])
    return None


def _roles(iam: Any) -> Usage:
    summary = iam.get_account_summary()["SummaryMap"]
    return Usage(int(summary["Roles"]), int(summary["RolesQuota"]), default=False)


def written_units_a_day(cloudwatch: Any, table: str) -> float | None:
    """Write units that a table has consumed a day, of the last week; None without any metric."""
    end = datetime.now(timezone.utc)
    points = cloudwatch.get_metric_statistics(
        Namespace="AWS/DynamoDB",
        MetricName="ConsumedWriteCapacityUnits",
        Dimensions=[{"Name": "TableName", "Value": table}],
        StartTime=end - timedelta(days=METRIC_DAYS),
        EndTime=end,
        Period=86_400,
        Statistics=["Sum"],
    )["Datapoints"]
    return sum(point["Sum"] for point in points) / METRIC_DAYS if points else None
