"""Firehose with record format conversion: buffered, typed by the catalog, nothing dropped.

Streams without conversion stay ministack's. The others keep their records in the stream's own
state until they are delivered, so that a restart loses none.
"""

import base64
import binascii
import logging
import threading
import time
from collections.abc import Callable, Mapping, Sequence
from datetime import datetime, timezone
from functools import partial
from typing import Any

from botocore.exceptions import BotoCoreError, ClientError

from ddb_pipeline.conversion.convert import ConvertedBatch, convert, fail_all
from ddb_pipeline.conversion.options import ConversionOptions, PackedFailure
from ddb_pipeline.embedded.clients import shared_client
from ddb_pipeline.embedded.process import Endpoint
from ddb_pipeline.embedded.services.firehose.configuration import (
    ConfigurationError,
    DeliveryConfiguration,
    SchemaReference,
    delivery_configuration,
)
from ddb_pipeline.embedded.services.firehose.prefix import (
    evaluate_error_output_prefix,
    evaluate_prefix,
    object_key,
)
from ddb_pipeline.embedded.services.request_scope import request_scope
from ddb_pipeline.firehose.error_objects import DataCatalogTable, FailedRecord, write_error_object
from ddb_pipeline.hive.types import Column

Response = tuple[int, dict[str, str], bytes]

PACKED_FAILURE_TAG = "ddb-pipeline:packed-failure"
"""Tag of a delivery stream: ``record`` (the default) or ``document``, as in ConversionOptions."""
MAX_RECORDS = 500
MAX_BATCH_BYTES = 4 * 1024 * 1024
MAX_RECORD_BYTES = 1_024_000
POLL_SECONDS = 0.2
RETRY_SECONDS = 2.0
MEBIBYTE = 1024 * 1024
BUFFER = "buffered"

logger = logging.getLogger("ddb_pipeline.embedded.firehose")

_stopped = threading.Event()
_delivering = threading.Lock()
_endpoint = ""
_threads: list[threading.Thread] = []


def install(endpoint: str) -> None:
    """Put buffering and conversion into ministack's Firehose service."""
    global _endpoint
    _endpoint = endpoint
    from ministack.services import firehose

    _install_configuration(firehose)
    _install_puts(firehose)


def resume() -> None:
    """Begin to deliver what is due."""
    thread = threading.Thread(target=_deliver_when_due, name="firehose-delivery", daemon=True)
    _threads.append(thread)
    thread.start()


def suspend() -> None:
    """Stop delivering, once what is under way is done."""
    _stopped.set()
    with _delivering:
        pass


def _refused(code: str, message: str) -> Response:
    from ministack.core.responses import error_response_json

    response: Response = error_response_json(code, message, 400)
    return response


def with_numbers(destination: Mapping[str, Any]) -> dict[str, Any]:
    """CloudFormation passes numbers as text; the API's own requests already have numbers."""

    def numbers(value: Any) -> Any:
        if isinstance(value, dict):
            return {
                key: int(inner) if key in _NUMBERS and str(inner).isdecimal() else numbers(inner)
                for key, inner in value.items()
            }
        return value

    converted: dict[str, Any] = numbers(dict(destination))
    return converted


_NUMBERS = frozenset(
    ("SizeInMBs", "IntervalInSeconds", "BlockSizeBytes", "PageSizeBytes", "MaxPaddingBytes")
)


def _converting(destination: Mapping[str, Any]) -> bool:
    conversion = destination.get("DataFormatConversionConfiguration")
    return conversion is not None and conversion.get("Enabled", True) is not False


def _install_configuration(firehose: Any) -> None:
    created, updated = firehose._create_delivery_stream, firehose._update_destination

    def create(data: dict[str, Any]) -> Response:
        member = "ExtendedS3DestinationConfiguration"
        destination = data.get(member)
        if destination is not None and _converting(destination):
            data = {**data, member: with_numbers(destination)}
            refused = _checked(data[member], "extendedS3DestinationConfiguration")
            if refused:
                return refused
        response: Response = created(data)
        return response

    def update(data: dict[str, Any]) -> Response:
        member = "ExtendedS3DestinationUpdate"
        change = data.get(member)
        if change is not None:
            data = {**data, member: with_numbers(change)}
            stream = firehose._streams.get(data.get("DeliveryStreamName"))
            before = stream["destinations"][0]["config"] if stream else {}
            merged = {**before, **data[member]}
            refused = (
                _checked(merged, "extendedS3DestinationUpdate") if _converting(merged) else None
            )
            if refused:
                return refused
        response: Response = updated(data)
        return response

    firehose._create_delivery_stream = create
    firehose._update_destination = update
    firehose._HANDLERS["CreateDeliveryStream"] = create
    firehose._HANDLERS["UpdateDestination"] = update


