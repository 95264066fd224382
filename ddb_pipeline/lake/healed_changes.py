"""Net changes of an export, on their way into the change log to heal a gap.

They are written as error objects, an hour's changes in each, which redelivery makes rows of: it
waits for columns that are missing, and never adds an event twice. An event's id follows from the
item's key and the time of its last write, so that the same change has the same id in every export.
"""

import json
from collections import defaultdict
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from hashlib import sha256
from typing import TYPE_CHECKING, Any, Final

from ddb_pipeline.dynamodb.stream import StreamRecord
from ddb_pipeline.export.layout import ItemChange
from ddb_pipeline.firehose.error_objects import FailedRecord, write_error_object
from ddb_pipeline.hive.names import HEALED
from ddb_pipeline.lake.error_folders import day_at
from ddb_pipeline.lake.layout import ERROR_PREFIX, DeliveryHour
from ddb_pipeline.lake.root import LakeRoot

if TYPE_CHECKING:
    from mypy_boto3_s3.client import S3Client

HEALED_KIND: Final = "healed-changes"
"""The directory of these error objects."""
HEALED_CODE: Final = "Pipeline.HealedChange"
MAX_CHANGES: Final = 5000
"""Changes in an object."""
MAX_PENDING: Final = 50_000
"""Changes in memory, of all hours."""


def healed_record(change: ItemChange, table: str) -> StreamRecord:
    """An item's net change as a record of the stream, without a sequence number.

    The event's name is that of one change with the same result: an item that the window has
    created and deleted is removed. Its id is to be replaced by ``event_id`` of the keys as they are
    delivered, which may be pseudonyms.
    """
    if change.new_image is None:
        name = "REMOVE"
    else:
        name = "INSERT" if change.old_image is None else "MODIFY"
    return StreamRecord(
        event_id=f"{HEALED}{change.written_micros}",
        event_name=name,
        sequence_number="",
        event_time=change.written_micros // 1000,
        table=table,
        expired=False,
        keys=change.keys,
        new_image=change.new_image,
        old_image=change.old_image,
    )


def event_id(keys: Mapping[str, Any], written_micros: int) -> str:
    """The event id of an item's state that was written at a time."""
    text = json.dumps([sorted(keys.items()), written_micros], separators=(",", ":"))
    digest = sha256(text.encode("utf-8", "surrogatepass")).hexdigest()
    return f"{HEALED}{digest[:32]}"


@dataclass(slots=True)
class HealedChanges:
    """Writes documents of changes to the lake's bucket, hour by hour of the changes.

    Attributes:
        s3, lake: where.
        changes: number of changes added.
        objects: number of objects written.
    """

    s3: "S3Client"
    lake: LakeRoot
    changes: int = 0
    objects: int = 0
    _hours: dict[DeliveryHour, list[tuple[str, FailedRecord]]] = field(
        default_factory=lambda: defaultdict(list)
    )
    _pending: int = 0

    def add(self, record: StreamRecord, document: bytes) -> None:
        """Add a change; ``document`` is what is delivered of it."""
        millis = record.event_time or 0
        hour = DeliveryHour.of(millis / 1000)
        failed = FailedRecord(
            raw_data=document + b"\n",
            error_code=HEALED_CODE,
            error_message="From an incremental export, to heal a gap of the stream.",
            arrival_timestamp=millis,
        )
        self._hours[hour].append((record.event_id, failed))
        self.changes += 1
        self._pending += 1
        if len(self._hours[hour]) >= MAX_CHANGES:
            self._write(hour)
        elif self._pending >= MAX_PENDING:
            self.flush()

    def flush(self) -> None:
        """Write what is pending."""
        for hour in list(self._hours):
            self._write(hour)

    def _write(self, hour: DeliveryHour) -> None:
        found = self._hours.pop(hour)
        self._pending -= len(found)
        self.s3.put_object(
            Bucket=self.lake.bucket,
            Key=self.lake.object_key(object_key(hour, (event for event, _ in found))),
            Body=write_error_object(record for _, record in found),
        )
        self.objects += 1


def object_key(hour: DeliveryHour, event_ids: Iterable[str]) -> str:
    """The key of an object with these changes: the same ones overwrite it."""
    digest = sha256("\n".join(event_ids).encode()).hexdigest()[:32]
    return f"{ERROR_PREFIX}{HEALED_KIND}/{day_at(hour.ends_at - 3600)}/{digest}"
