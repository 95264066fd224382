"""Firehose: delivery streams with record format conversion, which buffer, convert and deliver.

Delivery streams without conversion are ministack's. The others store their records in the state of
the delivery stream until they are delivered, so that a restart loses none.
"""

import base64
import binascii
import logging
import threading
import time
import uuid
from collections.abc import Mapping, Sequence
from typing import Any

from botocore.exceptions import BotoCoreError, ClientError

from ddb_pipeline.embedded.clients import shared_client
from ddb_pipeline.embedded.process import Endpoint
from ddb_pipeline.embedded.services.firehose.configuration import (
    ConfigurationError,
    DeliveryConfiguration,
    SchemaReference,
    delivery_configuration,
    is_converting,
    with_numbers,
)
from ddb_pipeline.embedded.services.firehose.delivery import (
    BufferedRecord,
    delivery_objects,
    is_due,
)
from ddb_pipeline.embedded.services.glue.service import Glue
from ddb_pipeline.embedded.services.ministack import (
    Document,
    FirehoseModule,
    Operation,
    ServiceError,
    request_scope,
)
from ddb_pipeline.firehose.delivery import (
    MAX_BYTES_PER_CALL,
    MAX_BYTES_PER_RECORD,
    MAX_RECORDS_PER_CALL,
)
from ddb_pipeline.hive.types import Column

POLL_SECONDS = 0.2
RETRY_SECONDS = 2.0

logger = logging.getLogger("ddb_pipeline.embedded.firehose")


