"""What a delivery stream writes: one Parquet object, and one error object for failed records."""

import base64
import time
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timezone
from typing import Any

from ddb_pipeline.conversion.convert import ConvertedBatch, RecordFailure, convert, fail_all
from ddb_pipeline.conversion.options import ConversionOptions, PackedFailure
from ddb_pipeline.embedded.services.firehose.configuration import (
    BufferingHints,
    ConversionConfiguration,
    DeliveryConfiguration,
    SchemaReference,
)
from ddb_pipeline.embedded.services.firehose.prefix import (
    PARQUET_EXTENSION,
    evaluate_error_output_prefix,
    evaluate_prefix,
    object_key,
)
from ddb_pipeline.firehose.error_objects import DataCatalogTable, FailedRecord, write_error_object
from ddb_pipeline.hive.types import Column

PACKED_FAILURE_TAG = "ddb-pipeline:packed-failure"
"""Tag of a delivery stream: ``record`` (the default) or ``document``, as in ConversionOptions."""

MEBIBYTE = 1024 * 1024


@dataclass(frozen=True, slots=True)
class BufferedRecord:
    """A record that was put and is not delivered yet.

    Attributes:
        record_id: the identifier that the producer got.
        data: the record, decoded.
        arrival_millis: when it was put, in milliseconds of the Unix epoch.
    """

    record_id: str
    data: bytes
    arrival_millis: int

    def to_state(self) -> dict[str, Any]:
        """Return the record as it is saved."""
        text = base64.b64encode(self.data).decode("ascii")
        return {"id": self.record_id, "data": text, "at": self.arrival_millis}

    @classmethod
    def of_state(cls, entry: Mapping[str, Any]) -> "BufferedRecord":
        """Return the record that was saved as ``entry``."""
        return cls(entry["id"], base64.b64decode(entry["data"]), entry["at"])


def is_due(entries: Sequence[Mapping[str, Any]], hints: BufferingHints, now: float) -> bool:
    """Return whether the oldest record has waited for the interval, or the size is reached.

    Args:
        entries: the buffered records as they are saved, the oldest first.
        hints: the interval and the size.
        now: seconds of the Unix epoch.
    """
    if now - entries[0]["at"] / 1000 >= hints.interval_in_seconds:
        return True
    return sum(len(entry["data"]) for entry in entries) * 3 // 4 >= hints.size_in_mbs * MEBIBYTE


def delivery_objects(
    stream: Mapping[str, Any],
    configuration: DeliveryConfiguration,
    records: Sequence[BufferedRecord],
    columns: Sequence[Column] | None,
) -> Iterator[tuple[str, bytes]]:
    """Yield the key and body of each object that a delivery writes.

    Args:
        stream: the delivery stream's state.
        configuration: the configuration of its destination. It has no conversion if that was
            switched off after the records were put; they are delivered as they are then.
        records: the records to deliver, the oldest first.
        columns: the columns of the catalog table; None where the table does not exist.
    """
    conversion, zone = configuration.conversion, configuration.time_zone
    arrival = datetime.fromtimestamp(records[0].arrival_millis / 1000, tz=timezone.utc)
    name, version = stream["name"], str(stream["version"])
    if conversion is None:
        prefix = evaluate_prefix(configuration.prefix, arrival, time_zone=zone)
        key = object_key(prefix, name, version, arrival, time_zone=zone)
        yield key, b"".join(record.data for record in records)
        return
    converted = _converted(stream, conversion, [record.data for record in records], columns)
    if converted.parquet is not None:
        prefix = evaluate_prefix(configuration.prefix, arrival, time_zone=zone)
        key = object_key(prefix, name, version, arrival, time_zone=zone)
        yield key + PARQUET_EXTENSION, converted.parquet
    if converted.failures:
        prefix = evaluate_error_output_prefix(
            configuration.prefix, configuration.error_output_prefix, arrival, time_zone=zone
        )
        key = object_key(prefix, name, version, arrival, time_zone=zone)
        table = _data_catalog_table(conversion.schema)
        failed = [_failed_record(f, records[f.index], table) for f in converted.failures]
        yield key, write_error_object(failed)


def _converted(
    stream: Mapping[str, Any],
    conversion: ConversionConfiguration,
    records: Sequence[bytes],
    columns: Sequence[Column] | None,
) -> ConvertedBatch:
    if columns is None:
        return table_not_found(records, conversion.schema)
    # AWS does not document which of the two it does, so a tag decides.
    packed_failure: PackedFailure = (
        "document" if stream.get("tags", {}).get(PACKED_FAILURE_TAG) == "document" else "record"
    )
    options = ConversionOptions(
        deserializer=conversion.deserializer,
        parquet=conversion.serializer,
        packed_failure=packed_failure,
    )
    return convert(records, columns, options)


def table_not_found(records: Sequence[bytes], schema: SchemaReference) -> ConvertedBatch:
    """Return a batch of which every record failed, because its catalog table does not exist.

    The service refuses to create a delivery stream without its table (InvalidArgumentException
    around Glue's EntityNotFoundException). What it reports for one deleted later is not documented;
    this is Glue's error under the prefix of all conversion errors.
    """
    return fail_all(
        records,
        "DataFormatConversion.EntityNotFoundException",
        f"Table {schema.database_name}.{schema.table_name} was not found in the Data Catalog.",
    )


def _data_catalog_table(schema: SchemaReference) -> DataCatalogTable:
    return DataCatalogTable(
        catalog_id=schema.catalog_id,
        database_name=schema.database_name,
        table_name=schema.table_name,
        region=schema.region,
        version_id=schema.version_id,
        role_arn=schema.role_arn,
    )


def _failed_record(
    failure: RecordFailure, record: BufferedRecord, table: DataCatalogTable
) -> FailedRecord:
    return FailedRecord(
        raw_data=record.data,
        error_code=failure.code,
        error_message=failure.message,
        arrival_timestamp=record.arrival_millis,
        attempt_ending_timestamp=int(time.time() * 1000),
        attempts_made=1,
        sequence_number=record.record_id,
        data_catalog_table=table,
    )
