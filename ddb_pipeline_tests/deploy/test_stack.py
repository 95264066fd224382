"""The template and the parameters that a pipeline gives it."""

import json
import re
from collections.abc import Iterator
from typing import Any

import pytest
import yaml

from ddb_pipeline.config.choices import FunctionSetting, StreamReader
from ddb_pipeline.config.names import (
    checkpoint_table,
    failure_queue,
    object_change_queue,
    stream_function,
    stream_location,
)
from ddb_pipeline.config.pipeline import PipelineConfig
from ddb_pipeline.conversion.options import DELIVERY_OPTIONS, OpenXOptions
from ddb_pipeline.deploy.bundle import build_bundles
from ddb_pipeline.deploy.parameters import stack_parameters
from ddb_pipeline.deploy.stack import template_body
from ddb_pipeline.functions.report import METRICS, NAMESPACE
from ddb_pipeline.lake.layout import (
    DEAD_LETTER_PREFIX,
    ERROR_PREFIX,
    REDELIVERED_PREFIX,
    RESERVED_PREFIXES,
    SPARK_COLUMNS_PREFIX,
    STREAM_PREFIX,
)
from ddb_pipeline.lake.redelivery import PLAN_PREFIX

PIPELINE = PipelineConfig(name="web_logs")
PREFIX = "${LakePrefix}"


class Tagged(yaml.SafeLoader):
    """YAML with CloudFormation's short forms as they are written: ``!Ref Name`` is ``Name``."""


def _plain(loader: Any, suffix: str, node: Any) -> Any:
    if isinstance(node, yaml.ScalarNode):
        return loader.construct_scalar(node)
    if isinstance(node, yaml.SequenceNode):
        return loader.construct_sequence(node, deep=True)
    return loader.construct_mapping(node, deep=True)


Tagged.add_multi_constructor("!", _plain)


@pytest.fixture(scope="module")
def template() -> Any:
    return yaml.load(template_body(), Tagged)


def parameters(**config: Any) -> dict[str, str]:
    return stack_parameters(PipelineConfig(name="web_logs", **config), "code", build_bundles())


def test_every_parameter_is_the_templates(template: Any) -> None:
    given = parameters()
    declared = template["Parameters"]
    assert given.keys() <= declared.keys()
    needed = {name for name, declaration in declared.items() if "Default" not in declaration}
    assert needed <= given.keys()


def test_the_functions_settings_reach_its_environment(template: Any) -> None:
    resource = template["Resources"]["StreamFunction"]
    environment = resource["Properties"]["Environment"]["Variables"]
    for setting in FunctionSetting:
        assert environment[setting.value] == setting.parameter
    given = parameters(
        function_settings={"EVENT_NAMES": "INSERT", "DROP_ATTRIBUTES": "email"},
        function_layer_arn="arn:aws:lambda:eu-west-1:000000000000:layer:l:1",
    )
    assert (given["EventNames"], given["DropAttributes"]) == ("INSERT", "email")
    assert given["StreamFunctionLayerArn"].endswith("layer:l:1")
    assert given["Transformer"] == ""


def test_another_accounts_catalog_reaches_the_template(template: Any) -> None:
    given = parameters(
        catalog_id="222233334444",
        crawl_with="builtin",
        existing_database=True,
        schema_fix="dagster",
    )
    assert (given["CatalogId"], parameters()["CatalogId"]) == ("222233334444", "")
    resources = template["Resources"]
    catalog = ["HasCatalog", "CatalogId", "AWS::AccountId"]
    for name in ("LakeTable", "SnapshotTable", "CrawledTable"):
        assert resources[name]["Properties"]["CatalogId"] == catalog
    stream = resources["DeliveryStream"]["Properties"]["ExtendedS3DestinationConfiguration"]
    conversion = stream["DataFormatConversionConfiguration"]["SchemaConfiguration"]
    assert conversion["CatalogId"] == catalog
    environment = resources["StreamFunction"]["Properties"]["Environment"]["Variables"]
    assert environment["CATALOG_ID"] == "CatalogId"
    for role in ("DeliveryRole", "StreamFunctionRole", "SparkJobRole"):
        texts = [each for each in every_text(resources[role]) if ":glue:" in each]
        own = [each for each in texts if "${AWS::AccountId}" in each]
        assert [each.replace("${AWS::AccountId}", "${CatalogId}") for each in own] == [
            each for each in texts if each not in own
        ]


