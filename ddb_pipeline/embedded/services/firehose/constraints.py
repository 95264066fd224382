"""The service model's constraints on an ExtendedS3DestinationConfiguration.

AWS checks these before anything else and reports all violations in one message: serializer first,
then deserializer, then schema, in the order below (third-party probes of the service). They apply
to a disabled conversion too.
"""

import re
from collections.abc import Iterator, Mapping, Sequence
from typing import Any, Final

_COMPRESSION_FORMATS: Final = ("ZIP", "HADOOP_SNAPPY", "Snappy", "GZIP", "UNCOMPRESSED")
_PARQUET_COMPRESSIONS: Final = ("SNAPPY", "GZIP", "UNCOMPRESSED")
_WRITER_VERSIONS: Final = ("V1", "V2")
_NO_WHITESPACE: Final = r"^\S+$"
_NOT_BLANK: Final = r"^(?!\s*$).+"
_FILE_EXTENSION: Final = r"^(|\.[0-9a-z!\-_.*'()]+)$"
_BUCKET_ARN: Final = r"arn:.*:s3:::[\w\.\-]{1,255}"
_ROLE_ARN: Final = r"arn:.*:iam::\d{12}:role/[a-zA-Z_0-9+=,.@\-_/]+"
_MAX_TEXT: Final = 1024

_CONVERSION: Final = "dataFormatConversionConfiguration"
_PARQUET: Final = f"{_CONVERSION}.outputFormatConfiguration.serializer.parquetSerDe"
_OPENX: Final = f"{_CONVERSION}.inputFormatConfiguration.deserializer.openXJsonSerDe"
_HIVE: Final = f"{_CONVERSION}.inputFormatConfiguration.deserializer.hiveJsonSerDe"
# Where these are empty, AWS reports the semantic check's message instead.
_REQUIRED_OF_SCHEMA: Final = ("RoleARN", "DatabaseName", "TableName")
_SCHEMA: Final = f"{_CONVERSION}.schemaConfiguration"


def constraint_violations(destination: Mapping[str, Any], shape: str) -> list[str]:
    """Return AWS's message for each violated constraint; ``shape`` is the name of the member."""
    return [
        f"Value at '{shape}.{member}' failed to satisfy constraint: {constraint}"
        for member, constraint in _violations(destination)
    ]


def _violations(destination: Mapping[str, Any]) -> Iterator[tuple[str, str]]:
    yield from _required(destination, "RoleARN", "roleARN", _ROLE_ARN)
    yield from _required(destination, "BucketARN", "bucketARN", _BUCKET_ARN)
    yield from _enum(
        "compressionFormat", destination.get("CompressionFormat"), _COMPRESSION_FORMATS
    )
    yield from _buffering(destination.get("BufferingHints"))
    yield from _prefixes(destination)
    yield from _file_extension(destination.get("FileExtension"))
    conversion = destination.get("DataFormatConversionConfiguration") or {}
    serializer = (conversion.get("OutputFormatConfiguration") or {}).get("Serializer") or {}
    deserializer = (conversion.get("InputFormatConfiguration") or {}).get("Deserializer") or {}
    yield from _parquet(serializer.get("ParquetSerDe") or {})
    yield from _mappings(deserializer.get("OpenXJsonSerDe") or {})
    yield from _timestamp_formats(deserializer.get("HiveJsonSerDe") or {})
    yield from _schema(conversion.get("SchemaConfiguration") or {})


def _required(
    destination: Mapping[str, Any], member: str, path: str, pattern: str
) -> Iterator[tuple[str, str]]:
    value = destination.get(member)
    if value is None:
        yield path, "Member must not be null"
    elif not re.fullmatch(pattern, value, re.ASCII):
        yield path, f"Member must satisfy regular expression pattern: {pattern}"


def _buffering(hints: Mapping[str, Any] | None) -> Iterator[tuple[str, str]]:
    given = hints or {}
    yield from _range("bufferingHints.sizeInMBs", given.get("SizeInMBs"), 1, 128)
    yield from _range("bufferingHints.intervalInSeconds", given.get("IntervalInSeconds"), 0, 900)


def _prefixes(destination: Mapping[str, Any]) -> Iterator[tuple[str, str]]:
    for member, path in (("Prefix", "prefix"), ("ErrorOutputPrefix", "errorOutputPrefix")):
        value = destination.get(member)
        if value is not None and len(value) > _MAX_TEXT:
            yield path, f"Member must have length less than or equal to {_MAX_TEXT}"


