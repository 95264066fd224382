"""How far the stream is reconciled, stored from one run to the next."""

import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from ddb_pipeline.lake import conditional
from ddb_pipeline.lake.identity_partitions import Expected, Rows
from ddb_pipeline.lake.layout import STATE_PREFIX
from ddb_pipeline.lake.root import LakeRoot

if TYPE_CHECKING:
    from mypy_boto3_s3.client import S3Client

RETENTION_SECONDS = 24 * 3600.0
"""How long a stream keeps a record (Amazon DynamoDB developer guide, "DynamoDB Streams")."""
STATE_KEY = f"{STATE_PREFIX}reconciliation.json"


@dataclass(frozen=True, slots=True)
class ShardPosition:
    """How far a shard was read.

    Attributes:
        last: the sequence number of the last record read; None where there was none.
        finished: whether the shard has ended and all of it was read.
    """

    last: int | None = None
    finished: bool = False


@dataclass(frozen=True, slots=True)
class ReconciliationState:
    """What is reconciled.

    Attributes:
        stream_arn: the stream; the state is of no use for another.
        shards: how far each shard was read.
        until: changes before this moment were read, epoch seconds; 0 where none were.
        missing: changes that were in none of the places where changes are.
        early: rows whose changes were not read yet.
        read_objects: the Parquet objects that were read and that the next run would find again,
            with the moment of their last change, epoch seconds.
        forgotten: changes that stayed missing until the stream forgot them, in all runs.
    """

    stream_arn: str
    shards: Mapping[str, ShardPosition] = field(default_factory=dict)
    until: float = 0.0
    missing: tuple[Expected, ...] = ()
    early: tuple[Rows, ...] = ()
    read_objects: Mapping[str, float] = field(default_factory=dict)
    forgotten: int = 0

    def needs_rows_since(self, now: float) -> float:
        """The rows that a run at ``now`` or later reads were written after this moment.

        It looks for changes that were missing, and for those that the stream still has.
        """
        oldest = min((each.moment for each in self.missing), default=now)
        return min(oldest, now - RETENTION_SECONDS) - 2 * 3600.0

    def render(self) -> bytes:
        """The state as JSON."""
        return json.dumps(
            {
                "streamArn": self.stream_arn,
                "shards": {name: [s.last, s.finished] for name, s in self.shards.items()},
                "until": self.until,
                "missing": [[m.digest, m.moment, m.event_id, m.count] for m in self.missing],
                "early": [[e.digest, e.moment, e.count] for e in self.early],
                "readObjects": dict(self.read_objects),
                "forgotten": self.forgotten,
            },
            separators=(",", ":"),
        ).encode("ascii")

    @classmethod
    def parse(cls, text: bytes) -> "ReconciliationState":
        """Read what :meth:`render` wrote."""
        data: Any = json.loads(text)
        return cls(
            data["streamArn"],
            {name: ShardPosition(*position) for name, position in data["shards"].items()},
            data["until"],
            tuple(Expected(*entry) for entry in data["missing"]),
            tuple(Rows(*entry) for entry in data["early"]),
            data["readObjects"],
            data["forgotten"],
        )


def read_state(s3: "S3Client", lake: LakeRoot, stream_arn: str) -> tuple[ReconciliationState, str]:
    """The state of a stream and the ETag of its object; a new state where there is none."""
    found = conditional.read_if_exists(s3, lake, STATE_KEY)
    if found is None:
        return ReconciliationState(stream_arn), ""
    try:
        state = ReconciliationState.parse(found.content)
    except (ValueError, KeyError, TypeError):
        return ReconciliationState(stream_arn), found.etag
    is_this_streams = state.stream_arn == stream_arn
    return (state if is_this_streams else ReconciliationState(stream_arn)), found.etag


def write_state(s3: "S3Client", lake: LakeRoot, state: ReconciliationState, etag: str) -> str:
    """Store the state unless another run has stored one since.

    Returns the new ETag; an empty text where another run has.
    """
    if etag:
        return conditional.replace(s3, lake, STATE_KEY, state.render(), etag) or ""
    return conditional.create(s3, lake, STATE_KEY, state.render()) or ""
