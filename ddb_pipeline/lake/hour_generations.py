"""Generations: the compacted files of a delivery hour, and which of them is the current one.

An hour's generations lie beside each other, in a folder each. One small object names the current
generation, its files, their types, and the raw objects whose rows it holds; writing that object
commits a generation. A generation is never changed: a later one replaces it.
"""

import json
from collections.abc import Sequence
from dataclasses import dataclass
from hashlib import sha256
from typing import TYPE_CHECKING, Any

from ddb_pipeline.errors import DdbPipelineError
from ddb_pipeline.hive.types import Column
from ddb_pipeline.lake import conditional
from ddb_pipeline.lake.layout import DeliveryHour
from ddb_pipeline.lake.objects import StoredObject, list_objects
from ddb_pipeline.lake.root import LakeRoot
from ddb_pipeline.parquet.parts import Part

if TYPE_CHECKING:
    from mypy_boto3_s3.client import S3Client

CURRENT = "_current.json"
"""The name of the object that names the current generation. Readers of Parquet ignore names that
begin with an underscore."""
_DIGEST_DIGITS = 24


class GenerationError(DdbPipelineError):
    """The object that names an hour's current generation cannot be read."""


@dataclass(frozen=True, slots=True)
class Generation:
    """The compacted files of one delivery hour.

    Attributes:
        number: 1 for the first generation of the hour.
        folder: the name of its folder, unique for each attempt to write one.
        files: its files; their paths are relative to the folder.
        columns: the columns of all its files.
        sources: digests of the raw objects whose rows it holds.
        repeats: repeated rows that were left out, since the first generation.
        compacted_at: epoch seconds.
    """

    number: int
    folder: str
    files: tuple[Part, ...]
    columns: tuple[Column, ...]
    sources: frozenset[str]
    repeats: int
    compacted_at: float

    @property
    def rows(self) -> int:
        """Number of rows of all files."""
        return sum(part.rows for part in self.files)

    @property
    def size(self) -> int:
        """Bytes of all files."""
        return sum(part.size for part in self.files)

    def prefix(self, hour: DeliveryHour) -> str:
        """The prefix of its files."""
        return f"{hour.compacted_prefix}{self.folder}/"

    def keys(self, hour: DeliveryHour) -> list[str]:
        """The keys of its files, in the order of the rows."""
        return [self.prefix(hour) + part.path for part in self.files]

    def holds(self, stored: StoredObject) -> bool:
        """Whether it has the rows of a raw object."""
        return source_digest(stored) in self.sources

    def render(self) -> bytes:
        """The generation as JSON."""
        return json.dumps(
            {
                "number": self.number,
                "folder": self.folder,
                "files": [[part.path, part.rows, part.size] for part in self.files],
                "columns": [list(column) for column in self.columns],
                "sources": sorted(self.sources),
                "repeats": self.repeats,
                "compactedAt": self.compacted_at,
            },
            separators=(",", ":"),
        ).encode("ascii")

    @classmethod
    def parse(cls, text: bytes) -> "Generation":
        """Read what :meth:`render` wrote."""
        data: Any = json.loads(text)
        return cls(
            data["number"],
            data["folder"],
            tuple(Part(*entry) for entry in data["files"]),
            tuple(Column(*entry) for entry in data["columns"]),
            frozenset(data["sources"]),
            data["repeats"],
            data["compactedAt"],
        )


@dataclass(frozen=True, slots=True)
class HourObjects:
    """The Parquet objects that hold the rows of an hour: each row once, but for repeats.

    Attributes:
        generation: the current generation; None where the hour was not compacted.
        raw: the raw objects whose rows the generation does not hold.
    """

    generation: Generation | None
    raw: tuple[StoredObject, ...]

    def keys(self, hour: DeliveryHour) -> list[str]:
        """The keys of all objects, those of the generation first."""
        compacted = self.generation.keys(hour) if self.generation else []
        return [*compacted, *(stored.key for stored in self.raw)]


def source_digest(stored: StoredObject) -> str:
    """Identifies a raw object with its content."""
    return sha256(f"{stored.key}\0{stored.etag}".encode()).hexdigest()[:_DIGEST_DIGITS]


def hour_objects(s3: "S3Client", lake: LakeRoot, hour: DeliveryHour) -> HourObjects:
    """Where the rows of an hour are, also while it is compacted or its raw objects are removed."""
    # Listed first: what is then missing of the list is in the generation that is read after it.
    raw = tuple(list_objects(s3, lake, hour.prefix))
    generation, _ = read_generation(s3, lake, hour)
    return HourObjects(generation, uncovered(raw, generation))


def uncovered(
    raw: Sequence[StoredObject], generation: Generation | None
) -> tuple[StoredObject, ...]:
    """The raw objects whose rows a generation does not hold, the one written first at the head."""
    found = [o for o in raw if generation is None or not generation.holds(o)]
    return tuple(sorted(found, key=lambda stored: (stored.modified_at, stored.key)))


def current_key(hour: DeliveryHour) -> str:
    """The key of the object that names an hour's current generation."""
    return hour.compacted_prefix + CURRENT


def read_generation(
    s3: "S3Client", lake: LakeRoot, hour: DeliveryHour
) -> tuple[Generation | None, str]:
    """The current generation of an hour and the ETag of the object that names it; None, empty.

    Raises:
        GenerationError: the object cannot be read.
    """
    found = conditional.read_if_exists(s3, lake, current_key(hour))
    if found is None:
        return None, ""
    try:
        return Generation.parse(found.content), found.etag
    except (ValueError, KeyError, TypeError) as error:
        raise GenerationError(
            f"{lake.uri(current_key(hour))} does not name a generation ({error}). Restore it; "
            "while the raw objects of the hour exist, it may also be deleted, and the hour "
            "compacted again."
        ) from error


def commit_generation(
    s3: "S3Client", lake: LakeRoot, hour: DeliveryHour, generation: Generation, etag: str
) -> bool:
    """Make a generation the current one, unless another was committed since ``etag`` was read.

    Returns whether it is the current one.
    """
    key, body = current_key(hour), generation.render()
    if etag:
        written = conditional.replace(s3, lake, key, body, etag)
    else:
        written = conditional.create(s3, lake, key, body)
    if written:
        return True
    # The response to a write may be lost, and the request sent again.
    found, _ = read_generation(s3, lake, hour)
    return found is not None and found.folder == generation.folder