def test_a_table_of_another_account_has_no_crawler(template: Any) -> None:
    given = parameters(
        table_account="222233334444",
        existing_table=True,
        crawl_with="builtin",
        export_with="scan",
        gap_policy="report",
    )
    assert (given["TableAccountId"], parameters()["TableAccountId"]) == ("222233334444", "")
    needed = template["Conditions"]["CreateCrawler"]
    assert needed == ["HasTable", ["HasCatalog"], ["HasTableAccount"]]
    assert template["Resources"]["Crawler"]["Condition"] == "CreateCrawler"


def test_keys_and_an_existing_table_reach_the_template() -> None:
    arn = "arn:aws:dynamodb:eu-west-1:000000000000:table/orders/stream/2026-11-26T00:00:00.000"
    given = parameters(
        dynamodb_table="orders",
        stream_arn=arn,
        partition_key="customer",
        partition_key_type="N",
        sort_key="at",
        sort_key_type="B",
    )
    assert given["ExistingStreamArn"] == arn
    assert (given["PartitionKeyName"], given["PartitionKeyType"]) == ("customer", "N")
    assert (given["SortKeyName"], given["SortKeyType"]) == ("at", "B")
    assert (parameters()["ExistingStreamArn"], parameters()["SortKeyName"]) == ("", "")
    with pytest.raises(ValueError, match="stream_arn is of the table 'orders'"):
        parameters(dynamodb_table="others", stream_arn=arn)


def test_one_reader_of_the_stream(template: Any) -> None:
    resources = template["Resources"]
    assert resources["StreamEventSourceMapping"]["Condition"] == "ReadByLambda"
    assert resources["CheckpointTable"]["Condition"] == "ReadByConsumer"
    assert parameters()["StreamReader"] == "lambda"
    assert parameters(stream_reader=StreamReader.CONSUMER)["StreamReader"] == "consumer"


@pytest.mark.parametrize(
    ("resource", "member", "name"),
    [
        ("Crawler", "Name", PIPELINE.crawler),
        ("DeliveryStream", "DeliveryStreamName", PIPELINE.delivery_stream),
        ("TableChangeQueue", "QueueName", PIPELINE.change_queue),
        ("ObjectChangeQueue", "QueueName", object_change_queue(PIPELINE)),
        ("FailureQueue", "QueueName", failure_queue(PIPELINE)),
        ("StreamFunction", "FunctionName", stream_function(PIPELINE)),
        ("CheckpointTable", "TableName", checkpoint_table(PIPELINE)),
    ],
)
def test_names_are_those_of_the_template(
    template: Any, resource: str, member: str, name: str
) -> None:
    written = template["Resources"][resource]["Properties"][member]
    assert written.replace("${PipelineName}", "web-logs") == name


def test_bucket_prefixes_are_those_of_the_template(template: Any) -> None:
    prefixed = PipelineConfig(name="web_logs", lake_prefix="sales/logs")
    resources = template["Resources"]
    table = resources["LakeTable"]["Properties"]["TableInput"]["StorageDescriptor"]
    location = table["Location"].replace("${BucketName}", prefixed.bucket)
    assert location.replace("${LakePrefix}", prefixed.lake.prefix) == stream_location(prefixed)
    destination = resources["DeliveryStream"]["Properties"]["ExtendedS3DestinationConfiguration"]
    assert destination["Prefix"].startswith(PREFIX + STREAM_PREFIX)
    assert destination["ErrorOutputPrefix"].startswith(PREFIX + ERROR_PREFIX)
    environment = resources["StreamFunction"]["Properties"]["Environment"]["Variables"]
    assert environment["ERROR_PREFIX"] == PREFIX + ERROR_PREFIX
    assert environment["DEAD_LETTER_PREFIX"] == PREFIX + DEAD_LETTER_PREFIX


def test_the_events_of_the_streams_objects_reach_their_queue(template: Any) -> None:
    resources = template["Resources"]
    notification = resources["Bucket"]["Properties"]["NotificationConfiguration"]
    assert notification == {"EventBridgeConfiguration": {"EventBridgeEnabled": True}}
    rule = resources["ObjectChangeRule"]["Properties"]
    assert rule["EventPattern"]["detail"]["object"]["key"] == [{"prefix": PREFIX + STREAM_PREFIX}]
    assert [target["Arn"] for target in rule["Targets"]] == ["ObjectChangeQueue.Arn"]


