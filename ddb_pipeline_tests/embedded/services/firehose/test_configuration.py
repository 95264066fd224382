"""Destination configurations: AWS's refusals, with their messages and order, and defaults."""

import copy
import itertools
from collections.abc import Callable
from datetime import timezone
from typing import Any

import pytest

from ddb_pipeline.conversion.options import HiveJsonOptions, OpenXOptions, ParquetOptions
from ddb_pipeline.embedded.services.firehose.configuration import (
    BufferingHints,
    ConfigurationError,
    SchemaReference,
    delivery_configuration,
)
from ddb_pipeline_tests.support.recordings import document, lines

ROLE = "arn:aws:iam::000000000000:role/delivery"
DESTINATION: dict[str, Any] = {
    "RoleARN": ROLE,
    "BucketARN": "arn:aws:s3:::lake-bucket",
    "Prefix": "orders/delivery_date=!{timestamp:yyyy-MM-dd}/",
    "ErrorOutputPrefix": "errors/!{firehose:error-output-type}/",
    "DataFormatConversionConfiguration": {
        "InputFormatConfiguration": {"Deserializer": {"OpenXJsonSerDe": {}}},
        "OutputFormatConfiguration": {"Serializer": {"ParquetSerDe": {}}},
        "SchemaConfiguration": {
            "RoleARN": ROLE,
            "DatabaseName": "shop",
            "TableName": "orders",
            "Region": "eu-west-1",
        },
    },
}

Change = Callable[[dict[str, Any]], Any]


def changed(*changes: Change) -> dict[str, Any]:
    destination = copy.deepcopy(DESTINATION)
    for change in changes:
        change(destination)
    return destination


def conversion(destination: dict[str, Any]) -> dict[str, Any]:
    found: dict[str, Any] = destination["DataFormatConversionConfiguration"]
    return found


def refusal(destination: dict[str, Any]) -> tuple[str, str]:
    with pytest.raises(ConfigurationError) as caught:
        delivery_configuration(destination)
    return caught.value.code, caught.value.message


def test_defaults() -> None:
    configuration = delivery_configuration(DESTINATION)
    assert configuration.bucket == "lake-bucket"
    assert configuration.buffering == BufferingHints(128, 300)
    assert configuration.time_zone is timezone.utc
    assert configuration.conversion is not None
    assert configuration.conversion.schema == SchemaReference(
        database_name="shop", table_name="orders", role_arn=ROLE, region="eu-west-1"
    )
    assert configuration.conversion.schema.version_id == "LATEST"
    assert configuration.conversion.deserializer == OpenXOptions(
        case_insensitive=True, convert_dots=False, column_to_json_key={}
    )
    assert configuration.conversion.serializer == ParquetOptions(
        "SNAPPY", 268_435_456, 1_048_576, False, "V1", 0
    )


def test_configured_members_replace_the_defaults() -> None:
    def fill(destination: dict[str, Any]) -> None:
        destination["BufferingHints"] = {"SizeInMBs": 64, "IntervalInSeconds": 0}
        destination["CustomTimeZone"] = "Asia/Tokyo"
        destination["FileExtension"] = ".snappy.parquet"
        block = conversion(destination)
        block["InputFormatConfiguration"]["Deserializer"] = {
            "OpenXJsonSerDe": {
                "CaseInsensitive": False,
                "ConvertDotsInJsonKeysToUnderscores": True,
                "ColumnToJsonKeyMappings": {"ts": "timestamp"},
            }
        }
        block["OutputFormatConfiguration"]["Serializer"]["ParquetSerDe"] = {
            "Compression": "GZIP",
            "BlockSizeBytes": 67_108_864,
            "PageSizeBytes": 65_536,
            "EnableDictionaryCompression": True,
            "WriterVersion": "V2",
            "MaxPaddingBytes": 1,
        }
        block["SchemaConfiguration"] |= {"VersionId": "7", "CatalogId": "000000000000"}

    configuration = delivery_configuration(changed(fill))
    assert configuration.buffering == BufferingHints(64, 0)
    assert str(configuration.time_zone) == "Asia/Tokyo"
    assert configuration.conversion is not None
    assert configuration.conversion.deserializer == OpenXOptions(False, True, {"ts": "timestamp"})
    assert configuration.conversion.serializer == ParquetOptions(
        "GZIP", 67_108_864, 65_536, True, "V2", 1
    )
    assert configuration.conversion.schema.version_id == "7"


