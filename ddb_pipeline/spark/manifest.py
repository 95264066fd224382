"""The manifest: names the valid version of each hour's statistics and of the scores.

A run writes a new version folder and never changes one; replacing the manifest publishes it. A run
that fails leaves the previous manifest, and a folder that no manifest names and that a later run
deletes.
"""

import json
import re
import secrets
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass, field, replace
from datetime import datetime, timedelta, timezone
from hashlib import sha256
from typing import Any

from ddb_pipeline.spark.arguments import RelevanceError
from ddb_pipeline.spark.storage import StoredFile

MANIFEST = "manifest.json"
HISTORY = "history"
"""The key of a snapshot's statistics among those of the delivery hours."""
GENERATION = "_current.json"
"""The name of the object that names the current generation, as in ``lake.hour_generations``."""
FORMAT = 1
"""Version of the manifest's format."""
KEEP_UNREFERENCED = timedelta(hours=24)
"""Age from which a version folder that no manifest names is deleted; a job may be writing it."""
_HOUR = re.compile(r"delivery_date(?:=|%3D)(\d{4}-\d{2}-\d{2})/delivery_hour(?:=|%3D)(\d{2})/")
_VERSION = re.compile(r"\d{8}T\d{6}Z-[0-9a-f]{8}")


@dataclass(frozen=True, slots=True)
class HourEntry:
    """One hour's valid statistics.

    Attributes:
        source: digest of the hour's files.
        keys, pairs, superseded: the version folders with the hour's last events, its statistics
            and its superseded events (those whose logs have later events in other hours); empty
            for none.
        counts: numbers of rows, logs and unusable rows, by name.
    """

    source: str
    keys: str = ""
    pairs: str = ""
    superseded: str = ""
    counts: Mapping[str, int] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class ScoresEntry:
    """The valid scores.

    Attributes:
        version: their version folder.
        digest: hash of the arguments that they were computed with.
        as_of: ISO time up to which searches count in them.
        rows: their number.
        previous: the version folder of the scores before them; empty for none.
    """

    version: str
    digest: str
    as_of: str
    rows: int
    previous: str = ""


@dataclass(frozen=True, slots=True)
class Manifest:
    """The valid statistics of all hours, computed with one configuration, and the valid scores."""

    configuration: str = ""
    hours: Mapping[str, HourEntry] = field(default_factory=dict)
    scores: ScoresEntry | None = None

    def versions(self) -> set[str]:
        """Return every version folder that the manifest names."""
        found = {v for e in self.hours.values() for v in (e.keys, e.pairs, e.superseded) if v}
        if self.scores is not None:
            found |= {v for v in (self.scores.version, self.scores.previous) if v}
        return found

    def for_configuration(self, configuration: str) -> "Manifest":
        """Return this manifest, without hours if they have another configuration."""
        if self.configuration == configuration:
            return self
        return replace(self, configuration=configuration, hours={})


def to_text(manifest: Manifest) -> str:
    """Format a manifest as JSON."""
    return json.dumps({"format": FORMAT, **asdict(manifest)}, indent=1, sort_keys=True)


def from_text(text: str, uri: str) -> Manifest:
    """Parse a manifest; ``uri`` is for error messages.

    Raises:
        RelevanceError: the text is not a manifest, or has another format.
    """
    try:
        document: dict[str, Any] = json.loads(text)
        if document["format"] != FORMAT:
            raise RelevanceError(
                f"{uri} has format {document['format']}, this job supports {FORMAT}. Run a newer "
                "version of the job, or remove the folder to compute everything again."
            )
        scores = document["scores"]
        return Manifest(
            document["configuration"],
            {hour: HourEntry(**entry) for hour, entry in document["hours"].items()},
            ScoresEntry(**scores) if scores else None,
        )
    except (KeyError, TypeError, ValueError) as error:
        raise RelevanceError(
            f"{uri} is not a manifest of this job ({error!r}). Remove the folder to compute "
            "everything again."
        ) from error


def new_version(now: datetime | None = None) -> str:
    """Return a unique name for a version folder, which begins with the time."""
    moment = now or datetime.now(timezone.utc)
    return f"{moment:%Y%m%dT%H%M%SZ}-{secrets.token_hex(4)}"


def deletable_versions(folders: Iterable[str], used: set[str], now: datetime) -> list[str]:
    """Select the version folders that are not in use and that no running job can be writing."""
    found = []
    for name in folders:
        if name in used or not _VERSION.fullmatch(name):
            continue
        written = datetime.strptime(name[:16], "%Y%m%dT%H%M%SZ").replace(tzinfo=timezone.utc)
        if now - written > KEEP_UNREFERENCED:
            found.append(name)
    return found


def files_by_hour(files: Sequence[StoredFile]) -> dict[str, list[StoredFile]]:
    """Group files by their delivery hour, such as ``2026-11-24-10``; drop files without one."""
    hours: dict[str, list[StoredFile]] = {}
    for file in files:
        found = _HOUR.search(file.uri)
        if found:
            hours.setdefault("-".join(found.groups()), []).append(file)
    return hours


def generation_files(files: Sequence[StoredFile], text: str, uri: str) -> list[StoredFile]:
    """The files of an hour's current generation, among those of all its generations.

    Args:
        files: the files of the hour's generations, each in a folder of its own.
        text: the object that names the current one (``lake.hour_generations``).
        uri: of that object, for error messages.

    Raises:
        RelevanceError: the text names no generation, or a file that is gone.
    """
    try:
        document: dict[str, Any] = json.loads(text)
        names = {f"{document['folder']}/{path}" for path, *_ in document["files"]}
    except (KeyError, TypeError, ValueError) as error:
        raise RelevanceError(
            f"{uri} names no generation of compacted files ({error!r}). Compact the hour again: "
            "materialise it in parquet_stream."
        ) from error
    found = {"/".join(file.uri.rsplit("/", 2)[-2:]): file for file in files}
    if missing := sorted(names - found.keys()):
        raise RelevanceError(
            f"{uri} names the file {missing[0]}, which is not there. Run the job again: another "
            "generation may have replaced it meanwhile."
        )
    return sorted(found[name] for name in names)


def digest_of(files: Sequence[StoredFile]) -> str:
    """Return a hash that changes whenever a file is added, replaced or removed."""
    named = [[file.uri.rpartition("/")[2], file.size, file.modified] for file in sorted(files)]
    return sha256(json.dumps(named).encode("utf-8")).hexdigest()[:16]


def epoch_hour(hour: str) -> int:
    """Convert a delivery hour, such as ``2026-11-24-10``, to hours since the epoch."""
    moment = datetime.strptime(f"{hour}+0000", "%Y-%m-%d-%H%z")
    return int(moment.timestamp()) // 3600


def hour_partition(hour: str) -> str:
    """Return an hour's folder below a version folder."""
    date, name = (HISTORY, "all") if hour == HISTORY else (hour[:10], hour[11:])
    return f"delivery_date={date}/delivery_hour={name}"
