"""Options of record format conversion: the members of Firehose's SerDes under Python names."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Final, Literal

DEFAULT_BLOCK_SIZE_BYTES: Final = 256 * 1024 * 1024
DEFAULT_PAGE_SIZE_BYTES: Final = 1024 * 1024

Compression = Literal["SNAPPY", "GZIP", "UNCOMPRESSED"]
WriterVersion = Literal["V1", "V2"]
PackedFailure = Literal["record", "document"]


@dataclass(frozen=True, slots=True)
class OpenXOptions:
    """The members of OpenXJsonSerDe."""

    case_insensitive: bool = True
    convert_dots: bool = False
    column_to_json_key: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class HiveJsonOptions:
    """The members of HiveJsonSerDe; a format is a Joda-Time pattern or ``millis``."""

    timestamp_formats: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class ParquetOptions:
    """The members of ParquetSerDe; the block size is the size of a row group in bytes."""

    compression: Compression = "SNAPPY"
    block_size_bytes: int = DEFAULT_BLOCK_SIZE_BYTES
    page_size_bytes: int = DEFAULT_PAGE_SIZE_BYTES
    enable_dictionary_compression: bool = False
    writer_version: WriterVersion = "V1"
    max_padding_bytes: int = 0


@dataclass(frozen=True, slots=True)
class ConversionOptions:
    """How a delivery stream converts records.

    Attributes:
        deserializer: options of the SerDe that reads the documents.
        parquet: options of the Parquet object.
        packed_failure: the effect of one bad document in a record of several. ``"record"`` fails
            the whole record; ``"document"`` converts the good documents and reports the record as
            failed too. Firehose's documentation does not say which of them it does.
        decimals: as in OpenXJsonSerDe.
        fast_path: False converts every record by the exact path.
    """

    deserializer: OpenXOptions | HiveJsonOptions = field(default_factory=OpenXOptions)
    parquet: ParquetOptions = field(default_factory=ParquetOptions)
    packed_failure: PackedFailure = "record"
    decimals: Literal["refuse", "convert"] = "refuse"
    fast_path: bool = True


DELIVERY_OPTIONS: Final = ConversionOptions(OpenXOptions(case_insensitive=False))
"""The options of the delivery stream in the deployment template."""
