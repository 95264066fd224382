"""A delivery stream's destination configuration: checked as AWS checks it, then parsed.

``delivery_configuration`` takes the ExtendedS3DestinationConfiguration of a CreateDeliveryStream
call and returns the parsed configuration with its defaults. It refuses what AWS refuses, in AWS's
order and words: first the constraints of the service model (ValidationException, all of them in
one message), then the semantic checks (InvalidArgumentException, the first one only). Limits are
those of the Firehose service model of 2015-08-04; messages and their order come from third-party
probes of the service.
"""

import re
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import tzinfo
from typing import Any, Final, cast

from ddb_pipeline.conversion.options import (
    DEFAULT_BLOCK_SIZE_BYTES,
    DEFAULT_PAGE_SIZE_BYTES,
    Compression,
    HiveJsonOptions,
    OpenXOptions,
    ParquetOptions,
    WriterVersion,
)
from ddb_pipeline.conversion.serde.joda_time import TimestampFormat, TimestampFormatError
from ddb_pipeline.embedded.services.firehose.constraints import constraint_violations
from ddb_pipeline.embedded.services.firehose.prefix import (
    PrefixError,
    resolve_time_zone,
    validate_prefixes,
)

MIN_SIZE_IN_MBS: Final = 64
DEFAULT_SIZE_IN_MBS: Final = 128
DEFAULT_INTERVAL_IN_SECONDS: Final = 300
LATEST: Final = "LATEST"

_NUMBER_MEMBERS: Final = frozenset(
    ("SizeInMBs", "IntervalInSeconds", "BlockSizeBytes", "PageSizeBytes", "MaxPaddingBytes")
)
_BUCKET_ARN: Final = re.compile(r"arn:[^:]*:s3:::([\w.\-]{1,255})\Z")


class ConfigurationError(ValueError):
    """A configuration that AWS refuses, with the API's error code and message."""

    def __init__(self, code: str, message: str) -> None:
        self.code = code
        self.message = message
        super().__init__(message)


@dataclass(frozen=True, slots=True)
class BufferingHints:
    """A delivery is due at this size or after this interval, whichever is first."""

    size_in_mbs: int = DEFAULT_SIZE_IN_MBS
    interval_in_seconds: int = DEFAULT_INTERVAL_IN_SECONDS


@dataclass(frozen=True, slots=True)
class SchemaReference:
    """The catalog table whose columns are the conversion's; ``version_id`` may be LATEST."""

    database_name: str
    table_name: str
    role_arn: str
    region: str | None = None
    version_id: str = LATEST
    catalog_id: str | None = None


@dataclass(frozen=True, slots=True)
class ConversionConfiguration:
    """An enabled DataFormatConversionConfiguration."""

    schema: SchemaReference
    deserializer: OpenXOptions | HiveJsonOptions
    serializer: ParquetOptions


@dataclass(frozen=True, slots=True)
class DeliveryConfiguration:
    """The parsed configuration; ``conversion`` is None where it is not enabled."""

    bucket: str
    prefix: str | None
    error_output_prefix: str | None
    buffering: BufferingHints
    time_zone: tzinfo
    conversion: ConversionConfiguration | None


def delivery_configuration(
    destination: Mapping[str, Any], *, shape: str = "extendedS3DestinationConfiguration"
) -> DeliveryConfiguration:
    """Check and parse an ExtendedS3DestinationConfiguration.

    Args:
        destination: the request's member, with numbers as numbers (see ``with_numbers``).
        shape: the member's name in AWS's constraint messages.

    Raises:
        ConfigurationError: AWS refuses the configuration, or it has an OrcSerDe, which AWS accepts
            and the embedded Firehose does not support.
    """
    violations = constraint_violations(destination, shape)
    if violations:
        plural = "" if len(violations) == 1 else "s"
        raise ConfigurationError(
            "ValidationException",
            f"{len(violations)} validation error{plural} detected: {'; '.join(violations)}",
        )
    conversion = _enabled(destination.get("DataFormatConversionConfiguration"))
    if conversion is not None:
        _check_conversion(destination, conversion)
    prefix, error_output_prefix = destination.get("Prefix"), destination.get("ErrorOutputPrefix")
    try:
        validate_prefixes(prefix, error_output_prefix)
        time_zone = resolve_time_zone(destination.get("CustomTimeZone"))
    except PrefixError as error:
        raise _invalid(str(error)) from error
    return DeliveryConfiguration(
        bucket=_bucket(destination["BucketARN"]),
        prefix=prefix,
        error_output_prefix=error_output_prefix,
        buffering=_buffering(destination.get("BufferingHints"), converting=conversion is not None),
        time_zone=time_zone,
        conversion=None if conversion is None else _conversion(conversion),
    )


def is_converting(destination: Mapping[str, Any]) -> bool:
    """Return whether the destination enables record format conversion."""
    return _enabled(destination.get("DataFormatConversionConfiguration")) is not None


def with_numbers(destination: Mapping[str, Any]) -> dict[str, Any]:
    """Return the destination with numbers as numbers, which CloudFormation passes as text."""
    converted = dict(destination)
    for name, value in converted.items():
        if isinstance(value, Mapping):
            converted[name] = with_numbers(value)
        elif name in _NUMBER_MEMBERS and str(value).isdecimal():
            converted[name] = int(value)
    return converted


def _invalid(message: str) -> ConfigurationError:
    return ConfigurationError("InvalidArgumentException", message)


