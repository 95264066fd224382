"""The health of a catalog table's files: how many and how small, their types, their age.

``look`` reads what there is, ``findings`` decides what is wrong with it. What is read is bounded at
any age of the table: the catalog's partitions, the listings of the newest ones, and of each of
these the footers of the oldest and the newest file. Types differ where a column was widened while
files were written, so that these two show it.
"""

from collections.abc import Iterable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from enum import Enum
from statistics import median
from typing import TYPE_CHECKING, Final

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.fs
import pyarrow.parquet as pq

from ddb_pipeline.arrow_types import NoHiveTypeError, hive_columns
from ddb_pipeline.glue.catalog import CatalogTable
from ddb_pipeline.glue.partition_pages import all_partitions
from ddb_pipeline.glue.partitions import CatalogPartition
from ddb_pipeline.hive.names import EVENT_TIME
from ddb_pipeline.hive.types import Column
from ddb_pipeline.lake.catalog_dataset import LISTERS, stored_files

if TYPE_CHECKING:
    from mypy_boto3_glue.client import GlueClient

MIB: Final = 1024 * 1024


@dataclass(frozen=True, slots=True)
class Limits:
    """From where on a table is not healthy.

    Attributes:
        partitions: number of partitions whose files are looked at, the newest ones.
        small_bytes: a file below this size is small.
        small_files: small files that a partition may have.
        open_seconds: a partition with a file younger than this may still get files, so that their
            number and types are no finding yet.
        max_age_seconds: age that the newest row may have; None for any.
    """

    partitions: int = 48
    small_bytes: int = 16 * MIB
    small_files: int = 8
    open_seconds: float = 2 * 3600
    max_age_seconds: float | None = None


@dataclass(frozen=True, slots=True)
class FoundFile:
    """A data file; ``size`` in bytes, ``modified_at`` in epoch seconds."""

    path: str
    size: int
    modified_at: float


@dataclass(frozen=True, slots=True)
class FoundPartition:
    """A partition, or a table without partitions, and its files.

    Attributes:
        values: of the partition; empty for a table without partitions.
        columns: with which readers of the catalog read it.
        files: its files; None if they were not looked at.
        differing: columns whose type in a file is not the table's, as ``name: type``.
    """

    values: tuple[str, ...]
    columns: tuple[Column, ...]
    files: tuple[FoundFile, ...] | None
    differing: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Look:
    """What was found of a table, its partitions in the order of their values.

    Attributes:
        table: the table.
        partitions: all partitions.
        newest_row_at: epoch seconds; of the file if rows have no time of their own, None if there
            are no rows.
    """

    table: CatalogTable
    partitions: tuple[FoundPartition, ...]
    newest_row_at: float | None

    @property
    def files(self) -> list[FoundFile]:
        """The files of the partitions that were looked at."""
        return [file for partition in self.partitions for file in partition.files or ()]

    @property
    def median_size(self) -> float:
        """Bytes; 0 where there are no files."""
        return median([file.size for file in self.files] or [0])

    def small_share(self, limits: Limits) -> float:
        """The share of the files that are small, from 0 to 1."""
        files = self.files
        return sum(file.size < limits.small_bytes for file in files) / max(len(files), 1)


class Problem(Enum):
    """What can be wrong with a table's files."""

    SMALL_FILES = "many small files"
    PARTITION_TYPES = "read with other types than the table's"
    FILE_TYPES = "files with other types than the table's"
    NO_FILES = "registered without files"
    OLD = "newest row too old"


@dataclass(frozen=True, slots=True)
class Finding:
    """One problem.

    Attributes:
        partitions: the values of the partitions that have it; empty for the table.
        detail: the numbers or the types.
    """

    problem: Problem
    partitions: tuple[tuple[str, ...], ...]
    detail: str


def look(
    glue: "GlueClient", filesystem: pyarrow.fs.FileSystem, table: CatalogTable, limits: Limits
) -> Look:
    """Read a table's partitions from the catalog, and the files of the newest ones.

    Raises:
        CatalogError: the catalog cannot be read.
    """
    found = (
        sorted(all_partitions(glue, table.reference), key=lambda partition: partition.values)
        if table.partition_keys
        else [CatalogPartition((), table.location, table.columns)]
    )
    first = max(len(found) - limits.partitions, 0)
    with ThreadPoolExecutor(LISTERS, thread_name_prefix="health") as pool:
        newest = pool.map(lambda partition: _look_into(filesystem, table, partition), found[first:])
        partitions = (
            *(FoundPartition(each.values, each.columns, None) for each in found[:first]),
            *newest,
        )
    return Look(table, partitions, _newest_row(filesystem, table, partitions))