def _file_extension(value: str | None) -> Iterator[tuple[str, str]]:
    if value is None:
        return
    if len(value) > 128:
        yield "fileExtension", "Member must have length less than or equal to 128"
    elif not re.fullmatch(_FILE_EXTENSION, value, re.ASCII):
        pattern = f"Member must satisfy regular expression pattern: {_FILE_EXTENSION}"
        yield "fileExtension", pattern


def _parquet(serde: Mapping[str, Any]) -> Iterator[tuple[str, str]]:
    yield from _range(f"{_PARQUET}.maxPaddingBytes", serde.get("MaxPaddingBytes"), 0)
    yield from _range(f"{_PARQUET}.blockSizeBytes", serde.get("BlockSizeBytes"), 67_108_864)
    yield from _range(f"{_PARQUET}.pageSizeBytes", serde.get("PageSizeBytes"), 65_536)
    yield from _enum(f"{_PARQUET}.compression", serde.get("Compression"), _PARQUET_COMPRESSIONS)
    yield from _enum(f"{_PARQUET}.writerVersion", serde.get("WriterVersion"), _WRITER_VERSIONS)


def _mappings(serde: Mapping[str, Any]) -> Iterator[tuple[str, str]]:
    mappings = serde.get("ColumnToJsonKeyMappings") or {}
    path = f"{_OPENX}.columnToJsonKeyMappings"
    if not all(_fits(key, _NO_WHITESPACE) for key in mappings):
        yield path, f"Map keys must satisfy constraint: {_constraint_set(_NO_WHITESPACE)}"
    if not all(_fits(value, _NOT_BLANK) for value in mappings.values()):
        yield path, f"Map value must satisfy constraint: {_constraint_set(_NOT_BLANK)}"


def _timestamp_formats(serde: Mapping[str, Any]) -> Iterator[tuple[str, str]]:
    formats = serde.get("TimestampFormats") or ()
    if not all(_fits(pattern, _NOT_BLANK) for pattern in formats):
        yield (
            f"{_HIVE}.timestampFormats",
            f"Member must satisfy constraint: {_constraint_set(_NOT_BLANK)}",
        )


def _schema(schema: Mapping[str, Any]) -> Iterator[tuple[str, str]]:
    for member, path in (
        ("VersionId", "versionId"),
        ("CatalogId", "catalogId"),
        ("DatabaseName", "databaseName"),
        ("RoleARN", "roleARN"),
        ("Region", "region"),
        ("TableName", "tableName"),
    ):
        value = schema.get(member)
        if value is None or (not value and member in _REQUIRED_OF_SCHEMA):
            continue
        if not value:
            yield f"{_SCHEMA}.{path}", "Member must have length greater than or equal to 1"
        elif len(value) > _MAX_TEXT:
            yield f"{_SCHEMA}.{path}", f"Member must have length less than or equal to {_MAX_TEXT}"
        if not re.fullmatch(_NO_WHITESPACE, value, re.ASCII):
            yield (
                f"{_SCHEMA}.{path}",
                f"Member must satisfy regular expression pattern: {_NO_WHITESPACE}",
            )


def _fits(value: str | None, pattern: str) -> bool:
    return (
        value is not None
        and 1 <= len(value) <= _MAX_TEXT
        and re.fullmatch(pattern, value, re.ASCII) is not None
    )


def _constraint_set(pattern: str) -> str:
    return (
        f"[Member must have length less than or equal to {_MAX_TEXT}, "
        "Member must have length greater than or equal to 1, "
        f"Member must satisfy regular expression pattern: {pattern}]"
    )


def _range(
    path: str, value: int | None, minimum: int, maximum: int | None = None
) -> Iterator[tuple[str, str]]:
    if value is None:
        return
    if value < minimum:
        yield path, f"Member must have value greater than or equal to {minimum}"
    elif maximum is not None and value > maximum:
        yield path, f"Member must have value less than or equal to {maximum}"


def _enum(path: str, value: str | None, values: Sequence[str]) -> Iterator[tuple[str, str]]:
    if value is not None and value not in values:
        yield path, f"Member must satisfy enum value set: [{', '.join(values)}]"