@pytest.mark.embedded
@pytest.mark.parametrize(
    ("kind", "detail", "of_a_pipeline", "of_a_lake"),
    [
        ("Table", {"tableName": "web_logs", "typeOfChange": "UpdateTable"}, True, True),
        ("Database", {"changedTables": ["a", "web_logs"]}, True, True),
        # Tables of others, partitions, and the pipeline's own other tables.
        ("Table", {"tableName": "orders", "typeOfChange": "UpdateTable"}, False, True),
        ("Table", {"tableName": "web_logs_lake", "changedPartitions": ["1"]}, False, True),
        ("Database", {"changedTables": ["orders", "web_logs_lake"]}, False, True),
        ("Database", {"changedTables": []}, False, True),
        ("Table", {"tableName": "web_logs", "databaseName": "other"}, False, False),
        ("Database", {"changedTables": ["web_logs"], "databaseName": "other"}, False, False),
    ],
)
def test_the_changes_that_invoke_the_schema_fix(
    template: Any,
    aws_client: Any,
    kind: str,
    detail: dict[str, Any],
    of_a_pipeline: bool,
    of_a_lake: bool,
) -> None:
    event = {
        "id": "1",
        "source": "aws.glue",
        "account": "000000000000",
        "region": "us-east-1",
        "time": "2026-01-01T00:00:00Z",
        "resources": [],
        "detail-type": f"Glue Data Catalog {kind} State Change",
        "detail": {"databaseName": "logs", **detail},
    }
    pattern = template["Resources"]["TableChangeRule"]["Properties"]["EventPattern"]
    condition, *patterns = pattern["detail"]
    assert condition == "HasTable"
    found = []
    for each in patterns:
        text = json.dumps({**pattern, "detail": each})
        text = text.replace("DatabaseName", "logs").replace("CrawledTableName", "web_logs")
        response = aws_client("events").test_event_pattern(
            EventPattern=text, Event=json.dumps(event)
        )
        found.append(response["Result"])
    assert found == [of_a_pipeline, of_a_lake]


def test_the_delivery_stream_converts_as_redelivery_and_preflight_do(template: Any) -> None:
    stream = template["Resources"]["DeliveryStream"]["Properties"]
    conversion = stream["ExtendedS3DestinationConfiguration"]["DataFormatConversionConfiguration"]
    [serde] = conversion["InputFormatConfiguration"]["Deserializer"].values()
    options = DELIVERY_OPTIONS.deserializer
    assert isinstance(options, OpenXOptions)
    assert serde == {"CaseInsensitive": options.case_insensitive}


def test_only_what_nothing_reads_any_more_expires(template: Any) -> None:
    found = template["Resources"]["Bucket"]["Properties"]["LifecycleConfiguration"]["Rules"]
    rules = [rule for rule in found if isinstance(rule, dict)]
    expiring = {rule["Prefix"] for rule in rules if "ExpirationInDays" in rule}
    expected = (SPARK_COLUMNS_PREFIX, PLAN_PREFIX, REDELIVERED_PREFIX)
    assert expiring == {PREFIX + prefix for prefix in expected}
    assert all(rule["Status"] == "Enabled" for rule in rules)


def test_every_place_in_the_bucket_lies_under_the_lakes_prefix(template: Any) -> None:
    """Each text of the template that has a prefix of the layout has the lake's before it."""
    folders = "|".join(re.escape(prefix) for prefix in RESERVED_PREFIXES)
    texts = [text for text in every_text(template["Resources"]) if re.search(folders, text)]
    for text in texts:
        assert re.search(rf"\$\{{LakePrefix\}}({folders})", text), text
    assert len(texts) > 15


def every_text(value: Any) -> Iterator[str]:
    if isinstance(value, str):
        yield value
    elif isinstance(value, list | dict):
        for each in value.values() if isinstance(value, dict) else value:
            yield from every_text(each)


def test_a_bucket_that_exists_is_not_created(template: Any) -> None:
    assert template["Resources"]["Bucket"]["Condition"] == "CreateBucket"
    assert parameters()["ExistingBucket"] == "false"
    given = parameters(existing_bucket=True, lake_prefix="sales/logs", export_prefix="out")
    assert (given["ExistingBucket"], given["LakePrefix"]) == ("true", "sales/logs/")
    assert given["ExportPrefix"] == "sales/logs/out"


