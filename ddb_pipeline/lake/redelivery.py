"""Redelivery: the records of an error object are converted again and become rows of the lake.

Any number of redeliveries may work on one error object at a time, with different columns, and each
may stop at any step. What they do is decided once for each content of the object: the first of
them stores its plan, and all carry out the stored plan, which has one result. Only then is the
error object replaced, if it still has the content that the plan is for. Where a redelivery stopped
and its plan has expired since, the rows that it wrote are replaced by those of the new plan.

A redelivery that stops for hours between two requests, while a compaction removes what another has
written, would write these rows a second time; no row is lost.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

import pyarrow.fs

from ddb_pipeline.errors import DdbPipelineError
from ddb_pipeline.firehose.error_objects import read_error_object
from ddb_pipeline.hive.names import EVENT_ID
from ddb_pipeline.hive.type_decisions import NO_DECISIONS, TypeDecisions
from ddb_pipeline.hive.types import Column
from ddb_pipeline.lake import conditional
from ddb_pipeline.lake.archive import archive, content_id
from ddb_pipeline.lake.hour_generations import hour_objects
from ddb_pipeline.lake.layout import REDELIVERED_NAME, STATE_PREFIX, DeliveryHour
from ddb_pipeline.lake.objects import StoredObject
from ddb_pipeline.lake.parquet_objects import file_columns
from ddb_pipeline.lake.redelivery_plan import (
    CORRUPT_LINE,
    RedeliveryPlan,
    convert_object,
    packed_events,
)
from ddb_pipeline.lake.root import LakeRoot

if TYPE_CHECKING:
    from mypy_boto3_s3.client import S3Client

PLAN_PREFIX = f"{STATE_PREFIX}redelivery-plans/"
"""Plans, each needed for as long as a redelivery of its content may still run. A lifecycle rule of
the bucket deletes them after a week."""
ROWS_ATTEMPTS = 5


class RedeliveryConflictError(DdbPipelineError):
    """Another writer changes the rows of a redelivery; the message names the object."""


@dataclass(frozen=True, slots=True)
class ObjectRedelivery:
    """The result of the redelivery of one error object.

    Attributes:
        key: the error object's key.
        rows: number of rows written.
        landed_before: number of documents that were rows of the lake before.
        reasons: the records and lines that stay in the error object, counted by error code.
        etag: the ETag of what stays in the error object; empty where it is gone, or where another
            writer has changed it meanwhile.
    """

    key: str
    rows: int = 0
    landed_before: int = 0
    reasons: Mapping[str, int] = field(default_factory=dict)
    etag: str = ""

    @property
    def failed(self) -> int:
        """Number of records that still fail and stay in the error object."""
        return sum(count for code, count in self.reasons.items() if code != CORRUPT_LINE)


def redeliver(
    s3: "S3Client",
    filesystem: pyarrow.fs.FileSystem,
    lake: LakeRoot,
    stored: StoredObject,
    columns: Sequence[Column],
    decisions: TypeDecisions = NO_DECISIONS,
) -> ObjectRedelivery:
    """Convert an error object's records with ``columns`` and write the rows to the lake.

    Records that fail again, and lines that cannot be read, stay in the error object. Where nothing
    can be converted, nothing is written.
    """
    found = conditional.read_if_exists(s3, lake, stored.key)
    if found is None:
        return ObjectRedelivery(stored.key)
    content = read_error_object(found.content)
    version = content_id(stored.key, found.content)
    name = f"{REDELIVERED_NAME}{version}.parquet"
    events, hours = packed_events(content.records, found.modified_at)
    landed = _landed_events(s3, filesystem, lake, events, hours, own_name=name)
    plan = RedeliveryPlan(tuple(columns), landed, found.modified_at, decisions)
    converted = convert_object(content, plan)
    plan_key = f"{PLAN_PREFIX}{version}.json"
    stored_plan = _stored_plan(s3, lake, plan_key, plan, is_needed=converted.changes_something)
    if stored_plan is None:
        return ObjectRedelivery(stored.key, reasons=converted.reasons, etag=found.etag)
    if stored_plan != plan:
        converted = convert_object(content, stored_plan)
    for hour in converted.hours:
        if hour.parquet is not None:
            _write_rows(s3, lake, f"{hour.hour.prefix}{name}", hour.parquet)
    archive(s3, lake, stored.key, found.content)
    etag = conditional.leave(s3, lake, stored.key, converted.rest, found.etag)
    return ObjectRedelivery(
        stored.key,
        rows=converted.rows,
        landed_before=converted.landed_before,
        reasons=converted.reasons,
        etag=etag,
    )


def _stored_plan(
    s3: "S3Client", lake: LakeRoot, key: str, plan: RedeliveryPlan, *, is_needed: bool
) -> RedeliveryPlan | None:
    """The plan that all redeliveries of a content carry out: this one, unless another is stored.

    Returns None where no plan is stored and none is needed.
    """
    if is_needed and conditional.create(s3, lake, key, plan.render()):
        return plan
    found = conditional.read_if_exists(s3, lake, key)
    return None if found is None else RedeliveryPlan.parse(found.content)


def _write_rows(s3: "S3Client", lake: LakeRoot, key: str, parquet: bytes) -> None:
    """Write the rows of the stored plan in place of those of a plan that has expired.

    Raises:
        RedeliveryConflictError: others write this object again and again.
    """
    for _ in range(ROWS_ATTEMPTS):
        if conditional.create(s3, lake, key, parquet):
            return
        found = conditional.read_if_exists(s3, lake, key)
        if found is None:
            continue
        if found.content == parquet:
            return
        if conditional.replace(s3, lake, key, parquet, found.etag):
            return
    raise RedeliveryConflictError(
        f"The object {key} changes all the time. Stop what writes it, then redeliver again."
    )


def _landed_events(
    s3: "S3Client",
    filesystem: pyarrow.fs.FileSystem,
    lake: LakeRoot,
    events: frozenset[str],
    hours: frozenset[DeliveryHour],
    *,
    own_name: str,
) -> frozenset[str]:
    """Those of ``events`` with a row in these hours, except in the redelivery's own objects."""
    if not events:
        return frozenset()
    keys = [
        key
        for hour in sorted(hours)
        for key in hour_objects(s3, lake, hour).keys(hour)
        if not key.endswith(own_name)
    ]
    landed: set[str] = set()
    for table in file_columns(filesystem, lake, keys, [EVENT_ID]):
        if EVENT_ID in table.column_names:
            landed |= events.intersection(table.column(EVENT_ID).to_pylist())
    return frozenset(landed)
