"""The manifest of a current view: one JSON document that names the files of one version."""

import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from datetime import datetime, timedelta, timezone
from typing import Any, Final

from ddb_pipeline.errors import DdbPipelineError
from ddb_pipeline.hive.types import Column
from ddb_pipeline.lake.current.keys import KeyAttribute

FORMAT: Final = 1
FOLDER: Final = "_current"
"""Folder of everything that is not the view's data. Readers ignore names with an underscore."""
MANIFEST: Final = f"{FOLDER}/manifest.json"
TOMBSTONES: Final = f"{FOLDER}/tombstones/"
MAX_APPLIED: Final = 1000
"""Exports that the manifest remembers, the newest ones."""

EPOCH: Final = datetime(1970, 1, 1, tzinfo=timezone.utc)


class ManifestError(DdbPipelineError):
    """A folder holds something else than a current view, or one of another version."""


@dataclass(frozen=True, slots=True)
class BucketFile:
    """The files of one bucket; paths are relative to the view's folder.

    Attributes:
        path: the Parquet file of the items.
        rows, size: its number of rows, and its size in bytes.
        memory: size of the rows in memory in bytes.
        tombstones_path: the file of the deleted items; empty if there are none.
        tombstones: their number.
        oldest_tombstone: time of the oldest delete, in microseconds of the epoch.
    """

    path: str
    rows: int
    size: int
    memory: int
    tombstones_path: str = ""
    tombstones: int = 0
    oldest_tombstone: int = 0

    @property
    def paths(self) -> tuple[str, ...]:
        """All files."""
        return (self.path, self.tombstones_path) if self.tombstones_path else (self.path,)


@dataclass(frozen=True, slots=True)
class Snapshot:
    """The full export that a state is based on.

    Attributes:
        export: its ARN, or another name.
        time: the moment at which it shows the table, in microseconds of the epoch.
        slack: microseconds before ``time`` from which on changes are newer than its items: 0 for a
            chain of exports, whose times are exact, and more than the inexactness of the stream's
            times where changes come from there.
    """

    export: str
    time: int
    slack: int = 0

    @property
    def position(self) -> int:
        """The place of its items in the order of changes, in microseconds of the epoch."""
        return self.time - self.slack


@dataclass(frozen=True, slots=True)
class AppliedExport:
    """An incremental export that was applied; its window in microseconds of the epoch."""

    export: str
    start: int
    end: int


@dataclass(frozen=True, slots=True)
class TableIdentity:
    """The table of a view: its ARN, and its id, which differs if it was deleted and created."""

    arn: str = ""
    id: str = ""


@dataclass(frozen=True, slots=True)
class Manifest:
    """One version of a current view.

    Attributes:
        version: 0 before the first one, then counted up.
        run: identifies the run that published it.
        key: the key's attributes, in the order of their names; empty while they are not known.
        columns: the item's columns.
        snapshot: the full export that the state is based on; None without one.
        as_of: the moment up to which all changes are applied, in microseconds of the epoch.
        tombstones_from: the time of the oldest delete that is remembered for certain.
        applied: the newest of the incremental exports that were applied.
        marks: what the caller stores with the version, such as which objects it has merged.
        files: by bucket.
        replaced: files of earlier versions, with the time in epoch seconds at which they were
            replaced.
    """

    version: int = 0
    run: str = ""
    table: TableIdentity = TableIdentity()
    key: tuple[KeyAttribute, ...] = ()
    columns: tuple[Column, ...] = ()
    snapshot: Snapshot | None = None
    as_of: int = 0
    tombstones_from: int = 0
    applied: tuple[AppliedExport, ...] = ()
    marks: Mapping[str, Any] = field(default_factory=dict)
    files: tuple[BucketFile, ...] = ()
    replaced: tuple[tuple[str, float], ...] = ()

    @property
    def buckets(self) -> int:
        """Number of buckets."""
        return len(self.files)

    @property
    def rows(self) -> int:
        """Number of items."""
        return sum(file.rows for file in self.files)

    @property
    def paths(self) -> list[str]:
        """The Parquet files of the version, relative to the view's folder."""
        return [file.path for file in self.files]

    @property
    def all_paths(self) -> set[str]:
        """All files of the version but the manifest."""
        return {path for file in self.files for path in file.paths}

    def to_json(self) -> bytes:
        """The manifest as JSON."""
        document = {"format": FORMAT, **asdict(self)}
        document["columns"] = [list(column) for column in self.columns]
        return json.dumps(document, indent=1).encode()

    @classmethod
    def from_json(cls, text: bytes, where: str) -> "Manifest":
        """The manifest from the text that ``to_json`` returned.

        Raises:
            ManifestError: it is another text, or was written by a newer version of the program.
        """
        try:
            document = json.loads(text)
            if document.pop("format") != FORMAT:
                raise ManifestError(
                    f"{where} was written by another version of ddb-pipeline. Use that version, or "
                    "build the view in another folder."
                )
            snapshot = document.pop("snapshot")
            return cls(
                table=TableIdentity(**document.pop("table")),
                key=tuple(KeyAttribute(*entry) for entry in document.pop("key")),
                columns=tuple(Column(*column) for column in document.pop("columns")),
                snapshot=Snapshot(**snapshot) if snapshot else None,
                applied=tuple(AppliedExport(**entry) for entry in document.pop("applied")),
                files=tuple(BucketFile(**entry) for entry in document.pop("files")),
                replaced=tuple((path, when) for path, when in document.pop("replaced")),
                **document,
            )
        except (ValueError, KeyError, TypeError, AttributeError) as error:
            raise ManifestError(
                f"{where} is not the manifest of a current view: {error!r}. Give another "
                "folder, or delete this one and build the view again."
            ) from error


def moment(micros: int) -> datetime:
    """Microseconds of the epoch as a time in UTC."""
    return EPOCH + timedelta(microseconds=micros)


def micros_of(time: datetime) -> int:
    """A time with an offset as microseconds of the epoch."""
    return (time - EPOCH) // timedelta(microseconds=1)


def iso(micros: int) -> str:
    """Microseconds of the epoch as ISO 8601 text, such as ``2026-11-26T10:15:00Z``."""
    return moment(micros).isoformat().replace("+00:00", "Z")