def findings(found: Look, limits: Limits, now: float) -> list[Finding]:
    """What is wrong with a table at ``now``, epoch seconds."""
    types = dict(found.table.columns)
    closed = [
        partition
        for partition in found.partitions
        if max((file.modified_at for file in partition.files or ()), default=0.0)
        < now - limits.open_seconds
    ]
    small = {
        partition.values: count
        for partition in closed
        if (count := sum(f.size < limits.small_bytes for f in partition.files or ()))
        > limits.small_files
    }
    read_otherwise = {
        partition.values: differing
        for partition in closed
        if (differing := [f"{n}: {t}" for n, t in partition.columns if types.get(n, t) != t])
    }
    stored_otherwise = {p.values: list(p.differing) for p in closed if p.differing}
    empty = tuple(partition.values for partition in found.partitions if partition.files == ())
    results = [
        Finding(Problem.SMALL_FILES, tuple(small), f"up to {max(small.values(), default=0)}"),
        Finding(Problem.PARTITION_TYPES, tuple(read_otherwise), _shown(read_otherwise.values())),
        Finding(Problem.FILE_TYPES, tuple(stored_otherwise), _shown(stored_otherwise.values())),
        Finding(Problem.NO_FILES, empty, ""),
    ]
    results = [finding for finding in results if finding.partitions]
    at, limit = found.newest_row_at, limits.max_age_seconds
    if at is not None and limit is not None and now - at > limit:
        detail = f"{(now - at) / 3600:.1f} hours, {limit / 3600:g} are expected"
        results.append(Finding(Problem.OLD, (), detail))
    return results


def _shown(differing: Iterable[list[str]]) -> str:
    names = sorted({name for names in differing for name in names})
    return ", ".join(names[:5]) + (f" and {len(names) - 5} more" if len(names) > 5 else "")


def _look_into(
    filesystem: pyarrow.fs.FileSystem, table: CatalogTable, partition: CatalogPartition
) -> FoundPartition:
    files = [
        FoundFile(info.path, info.size, info.mtime_ns / 1e9)
        for info in stored_files(filesystem, partition.location)
    ]
    by_age = sorted(files, key=lambda file: file.modified_at)
    differing: set[str] = set()
    for file in {id(file): file for file in (*by_age[:1], *by_age[-1:])}.values():
        schema = pq.read_schema(file.path, filesystem=filesystem)
        differing.update(differing_columns(schema, table.columns))
    return FoundPartition(
        partition.values, partition.columns, tuple(files), tuple(sorted(differing))
    )


def differing_columns(schema: pa.Schema, columns: Sequence[Column]) -> list[str]:
    """The columns of a file whose type is not that of the table, as ``name: type``.

    Columns that only one of them has are none: readers find nulls, or do not read them.
    """
    types = dict(columns)
    differing = []
    for field in schema:
        try:
            ((name, kind),) = hive_columns(pa.schema([field]))
        except NoHiveTypeError:
            name, kind = field.name, str(field.type)
        if types.get(name, kind) != kind:
            differing.append(f"{name}: {kind}")
    return differing


def _newest_row(
    filesystem: pyarrow.fs.FileSystem, table: CatalogTable, partitions: Sequence[FoundPartition]
) -> float | None:
    """The time of the newest change in the newest files; of the newest file without changes."""
    last = next((partition for partition in reversed(partitions) if partition.files), None)
    if last is None or not last.files:
        return None
    newest = max(last.files, key=lambda file: file.modified_at)
    if EVENT_TIME in dict(table.columns):
        with pq.ParquetFile(newest.path, filesystem=filesystem) as parquet:
            if EVENT_TIME in parquet.schema_arrow.names:
                times = parquet.read(columns=[EVENT_TIME]).column(0)
                latest = pc.max(times.cast(pa.timestamp("us")).cast(pa.int64())).as_py()
                if latest is not None:
                    return float(latest) / 1e6
    return newest.modified_at