class Firehose:
    """The operations of Firehose on delivery streams that convert records, and their delivery."""

    def __init__(self, endpoint: Endpoint, glue: Glue) -> None:
        self._endpoint = endpoint
        self._glue = glue
        self._ministack = FirehoseModule()
        self._replaced: Mapping[str, Operation] = {}
        self._stopped = threading.Event()
        self._delivering = threading.Lock()

    @property
    def operations(self) -> dict[str, Operation]:
        """The operations by name."""
        return {
            "CreateDeliveryStream": self.create_delivery_stream,
            "UpdateDestination": self.update_destination,
            "PutRecord": self.put_record,
            "PutRecordBatch": self.put_record_batch,
        }

    def install(self) -> None:
        """Answer these operations' requests."""
        self._replaced = self._ministack.replace_operations(self.operations)

    def start(self) -> None:
        """Begin to deliver."""
        threading.Thread(target=self._deliver, name="firehose-delivery", daemon=True).start()

    def stop(self) -> None:
        """End delivery, after the delivery that is in progress."""
        self._stopped.set()
        with self._delivering:
            pass

    def create_delivery_stream(self, request: Document) -> Document:
        """CreateDeliveryStream: refused where AWS refuses the destination of a conversion."""
        member = "ExtendedS3DestinationConfiguration"
        destination = request.get(member)
        if destination is not None and is_converting(destination):
            request = {**request, member: with_numbers(destination)}
            self._check(request[member], "extendedS3DestinationConfiguration")
        return self._replaced["CreateDeliveryStream"](request)

    def update_destination(self, request: Document) -> Document:
        """UpdateDestination: refused where AWS refuses the destination that results."""
        member = "ExtendedS3DestinationUpdate"
        change = request.get(member)
        if change is not None:
            request = {**request, member: with_numbers(change)}
            stream = self._ministack.streams.get(request.get("DeliveryStreamName"))
            current = _destination(stream) or {}
            updated = {**current, **request[member]}
            if is_converting(updated):
                self._check(updated, "extendedS3DestinationUpdate")
        return self._replaced["UpdateDestination"](request)

    def put_record(self, request: Document) -> Document:
        """PutRecord: into the buffer of a delivery stream that converts."""
        stream = self._converting_stream(request)
        if stream is None:
            return self._replaced["PutRecord"](request)
        try:
            records = [_decoded(request.get("Record", {}), "record.data")]
        except ValueError as error:
            raise ServiceError("InvalidArgumentException", str(error)) from error
        (record_id,) = self._buffer(stream, records)
        return {"RecordId": record_id, "Encrypted": False}

    def put_record_batch(self, request: Document) -> Document:
        """PutRecordBatch: into the buffer of a delivery stream that converts, all or none."""
        stream = self._converting_stream(request)
        entries = request.get("Records") or []
        if stream is None or not entries:
            return self._replaced["PutRecordBatch"](request)
        if len(entries) > MAX_RECORDS_PER_CALL:
            raise ServiceError(
                "ValidationException",
                "1 validation error detected: Value at 'records' failed to satisfy constraint: "
                f"Member must have length less than or equal to {MAX_RECORDS_PER_CALL}",
            )
        try:
            records = [
                _decoded(entry, f"records.{number}.member.data")
                for number, entry in enumerate(entries, 1)
            ]
        except ValueError as error:
            raise ServiceError("ValidationException", str(error)) from error
        if sum(map(len, records)) > MAX_BYTES_PER_CALL:
            raise ServiceError("InvalidArgumentException", "Records size exceeds 4 MB limit")
        record_ids = self._buffer(stream, records)
        return {
            "FailedPutCount": 0,
            "Encrypted": False,
            "RequestResponses": [{"RecordId": record_id} for record_id in record_ids],
        }

    def _check(self, destination: Mapping[str, Any], shape: str) -> None:
        """Refuse what Firehose refuses: a faulty destination, a schema that is not in the catalog.

        Args:
            destination: the request's destination.
            shape: the name of the destination's type in error messages.
        """
        try:
            conversion = delivery_configuration(destination, shape=shape).conversion
        except ConfigurationError as error:
            raise ServiceError(error.code, error.message) from error
        if conversion is not None and self._columns(conversion.schema) is None:
            schema = conversion.schema
            raise ServiceError(
                "InvalidArgumentException",
                "Unable to read the schema from Glue. EntityNotFoundException: Table "
                f"{schema.database_name}.{schema.table_name} not found.",
            )

    def _columns(self, schema: SchemaReference) -> tuple[Column, ...] | None:
        """Return the columns of the catalog table; None where it does not exist."""
        table = self._glue.find_table(schema.database_name, schema.table_name, schema.version_id)
        if table is None:
            return None
        columns = table["StorageDescriptor"].get("Columns") or []
        return tuple(Column(column["Name"], column.get("Type") or "string") for column in columns)

    def _converting_stream(self, request: Document) -> Document | None:
        """Return the request's delivery stream; None unless it exists and converts records."""
        stream: Document | None = self._ministack.streams.get(request.get("DeliveryStreamName"))
        destination = _destination(stream)
        return stream if destination is not None and is_converting(destination) else None

    def _buffer(self, stream: Document, records: Sequence[bytes]) -> list[str]:
        """Add records to the delivery stream's buffer and return their identifiers."""
        now = int(time.time() * 1000)
        buffered = [BufferedRecord(f"{now:020d}{uuid.uuid4().hex}", data, now) for data in records]
        with self._ministack.lock:
            stream.setdefault(FirehoseModule.BUFFER, []).extend(
                record.to_state() for record in buffered
            )
        return [record.record_id for record in buffered]

    def _deliver(self) -> None:
        """Deliver what is due, delivery stream by delivery stream, until the service is stopped."""
        while not self._stopped.wait(POLL_SECONDS):
            for account, region, stream in self._ministack.scoped_streams():
                if not stream.get(FirehoseModule.BUFFER):
                    continue
                with self._delivering, request_scope(account, region):
                    try:
                        self._deliver_due(stream)
                    except (ClientError, BotoCoreError, ConfigurationError) as error:
                        logger.warning("Delivery of %s is retried after: %s", stream["name"], error)
                        self._stopped.wait(RETRY_SECONDS)

    def _deliver_due(self, stream: Document) -> None:
        """Write the delivery stream's buffer to S3 if it is due, and remove it from the state."""
        configuration = _configuration(stream)
        with self._ministack.lock:
            entries = list(stream[FirehoseModule.BUFFER])
        if not is_due(entries, configuration.buffering, time.time()):
            return
        records = [BufferedRecord.of_state(entry) for entry in entries]
        conversion = configuration.conversion
        columns = None if conversion is None else self._columns(conversion.schema)
        s3 = shared_client(self._endpoint, "s3")
        for key, body in delivery_objects(stream, configuration, records, columns):
            s3.put_object(Bucket=configuration.bucket, Key=key, Body=body)
        with self._ministack.lock:
            del stream[FirehoseModule.BUFFER][: len(entries)]


def _destination(stream: Mapping[str, Any] | None) -> Mapping[str, Any] | None:
    """Return the destination of a delivery stream as it was requested; None where it has none."""
    if stream is None or not stream["destinations"]:
        return None
    destination: Mapping[str, Any] = stream["destinations"][0]["config"]
    return destination


def _configuration(stream: Mapping[str, Any]) -> DeliveryConfiguration:
    return delivery_configuration(with_numbers(_destination(stream) or {}))


def _decoded(record: Mapping[str, Any], member: str) -> bytes:
    """Return a record's data.

    Raises:
        ValueError: it is not base64, or too long.
    """
    try:
        data = base64.b64decode(record.get("Data", ""), validate=True)
    except binascii.Error:
        raise ValueError(f"{member} is not base64") from None
    if len(data) > MAX_BYTES_PER_RECORD:
        raise ValueError(
            f"1 validation error detected: Value at '{member}' failed to satisfy constraint: "
            f"Member must have length less than or equal to {MAX_BYTES_PER_RECORD}"
        )
    return data
