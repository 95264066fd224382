"""The parts of the configuration that are an account's own rules: keys, roles, network, alarms."""

import re
from collections.abc import Mapping

from pydantic import BaseModel, ConfigDict, Field, field_validator

ROLE_ARN = r"^(arn:aws[a-z-]*:iam::\d{12}:role/\S+)?$"
POLICY_ARN = r"^(arn:aws[a-z-]*:iam::(\d{12}|aws):policy/\S+)?$"
KMS_KEY_ARN = r"^(arn:aws[a-z-]*:kms:[a-z0-9-]+:\d{12}:(key|alias)/\S+)?$"
TOPIC_ARN = r"^(arn:aws[a-z-]*:sns:[a-z0-9-]+:\d{12}:\S+)?$"
SUBNET = r"subnet-[0-9a-f]+"
SECURITY_GROUP = r"sg-[0-9a-f]+"
REGION = r"^[a-z]{2,4}(-[a-z]+)+-\d{1,2}$"
MAX_TAGS = 50
"""Tags of a stack (AWS CloudFormation API reference, CreateChangeSet)."""


class KmsConfig(BaseModel):
    """ARNs of KMS keys; without one, the service's own key encrypts."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    bucket: str = Field(default="", pattern=KMS_KEY_ARN, description="Of the objects.")
    queues: str = Field(
        default="",
        pattern=KMS_KEY_ARN,
        description="Of queues and alarms topic; EventBridge and CloudWatch are to be allowed it.",
    )
    logs: str = Field(
        default="", pattern=KMS_KEY_ARN, description="Of log groups; logs is to be allowed it."
    )
    delivery_stream: str = Field(
        default="", pattern=KMS_KEY_ARN, description="Of records in the delivery stream."
    )
    table: str = Field(
        default="", pattern=KMS_KEY_ARN, description="Of the DynamoDB table and its stream."
    )


class RolesConfig(BaseModel):
    """ARNs of roles that exist; a stack creates those that are not named."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    crawler: str = Field(default="", pattern=ROLE_ARN)
    delivery: str = Field(default="", pattern=ROLE_ARN, description="Of the delivery stream.")
    stream_function: str = Field(default="", pattern=ROLE_ARN)
    fix_function: str = Field(default="", pattern=ROLE_ARN)
    spark_job: str = Field(default="", pattern=ROLE_ARN)


class VpcConfig(BaseModel):
    """The network of the functions, which needs a way to the endpoints of AWS."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    subnet_ids: tuple[str, ...] = Field(min_length=1)
    security_group_ids: tuple[str, ...] = Field(min_length=1)

    @field_validator("subnet_ids")
    @classmethod
    def _subnets(cls, value: tuple[str, ...]) -> tuple[str, ...]:
        return _all_matching(value, SUBNET, "a subnet's id")

    @field_validator("security_group_ids")
    @classmethod
    def _groups(cls, value: tuple[str, ...]) -> tuple[str, ...]:
        return _all_matching(value, SECURITY_GROUP, "a security group's id")


class AlarmsConfig(BaseModel):
    """CloudWatch alarms to an SNS topic."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    enabled: bool = True
    topic_arn: str = Field(
        default="", pattern=TOPIC_ARN, description="An existing topic; if empty, it is created."
    )
    iterator_age_seconds: int = Field(
        default=3600, ge=60, le=86_400, description="How far the function may be behind the stream."
    )
    freshness_seconds: int = Field(
        default=1800, ge=60, description="How long records may wait for their delivery."
    )


class DeploymentConfig(BaseModel):
    """What the stack of a pipeline and that of a lake have in common."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    tags: Mapping[str, str] = Field(default={}, description="Of the stack and its resources.")
    permissions_boundary: str = Field(
        default="", pattern=POLICY_ARN, description="Of all roles that the stack creates."
    )
    kms: KmsConfig = KmsConfig()
    roles: RolesConfig = RolesConfig()
    vpc: VpcConfig | None = None
    alarms: AlarmsConfig = AlarmsConfig()
    versioning: bool = Field(
        default=False, description="Whether a bucket that the stack creates keeps former versions."
    )
    noncurrent_days: int = Field(default=30, ge=1, description="How long it keeps them.")
    access_log_bucket: str = Field(
        default="", description="Bucket for the access logs of a bucket that the stack creates."
    )
    log_retention_days: int = Field(default=30, description="Of the log groups.")

    @field_validator("tags")
    @classmethod
    def _tags(cls, value: Mapping[str, str]) -> Mapping[str, str]:
        if len(value) > MAX_TAGS - 1:
            raise ValueError(f"a stack takes {MAX_TAGS} tags, of which one is used already")
        if any(key.startswith("aws:") for key in value):
            raise ValueError("tags that begin with aws: are reserved")
        return value


def _all_matching(values: tuple[str, ...], pattern: str, what: str) -> tuple[str, ...]:
    for value in values:
        if not re.fullmatch(pattern, value):
            raise ValueError(f"{value!r} is not {what}")
    return values