def test_hive_deserializer() -> None:
    def hive(destination: dict[str, Any]) -> None:
        deserializer = {"HiveJsonSerDe": {"TimestampFormats": ["millis"]}}
        conversion(destination)["InputFormatConfiguration"]["Deserializer"] = deserializer

    configuration = delivery_configuration(changed(hive))
    assert configuration.conversion is not None
    assert configuration.conversion.deserializer == HiveJsonOptions(("millis",))


def test_a_disabled_conversion_is_checked_by_the_constraints_only() -> None:
    def off(destination: dict[str, Any]) -> None:
        destination["CompressionFormat"] = "GZIP"
        destination["DataFormatConversionConfiguration"] = {"Enabled": False}

    configuration = delivery_configuration(changed(off))
    assert configuration.conversion is None
    assert configuration.buffering == BufferingHints(5, 300)


VECTOR = document("firehose_config_validation.json")
# A change that violates each probed rule, in the vector's order of precedence.
BREAKERS: dict[str, Change] = {
    "S3 CompressionFormat != UNCOMPRESSED and conversion enabled": lambda d: d.update(
        CompressionFormat="GZIP"
    ),
    "SizeInMBs < 64": lambda d: d.update(BufferingHints={"SizeInMBs": 63}),
    "no InputFormatConfiguration": lambda d: conversion(d).pop("InputFormatConfiguration"),
    "no OutputFormatConfiguration": lambda d: conversion(d).pop("OutputFormatConfiguration"),
    "no SchemaConfiguration": lambda d: conversion(d).pop("SchemaConfiguration"),
    "no Deserializer": lambda d: conversion(d)["InputFormatConfiguration"].update(Deserializer={}),
    "no Serializer": lambda d: conversion(d)["OutputFormatConfiguration"].update(Serializer={}),
    "both deserializers": lambda d: conversion(d)["InputFormatConfiguration"].update(
        Deserializer={"OpenXJsonSerDe": {}, "HiveJsonSerDe": {}}
    ),
    "RoleARN/DatabaseName/TableName empty": lambda d: conversion(d)["SchemaConfiguration"].update(
        RoleARN=""
    ),
}


@pytest.mark.parametrize("rule", VECTOR["precedence"], ids=lambda rule: rule["when"])
def test_probed_messages(rule: dict[str, Any]) -> None:
    code, message = refusal(changed(BREAKERS[rule["when"]]))
    assert code == "InvalidArgumentException"
    if "message" in rule:
        assert message == rule["message"].replace("<RoleArn|DatabaseName|TableName>", "RoleArn")
    else:
        assert message.startswith(rule["message_prefix"])


def test_probed_order() -> None:
    # Deserializer and Serializer are inside members that the earlier rules remove.
    independent = [rule["when"] for rule in VECTOR["precedence"] if rule["when"] in BREAKERS]
    for first, second in itertools.pairwise(independent):
        if {first, second} == {"no Serializer", "both deserializers"}:
            continue
        try:
            both = changed(BREAKERS[second], BREAKERS[first])
        except KeyError:
            both = changed(BREAKERS[first])
        assert refusal(both) == refusal(changed(BREAKERS[first])), (first, second)


def both_serializers(destination: dict[str, Any]) -> None:
    output = conversion(destination)["OutputFormatConfiguration"]
    output["Serializer"] = {"ParquetSerDe": {}, "OrcSerDe": {}}


def without_schema_member(member: str) -> Change:
    return lambda destination: conversion(destination)["SchemaConfiguration"].pop(member)


@pytest.mark.parametrize("case_id", ["F19", "F20", "F21", "F22", "F23"])
def test_every_reported_message_is_produced(case_id: str) -> None:
    cases = {case["id"]: case["reported"] for case in lines("firehose_reported.jsonl")}
    reported = cases[case_id]
    expected = reported.get("messages") or reported.get("order") or [reported["message"]]
    members = [without_schema_member(name) for name in ("RoleARN", "DatabaseName", "TableName")]
    breakers = [*BREAKERS.values(), both_serializers, *members]
    assert set(expected) <= {refusal(changed(breaker))[1] for breaker in breakers}


