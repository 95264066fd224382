"""The manifest: which version of each hour's statistics, and which scores, are valid.

Versions are written once and never changed; replacing the manifest is what publishes them. A run
that dies leaves the manifest before it, and folders that nobody reads until they are cleared.
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
"""Stands in for the delivery hour of rows that come from a snapshot."""
FORMAT = 1
KEEP_UNREFERENCED = timedelta(hours=24)
_HOUR = re.compile(r"delivery_date(?:=|%3D)(\d{4}-\d{2}-\d{2})/delivery_hour(?:=|%3D)(\d{2})/")
_VERSION = re.compile(r"\d{8}T\d{6}Z-[0-9a-f]{8}")


@dataclass(frozen=True, slots=True)
class HourEntry:
    """One hour's valid statistics.

    Attributes:
        source: digest of the hour's files.
        keys, pairs, superseded: the version folders with the hour's log keys, its statistics and
            the keys whose later events lie in other hours; empty where there are none.
        counts: rows, logs and what could not be used, by name.
    """

    source: str
    keys: str = ""
    pairs: str = ""
    superseded: str = ""
    counts: Mapping[str, int] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class ScoresEntry:
    """The valid scores: their version folder, what made them, and what the job told of them."""

    version: str
    digest: str
    as_of: str
    rows: int
    previous: str = ""


@dataclass(frozen=True, slots=True)
class Manifest:
    """All hours' valid statistics under one configuration, and the scores made of them."""

    configuration: str = ""
    hours: Mapping[str, HourEntry] = field(default_factory=dict)
    scores: ScoresEntry | None = None

    def versions(self) -> set[str]:
        """Every version folder that is referred to."""
        found = {v for e in self.hours.values() for v in (e.keys, e.pairs, e.superseded) if v}
        if self.scores is not None:
            found |= {v for v in (self.scores.version, self.scores.previous) if v}
        return found

    def under(self, configuration: str) -> "Manifest":
        """This one, or one without hours where its statistics were made otherwise."""
        if self.configuration == configuration:
            return self
        return replace(self, configuration=configuration, hours={})


def to_text(manifest: Manifest) -> str:
    return json.dumps({"format": FORMAT, **asdict(manifest)}, indent=1, sort_keys=True)


def from_text(text: str, uri: str) -> Manifest:
    """Read a manifest.

    Raises:
        RelevanceError: it is not one, or one of a later format.
    """
    try:
        document: dict[str, Any] = json.loads(text)
        if document["format"] != FORMAT:
            raise RelevanceError(
                f"{uri} has format {document['format']}, this job knows {FORMAT}. Run the job's "
                "newer version, or remove the folder to compute everything anew."
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
            "everything anew."
        ) from error


def new_version(now: datetime | None = None) -> str:
    moment = now or datetime.now(timezone.utc)
    return f"{moment:%Y%m%dT%H%M%SZ}-{secrets.token_hex(4)}"


def clearable(folders: Iterable[str], kept: set[str], now: datetime) -> list[str]:
    """Version folders that no manifest refers to and that no running job can be writing."""
    found = []
    for name in folders:
        if name in kept or not _VERSION.fullmatch(name):
            continue
        written = datetime.strptime(name[:16], "%Y%m%dT%H%M%SZ").replace(tzinfo=timezone.utc)
        if now - written > KEEP_UNREFERENCED:
            found.append(name)
    return found


def by_hour(files: Sequence[StoredFile]) -> dict[str, list[StoredFile]]:
    """Files by their delivery hour, ``2026-11-24-10``; those of no hour are left out."""
    hours: dict[str, list[StoredFile]] = {}
    for file in files:
        found = _HOUR.search(file.uri)
        if found:
            hours.setdefault("-".join(found.groups()), []).append(file)
    return hours


def digest_of(files: Sequence[StoredFile]) -> str:
    """Changes whenever a file is added, replaced or removed."""
    named = [[file.uri.rpartition("/")[2], file.size, file.modified] for file in sorted(files)]
    return sha256(json.dumps(named).encode("utf-8")).hexdigest()[:16]


def epoch_hour(hour: str) -> int:
    """``2026-11-24-10`` as hours since the epoch."""
    moment = datetime.strptime(f"{hour}+0000", "%Y-%m-%d-%H%z")
    return int(moment.timestamp()) // 3600


def partition(hour: str) -> str:
    """An hour's directory under a version folder."""
    date, name = (HISTORY, "all") if hour == HISTORY else (hour[:10], hour[11:])
    return f"delivery_date={date}/delivery_hour={name}"