def _checked(destination: Mapping[str, Any], shape: str) -> Response | None:
    try:
        configuration = delivery_configuration(destination, shape=shape)
    except ConfigurationError as error:
        return _refused(error.code, error.message)
    conversion = configuration.conversion
    if conversion is not None and catalog_columns(conversion.schema) is None:
        schema = conversion.schema
        return _refused(
            "InvalidArgumentException",
            "Unable to read the schema from Glue. EntityNotFoundException: Table "
            f"{schema.database_name}.{schema.table_name} not found.",
        )
    return None


def catalog_columns(schema: SchemaReference) -> tuple[Column, ...] | None:
    """The table's columns at the configured version; None where it is not there."""
    from ministack.services import glue

    key = f"{schema.database_name}/{schema.table_name}"
    table = glue._tables.get(key)
    if table is not None and schema.version_id != "LATEST":
        versions = glue._ALL_STATE["table_versions"].get(key) or []
        table = next((v for v in versions if v["VersionId"] == schema.version_id), None)
    if table is None:
        return None
    entries = table["StorageDescriptor"].get("Columns") or []
    return tuple(Column(entry["Name"], entry.get("Type") or "string") for entry in entries)


def _install_puts(firehose: Any) -> None:
    put_record, put_batch = firehose._put_record, firehose._put_record_batch

    def buffering(name: str) -> dict[str, Any] | None:
        stream: dict[str, Any] | None = firehose._streams.get(name)
        if stream is None or not stream["destinations"]:
            return None
        return stream if _converting(stream["destinations"][0]["config"]) else None

    def put(data: dict[str, Any]) -> Response:
        from ministack.core.responses import json_response

        stream = buffering(data.get("DeliveryStreamName", ""))
        if stream is None:
            response: Response = put_record(data)
            return response
        try:
            decoded = [_decoded(data.get("Record", {}), "record.data")]
        except ValueError as error:
            return _refused("InvalidArgumentException", str(error))
        (identity,) = _accept(firehose, stream, decoded)
        answer: Response = json_response({"RecordId": identity, "Encrypted": False})
        return answer

    def put_records(data: dict[str, Any]) -> Response:
        from ministack.core.responses import json_response

        stream = buffering(data.get("DeliveryStreamName", ""))
        records = data.get("Records") or []
        if stream is None or not records:
            response: Response = put_batch(data)
            return response
        if len(records) > MAX_RECORDS:
            return _refused(
                "ValidationException",
                "1 validation error detected: Value at 'records' failed to satisfy constraint: "
                "Member must have length less than or equal to 500",
            )
        try:
            decoded = [_decoded(r, f"records.{i}.member.data") for i, r in enumerate(records, 1)]
        except ValueError as error:
            return _refused("ValidationException", str(error))
        if sum(map(len, decoded)) > MAX_BATCH_BYTES:
            return _refused("InvalidArgumentException", "Records size exceeds 4 MB limit")
        identities = _accept(firehose, stream, decoded)
        answer: Response = json_response(
            {
                "FailedPutCount": 0,
                "Encrypted": False,
                "RequestResponses": [{"RecordId": identity} for identity in identities],
            }
        )
        return answer

    firehose._HANDLERS["PutRecord"] = put
    firehose._HANDLERS["PutRecordBatch"] = put_records


def _decoded(record: Mapping[str, Any], member: str) -> bytes:
    try:
        data = base64.b64decode(record.get("Data", ""), validate=True)
    except binascii.Error:
        raise ValueError(f"{member} is not base64") from None
    if len(data) > MAX_RECORD_BYTES:
        raise ValueError(
            f"1 validation error detected: Value at '{member}' failed to satisfy constraint: "
            "Member must have length less than or equal to 1024000"
        )
    return data


def _accept(firehose: Any, stream: dict[str, Any], records: Sequence[bytes]) -> list[str]:
    now = int(time.time() * 1000)
    entries = [
        {"id": firehose._record_id(), "data": base64.b64encode(r).decode("ascii"), "at": now}
        for r in records
    ]
    with firehose._lock:
        stream.setdefault(BUFFER, []).extend(entries)
    return [entry["id"] for entry in entries]