LAKE = {
    "Bucket",
    "BucketPolicy",
    "Database",
    "FixFunctionLogGroup",
    "FixFunctionRole",
    "FixFunction",
    "FixFailureQueue",
    "FixFunctionPermission",
    "TableChangeQueue",
    "TableChangeQueuePolicy",
    "TableChangeRule",
    "AlarmTopic",
    "SchemaFixAlarm",
    "SchemaFixGivenUpAlarm",
}
"""What the stack of a lake has, and the stack of one of its tables has not."""


def test_each_resource_is_of_the_lake_or_of_a_table(template: Any) -> None:
    conditions = template["Conditions"]

    def needs(condition: str) -> set[str]:
        """The conditions of which one follows: itself and those in its ``!And``."""
        definition = conditions[condition]
        parts = definition if isinstance(definition, list) else []
        return {condition}.union(
            *(needs(each) for each in parts if isinstance(each, str) and each in conditions)
        )

    for name, resource in template["Resources"].items():
        needed = needs(resource["Condition"])
        assert ("HasLake" in needed) is (name in LAKE), name
        assert ("HasTable" in needed) is (name not in LAKE), name


def test_every_role_may_have_a_boundary_and_every_alarm_a_topic(template: Any) -> None:
    resources = template["Resources"].values()
    roles = [each["Properties"] for each in resources if each["Type"] == "AWS::IAM::Role"]
    assert len(roles) == 5
    for role in roles:
        assert role["PermissionsBoundary"][:2] == ["HasBoundary", "PermissionsBoundaryArn"]
    alarms = [each["Properties"] for each in resources if each["Type"] == "AWS::CloudWatch::Alarm"]
    assert len(alarms) == 10
    for alarm in alarms:
        assert (
            alarm["AlarmActions"]
            == alarm["OKActions"]
            == [["HasAlarmTopic", "AlarmTopicArn", TOPIC]]
        )


TOPIC = "arn:${AWS::Partition}:sns:${AWS::Region}:${AWS::AccountId}:${AlarmTopicName}"


def test_the_alarm_of_dead_letters_is_about_the_functions_metric(template: Any) -> None:
    alarm = template["Resources"]["DeadLettersAlarm"]["Properties"]
    assert alarm["Namespace"] == NAMESPACE
    assert alarm["MetricName"] in dict(METRICS)
    assert [each["Name"] for each in alarm["Dimensions"]] == ["FunctionName"]


def test_an_accounts_own_rules_reach_the_template(template: Any) -> None:
    key = "arn:aws:kms:eu-west-1:000000000000:key/a"
    role = "arn:aws:iam::000000000000:role/deliver"
    given = parameters(
        kms={"bucket": key},
        roles={"delivery": role},
        permissions_boundary="arn:aws:iam::000000000000:policy/boundary",
        vpc={"subnet_ids": ["subnet-1", "subnet-2"], "security_group_ids": ["sg-1"]},
        alarms={"enabled": False},
        reserved_concurrency=5,
        versioning=True,
    )
    assert (given["BucketKmsKeyArn"], given["QueueKmsKeyArn"]) == (key, "")
    assert given["DeliveryRoleArn"] == role
    assert given["PermissionsBoundaryArn"].endswith("policy/boundary")
    assert given["SubnetIds"] == "subnet-1,subnet-2"
    assert (given["Alarms"], given["ReservedConcurrency"], given["Versioning"]) == (
        "false",
        "5",
        "true",
    )
    assert parameters()["ReservedConcurrency"] == ""


@pytest.mark.parametrize(
    "config",
    [
        {"kms": {"bucket": "alias/mine"}},
        {"roles": {"delivery": "deliver"}},
        {"permissions_boundary": "boundary"},
        {"vpc": {"subnet_ids": ["a"], "security_group_ids": ["sg-1"]}},
        {"vpc": {"subnet_ids": [], "security_group_ids": ["sg-1"]}},
        {"tags": {"aws:team": "x"}},
        {"alarms": {"topic_arn": "topic"}},
        {"reserved_concurrency": 0},
    ],
)
def test_what_aws_would_refuse_is_refused_at_load(config: dict[str, Any]) -> None:
    with pytest.raises(ValueError, match="PipelineConfig"):
        parameters(**config)
