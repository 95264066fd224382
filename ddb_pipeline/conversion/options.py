"""How records are converted: the members of Firehose's SerDes under Python names."""

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
    """OpenXJsonSerDe's members under Python names."""

    case_insensitive: bool = True
    convert_dots: bool = False
    column_to_json_key: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class HiveJsonOptions:
    """HiveJsonSerDe's members. Formats are Joda patterns, or ``millis``."""

    timestamp_formats: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class ParquetOptions:
    """ParquetSerDe's members. Block size is the row group size in bytes."""

    compression: Compression = "SNAPPY"
    block_size_bytes: int = DEFAULT_BLOCK_SIZE_BYTES
    page_size_bytes: int = DEFAULT_PAGE_SIZE_BYTES
    enable_dictionary_compression: bool = False
    writer_version: WriterVersion = "V1"
    max_padding_bytes: int = 0


@dataclass(frozen=True, slots=True)
class ConversionOptions:
    """How a delivery stream converts.

    ``packed_failure``: when one document of a record that packs several is bad, ``"record"`` fails
    the whole record and ``"document"`` lands its good documents and reports the record too. What
    Firehose does is not documented. ``decimals`` is the OpenX SerDe's.
    ``fast_path`` off converts everything record by record.
    """

    deserializer: OpenXOptions | HiveJsonOptions = field(default_factory=OpenXOptions)
    parquet: ParquetOptions = field(default_factory=ParquetOptions)
    packed_failure: PackedFailure = "record"
    decimals: Literal["refuse", "convert"] = "refuse"
    fast_path: bool = True
