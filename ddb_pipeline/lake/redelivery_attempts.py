"""What redelivery remembers: which error objects failed, under which schema, and why.

A small JSON object for each folder of error objects, and one index of all folders. They only save
work: a missing entry has an object read again, and all of them may be deleted at any time.
"""

import json
from collections import Counter
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from ddb_pipeline.lake import conditional
from ddb_pipeline.lake.layout import STATE_PREFIX
from ddb_pipeline.lake.objects import StoredObject
from ddb_pipeline.lake.root import LakeRoot

if TYPE_CHECKING:
    from mypy_boto3_s3.client import S3Client

ATTEMPTS_PREFIX = f"{STATE_PREFIX}redelivery-attempts/"
INDEX_KEY = f"{ATTEMPTS_PREFIX}index.json"
ANY_SCHEMA = "*"
"""In place of a schema: no schema makes a row of what the object holds."""
LONGEST_REASON = 100
MOST_REASONS = 20
OTHER_REASONS = "other"
WRITE_ATTEMPTS = 5

Reasons = Mapping[str, int]
"""Numbers of records by error code."""


@dataclass(frozen=True, slots=True)
class Attempt:
    """The last redelivery of an error object: its content then, the schema, what still failed."""

    etag: str
    schema: str
    reasons: Reasons = field(default_factory=dict)

    def covers(self, stored: StoredObject, schema: str) -> bool:
        """Whether a redelivery of the object under the schema would fail as this one did."""
        return self.etag == stored.etag and self.schema in (schema, ANY_SCHEMA)


@dataclass(frozen=True, slots=True)
class FolderSummary:
    """A folder's error objects in numbers.

    Attributes:
        schema: that under which all of them were tried; empty where some were not.
        objects: number of error objects that were tried.
        reasons: what still fails in them.
    """

    schema: str
    objects: int
    reasons: Reasons


def summarise(attempts: Mapping[str, Attempt], schema: str) -> FolderSummary:
    """The summary of a folder; ``schema`` as in the summary."""
    reasons = total_reasons(attempt.reasons for attempt in attempts.values())
    return FolderSummary(schema, len(attempts), reasons)


def total_reasons(found: Iterable[Reasons]) -> Counter[str]:
    """Sum numbers of records, by at most ``MOST_REASONS`` reasons."""
    total: Counter[str] = Counter()
    for reasons in found:
        for reason, count in reasons.items():
            short = reason[:LONGEST_REASON]
            known = short in total or len(total) < MOST_REASONS - 1
            total[short if known else OTHER_REASONS] += count
    return total


def read_attempts(s3: "S3Client", lake: LakeRoot, folder: str) -> dict[str, Attempt]:
    """The last attempts on the objects of a folder, by object key."""
    return _attempts(_read(s3, lake, _folder_key(folder))[0])


def write_attempts(
    s3: "S3Client", lake: LakeRoot, folder: str, tried: Mapping[str, Attempt], gone: Iterable[str]
) -> dict[str, Attempt]:
    """Store the attempts on objects of a folder, without the objects that are gone.

    Returns all attempts on objects of the folder.
    """
    missing = frozenset(gone)

    def merge(data: Any) -> Any:
        merged = {**_attempts(data), **tried}
        return {
            key: [a.etag, a.schema, a.reasons] for key, a in merged.items() if key not in missing
        }

    return _attempts(_update(s3, lake, _folder_key(folder), merge))


def read_index(s3: "S3Client", lake: LakeRoot) -> dict[str, FolderSummary]:
    """The summaries of all folders that a redelivery has visited."""
    return _summaries(_read(s3, lake, INDEX_KEY)[0])


def write_index(
    s3: "S3Client", lake: LakeRoot, visited: Mapping[str, FolderSummary], folders: Iterable[str]
) -> dict[str, FolderSummary]:
    """Store the summaries of visited folders, and forget those that are not among ``folders``.

    The attempts on objects of forgotten folders are deleted. Returns all summaries.
    """
    present = frozenset(folders)
    forgotten: set[str] = set()

    def merge(data: Any) -> Any:
        merged = {**_summaries(data), **visited}
        forgotten.update(merged.keys() - present)
        return {f: [s.schema, s.objects, s.reasons] for f, s in merged.items() if f in present}

    index = _summaries(_update(s3, lake, INDEX_KEY, merge))
    for folder in forgotten:
        s3.delete_object(Bucket=lake.bucket, Key=lake.object_key(_folder_key(folder)))
    return index


def _folder_key(folder: str) -> str:
    return f"{ATTEMPTS_PREFIX}{folder}attempts.json"


def _attempts(data: Any) -> dict[str, Attempt]:
    return {key: Attempt(*entry) for key, entry in data.items()}


def _summaries(data: Any) -> dict[str, FolderSummary]:
    return {folder: FolderSummary(*entry) for folder, entry in data.items()}


def _read(s3: "S3Client", lake: LakeRoot, key: str) -> tuple[Any, str]:
    """The JSON object of a key and its ETag; an empty one where there is none or it is no JSON."""
    found = conditional.read_if_exists(s3, lake, key)
    if found is None:
        return {}, ""
    try:
        data = json.loads(found.content)
    except ValueError:
        data = None
    return (data if isinstance(data, dict) else {}), found.etag


def _update(s3: "S3Client", lake: LakeRoot, key: str, merge: Callable[[Any], Any]) -> Any:
    """Merge into what is stored, again where another run has written meanwhile."""
    merged: Any = {}
    for _ in range(WRITE_ATTEMPTS):
        data, etag = _read(s3, lake, key)
        merged = merge(data)
        body = json.dumps(merged, separators=(",", ":")).encode("ascii")
        if merged == data:
            break
        if not merged:
            conditional.delete(s3, lake, key, etag)
            break
        if etag and conditional.replace(s3, lake, key, body, etag):
            break
        if not etag and conditional.create(s3, lake, key, body):
            break
    return merged
