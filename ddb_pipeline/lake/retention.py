"""Which objects of the lake may be removed: decisions about what was listed, without requests.

A period of 0 seconds, or a number of 0, means that such objects are never removed.
"""

import re
from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timezone

from ddb_pipeline.lake.hour_generations import Generation
from ddb_pipeline.lake.layout import DeliveryHour
from ddb_pipeline.lake.objects import StoredObject

_EXPORT_ID = re.compile(r"([0-9]{14})-[0-9A-Za-z]+")


@dataclass(frozen=True, slots=True)
class RetentionPolicy:
    """How long objects stay that a newer one has replaced, in seconds.

    Attributes:
        raw_seconds: raw objects, after the compaction that has their rows.
        replaced_seconds: what readers may still read: replaced generations, and snapshots whose
            partition was removed.
        export_seconds: exports, after their snapshot was published.
        changes_seconds: incremental exports, after their changes were published.
        snapshots_last: number of the newest snapshots that stay.
        snapshots_monthly: number of months of which the newest snapshot stays too.
    """

    raw_seconds: float
    replaced_seconds: float
    export_seconds: float
    snapshots_last: int
    snapshots_monthly: int
    changes_seconds: float = 0.0


@dataclass(frozen=True, slots=True)
class ViewNeeds:
    """What the current view of a table has merged, and what a rebuild of it would read.

    Attributes:
        merged_until: windows that end until then are merged, epoch seconds; 0 for a view that
            does not follow windows.
        merged: ids of further incremental exports that are merged.
        base: the id of the full export with which a rebuild would begin; empty if there is none
            that incremental exports still continue.
        rebuilt_from: a rebuild would need the windows that end later, epoch seconds.
    """

    merged_until: float = 0.0
    merged: frozenset[str] = frozenset()
    base: str = ""
    rebuilt_from: float = 0.0


@dataclass(frozen=True, slots=True)
class Removal:
    """Objects that are not needed any more.

    Attributes:
        kind: what they are.
        name: the hour or the export.
        reason: why they are not needed.
        objects: the objects.
    """

    kind: str
    name: str
    reason: str
    objects: tuple[StoredObject, ...]

    @property
    def size(self) -> int:
        """Bytes of all objects."""
        return sum(stored.size for stored in self.objects)


def stale_folders(
    hour: DeliveryHour,
    objects: Iterable[StoredObject],
    current: Generation | None,
    read: str,
    grace_seconds: float,
    now: float,
) -> Mapping[str, tuple[StoredObject, ...]]:
    """The generations of an hour that nobody needs: replaced ones, and those never committed.

    Args:
        objects: all objects under the hour's compacted prefix.
        current: the current generation.
        read: the URI or prefix that the catalog has readers read.
        grace_seconds: how long after a switch, or after its last object, one is still needed.
    """
    folders: dict[str, list[StoredObject]] = {}
    for stored in objects:
        folder, slash, _ = stored.key.removeprefix(hour.compacted_prefix).partition("/")
        if slash:
            folders.setdefault(folder, []).append(stored)
    if current is not None and now < current.compacted_at + grace_seconds:
        return {}
    return {
        folder: tuple(found)
        for folder, found in folders.items()
        if (current is None or folder != current.folder)
        and f"/{folder}/" not in read
        and now >= max(stored.modified_at for stored in found) + grace_seconds
    }


def raw_is_removable(
    hour: DeliveryHour,
    current: Generation,
    needed_since: float,
    policy: RetentionPolicy,
    now: float,
) -> bool:
    """Whether an hour's raw objects, whose rows its generation has, are needed no more.

    Args:
        needed_since: hours that end later are still read, epoch seconds.
    """
    is_over = now >= current.compacted_at + policy.raw_seconds
    return policy.raw_seconds > 0 and is_over and hour.ends_at < needed_since


def kept_snapshots(ids: Collection[str], policy: RetentionPolicy) -> frozenset[str]:
    """Of the snapshots of these exports those that stay; all whose id has no time.

    An export's id begins with the milliseconds of its request.
    """
    times = {each: found for each in ids if (found := _requested_at(each)) is not None}
    newest = sorted(times, key=lambda each: (times[each], each), reverse=True)
    if not policy.snapshots_last:
        return frozenset(ids)
    kept = set(ids) - set(times)
    kept.update(newest[: policy.snapshots_last])
    months: dict[str, str] = {}
    for each in newest:
        months.setdefault(f"{times[each]:%Y-%m}", each)
    kept.update(list(months.values())[: policy.snapshots_monthly])
    return frozenset(kept)


def export_is_removable(published_at: float, policy: RetentionPolicy, now: float) -> bool:
    """Whether an export is needed no more whose snapshot was published at a time."""
    return policy.export_seconds > 0 and now >= published_at + policy.export_seconds


def changes_are_removable(
    export_id: str,
    window_end: float,
    published_at: float,
    view: ViewNeeds,
    policy: RetentionPolicy,
    now: float,
) -> bool:
    """Whether an incremental export, and the changes made of it, are needed no more.

    They stay while the current view has not merged them, while a rebuild of it would read them, and
    until their time is over.

    Args:
        window_end: the end of the export's window, epoch seconds.
        published_at: when the changes were published, epoch seconds.
    """
    is_merged = window_end <= view.merged_until or export_id in view.merged
    is_rebuilt = bool(view.base) and window_end > view.rebuilt_from
    is_over = policy.changes_seconds > 0 and now >= published_at + policy.changes_seconds
    return is_merged and not is_rebuilt and is_over


def total_size(removals: Sequence[Removal]) -> int:
    """Bytes of all objects."""
    return sum(removal.size for removal in removals)


def _requested_at(export_id: str) -> datetime | None:
    match = _EXPORT_ID.fullmatch(export_id)
    if match is None:
        return None
    try:
        return datetime.fromtimestamp(int(match[1]) / 1000, tz=timezone.utc)
    except (OverflowError, ValueError, OSError):
        return None