def _deliver_when_due() -> None:
    from ministack.services import firehose

    while not _stopped.wait(POLL_SECONDS):
        for (account, region, _), stream in list(firehose._streams._data.items()):
            if not stream.get(BUFFER):
                continue
            with _delivering, request_scope(account, region):
                try:
                    deliver_due(firehose, stream, time.time())
                except (ClientError, BotoCoreError) as error:
                    logger.warning("Delivery of %s is tried again: %s", stream["name"], error)
                    time.sleep(RETRY_SECONDS)


def deliver_due(firehose: Any, stream: dict[str, Any], now: float) -> None:
    """Deliver the stream's buffer if its interval is over or its size reached."""
    configuration = delivery_configuration(stream["destinations"][0]["config"])
    with firehose._lock:
        entries = list(stream[BUFFER])
    size = sum(len(entry["data"]) for entry in entries) * 3 // 4
    hints = configuration.buffering
    old = now - entries[0]["at"] / 1000 >= hints.interval_in_seconds
    if not old and size < hints.size_in_mbs * MEBIBYTE:
        return
    _deliver(configuration, stream, entries)
    with firehose._lock:
        del stream[BUFFER][: len(entries)]


def _deliver(
    configuration: DeliveryConfiguration, stream: Mapping[str, Any], entries: list[dict[str, Any]]
) -> None:
    """One Parquet object, and one error object for what could not be converted."""
    conversion = configuration.conversion
    if conversion is None:
        return
    records = [base64.b64decode(entry["data"]) for entry in entries]
    columns = catalog_columns(conversion.schema)
    if columns is None:
        converted = table_not_found(records, conversion.schema)
    else:
        options = ConversionOptions(
            deserializer=conversion.deserializer,
            parquet=conversion.serializer,
            packed_failure=packed_failure(stream),
        )
        converted = convert(records, columns, options)
    arrival = datetime.fromtimestamp(entries[0]["at"] / 1000, tz=timezone.utc)
    s3 = shared_client(Endpoint(_endpoint), "s3")
    key: Callable[..., str] = partial(
        object_key,
        delivery_stream=stream["name"],
        version_id=str(stream["version"]),
        arrival=arrival,
        time_zone=configuration.time_zone,
    )
    if converted.parquet is not None:
        prefix = evaluate_prefix(configuration.prefix, arrival, time_zone=configuration.time_zone)
        s3.put_object(Bucket=configuration.bucket, Key=key(prefix), Body=converted.parquet)
    if converted.failures:
        prefix = evaluate_error_output_prefix(
            configuration.prefix,
            configuration.error_output_prefix,
            arrival,
            time_zone=configuration.time_zone,
        )
        s3.put_object(
            Bucket=configuration.bucket,
            Key=key(prefix, extension=""),
            Body=write_error_object(_failed(converted, conversion.schema, entries, records)),
        )


def table_not_found(records: Sequence[bytes], schema: SchemaReference) -> ConvertedBatch:
    """A batch whose catalog table is gone: every record fails, none is lost.

    The service refuses to create a delivery stream without its table (InvalidArgumentException
    around Glue's EntityNotFoundException). What it reports for one deleted later is not documented;
    this is Glue's error under the prefix of all conversion errors.
    """
    return fail_all(
        records,
        "DataFormatConversion.EntityNotFoundException",
        f"Table {schema.database_name}.{schema.table_name} was not found in the Data Catalog.",
    )


def packed_failure(stream: Mapping[str, Any]) -> PackedFailure:
    """What a bad document of a packed record costs: by the stream's tag, as AWS does not tell."""
    wanted = stream.get("tags", {}).get(PACKED_FAILURE_TAG, "record")
    return "document" if wanted == "document" else "record"


def _failed(
    converted: ConvertedBatch,
    schema: SchemaReference,
    entries: Sequence[Mapping[str, Any]],
    records: Sequence[bytes],
) -> list[FailedRecord]:
    now = int(time.time() * 1000)
    table = DataCatalogTable(
        catalog_id=schema.catalog_id,
        database_name=schema.database_name,
        table_name=schema.table_name,
        region=schema.region,
        version_id=schema.version_id,
        role_arn=schema.role_arn,
    )
    return [
        FailedRecord(
            raw_data=records[failure.index],
            error_code=failure.code,
            error_message=failure.message,
            arrival_timestamp=entries[failure.index]["at"],
            attempt_ending_timestamp=now,
            attempts_made=1,
            sequence_number=entries[failure.index]["id"],
            data_catalog_table=table,
        )
        for failure in converted.failures
    ]
