"""The chain of exports that has a table's changes: a full export, and incremental ones after it.

It is stored in the lake's bucket from one run to the next. Each window begins where the one before
it has ended, so that no change is in none of them.
"""

import json
from dataclasses import dataclass, replace
from datetime import datetime
from typing import TYPE_CHECKING, Final

from ddb_pipeline.errors import DdbPipelineError
from ddb_pipeline.lake import conditional
from ddb_pipeline.lake.layout import STATE_PREFIX
from ddb_pipeline.lake.root import LakeRoot

if TYPE_CHECKING:
    from mypy_boto3_s3.client import S3Client

STATE_KEY: Final = f"{STATE_PREFIX}change-exports.json"


class ChangeChainError(DdbPipelineError):
    """The stored chain cannot be used; the message says what to do."""


@dataclass(frozen=True, slots=True)
class ChangeChain:
    """How far a table's changes are exported.

    Attributes:
        full_export: the id of the full export that the chain begins with.
        since: its time.
        until: the end of the last window whose export is finished.
    """

    full_export: str
    since: datetime
    until: datetime

    def to_json(self) -> bytes:
        """The chain as a JSON object."""
        document = {
            "full_export": self.full_export,
            "since": self.since.isoformat(),
            "until": self.until.isoformat(),
        }
        return json.dumps(document).encode()

    @classmethod
    def from_json(cls, text: bytes) -> "ChangeChain":
        """The chain in the text that ``to_json`` returned.

        Raises:
            KeyError, TypeError, ValueError: it is another text.
        """
        document = json.loads(text)
        since, until = (datetime.fromisoformat(document[name]) for name in ("since", "until"))
        if since.tzinfo is None or until.tzinfo is None:
            raise ValueError("a time has no time zone")
        return cls(str(document["full_export"]), since, until)


def read_chain(s3: "S3Client", lake: LakeRoot) -> ChangeChain | None:
    """The stored chain of a lake's bucket; None where there is none yet.

    Raises:
        ChangeChainError: the object is damaged.
    """
    stored = conditional.read_if_exists(s3, lake, STATE_KEY)
    return None if stored is None else _parsed(lake, stored.content)


def _parsed(lake: LakeRoot, content: bytes) -> ChangeChain:
    try:
        return ChangeChain.from_json(content)
    except (KeyError, TypeError, ValueError) as error:
        raise ChangeChainError(
            f"{lake.uri(STATE_KEY)} is not a chain of exports: {error!r}. Delete it: a new "
            "chain then begins with a full export."
        ) from error


def begin_chain(s3: "S3Client", lake: LakeRoot, chain: ChangeChain) -> None:
    """Store a new chain in place of any other."""
    s3.put_object(Bucket=lake.bucket, Key=lake.object_key(STATE_KEY), Body=chain.to_json())


def extend_chain(s3: "S3Client", lake: LakeRoot, start: datetime, end: datetime) -> bool:
    """Store that the export of a window is finished.

    Returns whether the window is part of the stored chain now. It is not where it begins after the
    chain's end, or another run stored a new chain meanwhile.

    Raises:
        ChangeChainError: the stored chain is damaged.
    """
    while True:
        stored = conditional.read_if_exists(s3, lake, STATE_KEY)
        if stored is None:
            return False
        chain = _parsed(lake, stored.content)
        if not chain.since <= start <= chain.until:
            return False
        if end <= chain.until:
            return True
        body = replace(chain, until=end).to_json()
        if conditional.replace(s3, lake, STATE_KEY, body, stored.etag) is not None:
            return True