@pytest.mark.parametrize("member", ["RoleARN", "DatabaseName", "TableName"])
def test_empty_and_missing_schema_members(member: str) -> None:
    shown = {"RoleARN": "RoleArn"}.get(member, member)
    for change in (
        lambda d: conversion(d)["SchemaConfiguration"].update({member: ""}),
        lambda d: conversion(d)["SchemaConfiguration"].pop(member),
    ):
        message = f"SchemaConfiguration.{shown} must not be null or empty"
        assert refusal(changed(change)) == ("InvalidArgumentException", message)


def test_violated_constraints_are_reported_first_and_together() -> None:
    def several(destination: dict[str, Any]) -> None:
        destination["CompressionFormat"] = "GZIP"
        destination["BufferingHints"] = {"SizeInMBs": 200}
        conversion(destination)["OutputFormatConfiguration"]["Serializer"]["ParquetSerDe"] = {
            "BlockSizeBytes": 1,
            "Compression": "ZSTD",
        }

    code, message = refusal(changed(several))
    shape = "extendedS3DestinationConfiguration"
    serde = f"{shape}.dataFormatConversionConfiguration.outputFormatConfiguration.serializer"
    assert code == "ValidationException"
    assert message == (
        f"3 validation errors detected: Value at '{shape}.bufferingHints.sizeInMBs' failed to "
        "satisfy constraint: Member must have value less than or equal to 128; "
        f"Value at '{serde}.parquetSerDe.blockSizeBytes' failed to satisfy constraint: "
        "Member must have value greater than or equal to 67108864; "
        f"Value at '{serde}.parquetSerDe.compression' failed to satisfy constraint: "
        "Member must satisfy enum value set: [SNAPPY, GZIP, UNCOMPRESSED]"
    )


@pytest.mark.parametrize(
    ("change", "path"),
    [
        (lambda d: d.pop("BucketARN"), "bucketARN"),
        (lambda d: d.update(RoleARN="role"), "roleARN"),
        (lambda d: d.update(CompressionFormat="SNAPPY"), "compressionFormat"),
        (lambda d: d.update(BufferingHints={"IntervalInSeconds": 901}), "intervalInSeconds"),
        (lambda d: d.update(Prefix="x" * 1025), "prefix"),
        (lambda d: d.update(FileExtension="parquet"), "fileExtension"),
        (lambda d: conversion(d)["SchemaConfiguration"].update(Region="a b"), "region"),
        (lambda d: conversion(d)["SchemaConfiguration"].update(VersionId=""), "versionId"),
        (
            lambda d: conversion(d)["InputFormatConfiguration"]["Deserializer"][
                "OpenXJsonSerDe"
            ].update(ColumnToJsonKeyMappings={"a b": " "}),
            "columnToJsonKeyMappings",
        ),
    ],
)
def test_one_violated_constraint(change: Change, path: str) -> None:
    code, message = refusal(changed(change))
    assert code == "ValidationException"
    assert "validation error" in message
    assert f"{path}' failed to satisfy constraint: " in message


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda d: d.pop("ErrorOutputPrefix"), "ErrorOutputPrefix cannot be null or empty"),
        (lambda d: d.update(CustomTimeZone="Mars/Olympus"), "Mars/Olympus"),
        (
            lambda d: conversion(d)["OutputFormatConfiguration"].update(
                Serializer={"OrcSerDe": {}}
            ),
            "OrcSerDe is not supported here",
        ),
        (
            lambda d: conversion(d)["InputFormatConfiguration"].update(
                Deserializer={"HiveJsonSerDe": {"TimestampFormats": ["yyyy-qq"]}}
            ),
            "Invalid deserializer option(s): ",
        ),
    ],
)
def test_other_refusals(change: Change, message: str) -> None:
    code, text = refusal(changed(change))
    assert code == "InvalidArgumentException"
    assert message in text
