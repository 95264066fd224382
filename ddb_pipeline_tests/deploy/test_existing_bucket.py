"""What a deployment adds to the settings of a bucket that belongs to others."""

import uuid
from collections.abc import Callable
from typing import Any

import pytest
import yaml
from botocore.exceptions import ClientError

from ddb_pipeline.config.pipeline import PipelineConfig
from ddb_pipeline.deploy.existing_bucket import (
    BucketSettings,
    changes,
    lifecycle_rules,
    prepare_bucket,
    read_settings,
    wanted_settings,
)
from ddb_pipeline.deploy.stack import DeployError, template_body

PIPELINE = PipelineConfig(
    name="web_logs", bucket="lake", existing_bucket=True, lake_prefix="sales/logs"
)
OTHERS: dict[str, Any] = {
    "ID": "others",
    "Status": "Enabled",
    "Filter": {"Prefix": "theirs/"},
    "Expiration": {"Days": 1},
}
EMPTY = BucketSettings([], "", {})


def test_every_rule_lies_under_the_lakes_prefix() -> None:
    rules = lifecycle_rules(PIPELINE)
    assert all(rule["Filter"]["Prefix"].startswith("sales/logs/") for rule in rules)
    whole = PipelineConfig(name="web_logs")
    assert all(rule["Filter"]["Prefix"] for rule in lifecycle_rules(whole))


def test_the_rules_are_those_of_a_bucket_that_the_template_creates() -> None:
    class Loader(yaml.SafeLoader):
        """Reads the short forms of intrinsic functions as their argument."""

    Loader.add_multi_constructor("!", lambda loader, suffix, node: getattr(node, "value", None))
    template = yaml.load(template_body(), Loader)
    rules = template["Resources"]["Bucket"]["Properties"]["LifecycleConfiguration"]["Rules"]
    written = {
        rule["Id"]: (rule["Prefix"].removeprefix("${LakePrefix}"), rule["ExpirationInDays"])
        for rule in rules
        if "ExpirationInDays" in rule
    }
    assert written.pop("redelivered")[0] == "redelivered/"
    added = {
        rule["ID"].removeprefix("web-logs-"): (
            rule["Filter"]["Prefix"].removeprefix("sales/logs/"),
            rule["Expiration"]["Days"],
        )
        for rule in lifecycle_rules(PIPELINE)
        if "Expiration" in rule
    }
    assert added.pop("redelivered") == ("redelivered/", PIPELINE.retention.redelivered_days)
    assert added == written


def test_what_others_have_set_stays() -> None:
    topic = {"TopicConfigurations": [{"TopicArn": "arn", "Events": ["s3:ObjectCreated:*"]}]}
    found = BucketSettings([OTHERS], "varies_by_storage_class", topic)
    wanted = wanted_settings(found, [PIPELINE])
    assert wanted.rules[0] == OTHERS
    assert len(wanted.rules) == 1 + len(lifecycle_rules(PIPELINE))
    assert wanted.minimum_size == "varies_by_storage_class"
    assert wanted.notifications == {**topic, "EventBridgeConfiguration": {}}
    assert changes(wanted, wanted_settings(wanted, [PIPELINE])) == []


def test_a_rule_that_differs_is_changed_and_named() -> None:
    before = wanted_settings(EMPTY, [PIPELINE])
    longer = PIPELINE.model_copy(
        update={"retention": PIPELINE.retention.model_copy(update={"redelivered_days": 400})}
    )
    assert changes(before, wanted_settings(before, [longer])) == [
        "~ lifecycle rule web-logs-redelivered: objects under sales/logs/redelivered/ expire "
        "after 400 days"
    ]


@pytest.mark.embedded
def test_a_bucket_is_prepared_once(aws_client: Callable[[str], Any]) -> None:
    s3 = aws_client("s3")
    bucket = f"existing-{uuid.uuid4().hex[:12]}"
    with pytest.raises(DeployError, match="does not exist"):
        prepare_bucket(s3, bucket, [PIPELINE])
    s3.create_bucket(Bucket=bucket)
    s3.put_bucket_lifecycle_configuration(Bucket=bucket, LifecycleConfiguration={"Rules": [OTHERS]})
    planned = prepare_bucket(s3, bucket, [PIPELINE], dry_run=True)
    assert len(planned) == 1 + len(lifecycle_rules(PIPELINE))
    assert prepare_bucket(s3, bucket, [PIPELINE]) == planned
    assert OTHERS in read_settings(s3, bucket).rules
    assert prepare_bucket(s3, bucket, [PIPELINE]) == []


def test_a_role_without_permission_names_what_the_owner_does() -> None:
    class Denied:
        """S3 as it answers who may not read a bucket's settings."""

        def get_bucket_notification_configuration(self, **_: Any) -> Any:
            raise ClientError({"Error": {"Code": "AccessDenied"}}, "Get")

    s3: Any = Denied()
    (line,) = prepare_bucket(s3, "lake", [PIPELINE])
    assert line.startswith("! not changed")
    assert "web_logs" in line