def _enabled(conversion: Mapping[str, Any] | None) -> Mapping[str, Any] | None:
    """Return the configuration unless it is disabled; without ``Enabled`` it is enabled."""
    return None if conversion is None or conversion.get("Enabled") is False else conversion


def _check_conversion(destination: Mapping[str, Any], conversion: Mapping[str, Any]) -> None:
    if destination.get("CompressionFormat", "UNCOMPRESSED") != "UNCOMPRESSED":
        raise _invalid(
            "The S3 destination's compression format must be set to UNCOMPRESSED when data format "
            "conversion is enabled. To enable compression within the converted output format, set "
            "the appropriate serialization option in the output format configuration."
        )
    size = (destination.get("BufferingHints") or {}).get("SizeInMBs")
    if size is not None and size < MIN_SIZE_IN_MBS:
        raise _invalid(
            f"BufferingHints.SizeInMBs must be at least {MIN_SIZE_IN_MBS} when data format "
            "conversion is enabled."
        )
    for member in ("InputFormatConfiguration", "OutputFormatConfiguration", "SchemaConfiguration"):
        if conversion.get(member) is None:
            raise _invalid(f"{member} must not be null")
    deserializer = conversion["InputFormatConfiguration"].get("Deserializer")
    _check_one_of("Deserializer", deserializer, ("OpenXJsonSerDe", "HiveJsonSerDe"))
    serializer = conversion["OutputFormatConfiguration"].get("Serializer")
    _check_one_of("Serializer", serializer, ("ParquetSerDe", "OrcSerDe"))
    if serializer.get("OrcSerDe") is not None:
        raise _invalid("OrcSerDe is not supported here: convert with ParquetSerDe")
    _check_timestamp_formats(deserializer)
    schema = conversion["SchemaConfiguration"]
    for member, shown in (
        ("RoleARN", "RoleArn"),
        ("DatabaseName", "DatabaseName"),
        ("TableName", "TableName"),
    ):
        if not schema.get(member):
            raise _invalid(f"SchemaConfiguration.{shown} must not be null or empty")


def _check_timestamp_formats(deserializer: Mapping[str, Any]) -> None:
    for pattern in (deserializer.get("HiveJsonSerDe") or {}).get("TimestampFormats") or ():
        try:
            TimestampFormat(pattern)
        except TimestampFormatError as error:
            raise _invalid(f"Invalid deserializer option(s): {error}") from error


def _check_one_of(union: str, value: Mapping[str, Any] | None, members: tuple[str, ...]) -> None:
    given = [member for member in members if (value or {}).get(member) is not None]
    if not given:
        raise _invalid(f"{union} must not be null")
    if len(given) > 1:
        raise _invalid(f"More than one {union.lower()} specified. Only one may be chosen.")


def _bucket(arn: str) -> str:
    match = _BUCKET_ARN.match(arn)
    if match is None:
        raise _invalid(f"BucketARN {arn!r} is not the ARN of an S3 bucket")
    return match.group(1)


def _buffering(hints: Mapping[str, Any] | None, *, converting: bool) -> BufferingHints:
    given = hints or {}
    default_size = DEFAULT_SIZE_IN_MBS if converting else 5
    return BufferingHints(
        size_in_mbs=given.get("SizeInMBs", default_size),
        interval_in_seconds=given.get("IntervalInSeconds", DEFAULT_INTERVAL_IN_SECONDS),
    )


def _conversion(conversion: Mapping[str, Any]) -> ConversionConfiguration:
    schema = conversion["SchemaConfiguration"]
    deserializer = conversion["InputFormatConfiguration"]["Deserializer"]
    return ConversionConfiguration(
        schema=SchemaReference(
            database_name=schema["DatabaseName"],
            table_name=schema["TableName"],
            role_arn=schema["RoleARN"],
            region=schema.get("Region"),
            version_id=schema.get("VersionId") or LATEST,
            catalog_id=schema.get("CatalogId"),
        ),
        deserializer=_deserializer(deserializer),
        serializer=_parquet(conversion["OutputFormatConfiguration"]["Serializer"]["ParquetSerDe"]),
    )


def _deserializer(deserializer: Mapping[str, Any]) -> OpenXOptions | HiveJsonOptions:
    openx = deserializer.get("OpenXJsonSerDe")
    if openx is None:
        formats = deserializer["HiveJsonSerDe"].get("TimestampFormats") or ()
        return HiveJsonOptions(timestamp_formats=tuple(formats))
    return OpenXOptions(
        case_insensitive=openx.get("CaseInsensitive") is not False,
        convert_dots=bool(openx.get("ConvertDotsInJsonKeysToUnderscores")),
        column_to_json_key=dict(openx.get("ColumnToJsonKeyMappings") or {}),
    )


def _parquet(serde: Mapping[str, Any]) -> ParquetOptions:
    return ParquetOptions(
        compression=cast(Compression, serde.get("Compression") or "SNAPPY"),
        block_size_bytes=serde.get("BlockSizeBytes") or DEFAULT_BLOCK_SIZE_BYTES,
        page_size_bytes=serde.get("PageSizeBytes") or DEFAULT_PAGE_SIZE_BYTES,
        enable_dictionary_compression=bool(serde.get("EnableDictionaryCompression")),
        writer_version=cast(WriterVersion, serde.get("WriterVersion") or "V1"),
        max_padding_bytes=serde.get("MaxPaddingBytes") or 0,
    )
