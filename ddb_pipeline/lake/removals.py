"""Removals carried out: objects deleted, and the report of a vacuum about them."""

from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from itertools import islice
from typing import TYPE_CHECKING

from ddb_pipeline.errors import DdbPipelineError
from ddb_pipeline.glue.catalog import TableReference
from ddb_pipeline.lake import conditional
from ddb_pipeline.lake.objects import StoredObject
from ddb_pipeline.lake.retention import Removal, RetentionPolicy, ViewNeeds
from ddb_pipeline.lake.root import LakeRoot

if TYPE_CHECKING:
    from mypy_boto3_glue.client import GlueClient
    from mypy_boto3_s3.client import S3Client

MAX_OBJECTS = 100_000
"""Objects that a run removes, and about which it knows at a time."""
KEYS_PER_DELETE = 1_000
"""The limit of DeleteObjects (Amazon S3 API reference)."""
DELETERS = 8


class VacuumError(DdbPipelineError):
    """Objects cannot be removed; the message names one of them."""


@dataclass(frozen=True, slots=True)
class VacuumTarget:
    """A pipeline's lake.

    Attributes:
        lake_table: the catalog table of the stream.
        snapshot_table, changes_table: the catalog tables of the snapshots and of the changes.
        export_prefix: where exports lie in the lake.
        needed_since: raw objects of hours that end later are still read, epoch seconds.
        view: what the current view needs; None where there is no view.
        iceberg: what the vacuum of the pipeline's Iceberg tables found.
    """

    s3: "S3Client"
    glue: "GlueClient"
    lake: LakeRoot
    lake_table: TableReference
    snapshot_table: TableReference
    changes_table: TableReference
    export_prefix: str
    needed_since: float
    view: ViewNeeds | None = None
    iceberg: tuple["Snapshots", ...] = ()


@dataclass(frozen=True, slots=True)
class Snapshots:
    """What the vacuum of an Iceberg table found.

    Attributes:
        expired: its snapshots that are needed no more.
        removals: files that belong to no other.
        used: the keys of all objects that its other snapshots have.
    """

    expired: tuple[str, ...] = ()
    removals: tuple[Removal, ...] = ()
    used: frozenset[str] = frozenset()


@dataclass(slots=True)
class VacuumReport:
    """What a run removed, or would remove.

    Attributes:
        removals: in the order in which they were found.
        repaired: hours whose partition did not name the current generation.
        retired: snapshots whose partition was removed, and whose objects will be.
        expired: snapshots of Iceberg tables.
        unfinished: whether there is more to remove than a run removes.
    """

    removals: list[Removal] = field(default_factory=list)
    repaired: list[str] = field(default_factory=list)
    retired: list[str] = field(default_factory=list)
    expired: list[str] = field(default_factory=list)
    unfinished: bool = False

    @property
    def objects(self) -> int:
        """Number of objects of all removals."""
        return sum(len(removal.objects) for removal in self.removals)


@dataclass(frozen=True, slots=True)
class VacuumRun:
    """What the parts of a run share.

    Attributes:
        now: the time of the run, epoch seconds.
        dry_run: whether to find only.
    """

    target: VacuumTarget
    policy: RetentionPolicy
    now: float
    dry_run: bool
    report: VacuumReport = field(default_factory=VacuumReport)

    def is_full(self) -> bool:
        """Whether a further run is to remove the rest; the report then says so."""
        self.report.unfinished = self.report.objects >= MAX_OBJECTS
        return self.report.unfinished

    def remove(self, removal: Removal) -> None:
        """Report a removal, and delete its objects unless the run finds only.

        Raises:
            VacuumError: one of them cannot be deleted.
        """
        self.report.removals.append(removal)
        if self.dry_run:
            return
        target = self.target
        if removal.kind == "raw objects":
            delete_unchanged(target.s3, target.lake, removal.objects)
        else:
            delete_objects(target.s3, target.lake, [stored.key for stored in removal.objects])


def delete_unchanged(s3: "S3Client", lake: LakeRoot, objects: Sequence[StoredObject]) -> None:
    """Delete objects unless they have changed since they were listed."""

    def delete(stored: StoredObject) -> None:
        conditional.delete(s3, lake, stored.key, f'"{stored.etag}"')

    with ThreadPoolExecutor(DELETERS, thread_name_prefix="vacuum") as pool:
        list(pool.map(delete, objects))


def delete_objects(s3: "S3Client", lake: LakeRoot, keys: Sequence[str]) -> None:
    """Delete objects in their order.

    Raises:
        VacuumError: one of them cannot be deleted.
    """
    for page in _pages(keys):
        response = s3.delete_objects(
            Bucket=lake.bucket,
            Delete={"Objects": [{"Key": lake.object_key(key)} for key in page], "Quiet": True},
        )
        for error in response.get("Errors", ()):
            raise VacuumError(
                f"s3://{lake.bucket}/{error.get('Key')} cannot be deleted: {error.get('Code')}: "
                f"{error.get('Message')}. Grant s3:DeleteObject to this role, then run again."
            )


def _pages(keys: Sequence[str]) -> Iterator[list[str]]:
    remaining = iter(keys)
    while page := list(islice(remaining, KEYS_PER_DELETE)):
        yield page
