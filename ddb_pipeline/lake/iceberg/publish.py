"""An Iceberg table brought to the files that the lake names: one snapshot, or none.

What is to be in the table is asked for after the table was read, and what the table lacks follows
from comparing both. A run that was stopped, or that another writer was faster than, decides anew in
the same way, so that the table never goes back to an older state of the lake.

Files are copied to folders of one attempt, never over others. Those of an attempt that did not
commit belong to no snapshot; ``maintenance`` removes them.
"""

import random
import secrets
import time
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from typing import Final, NamedTuple

import pyarrow.fs
import pyarrow.parquet as pq
from pyiceberg.catalog import Catalog
from pyiceberg.exceptions import (
    CommitFailedException,
    NoSuchTableError,
    TableAlreadyExistsError,
    ValidationException,
)
from pyiceberg.expressions import AlwaysTrue, And, BooleanExpression, EqualTo
from pyiceberg.manifest import DataFile
from pyiceberg.table import Table, TableProperties

from ddb_pipeline.errors import DdbPipelineError
from ddb_pipeline.glue.catalog import TableReference
from ddb_pipeline.hive.types import Column
from ddb_pipeline.lake.iceberg.evolution import (
    SchemaChange,
    apply,
    columns_of,
    new_schema,
    partition_spec,
    schema_change,
)
from ddb_pipeline.lake.iceberg.files import (
    PartitionValues,
    Source,
    content_name,
    data_file,
    footer_of,
    readable,
    rewrite,
)
from ddb_pipeline.lake.iceberg.snapshot import replace_files

MAX_ATTEMPTS: Final = 10
MAX_WAIT_SECONDS: Final = 5.0
WRITERS: Final = 8
"""Files that are copied or read at the same time."""
METADATA_VERSIONS: Final = 20
"""Metadata files of earlier commits that stay."""


class IcebergTableError(DdbPipelineError):
    """A table of the Iceberg database is not the one that the pipeline writes."""


class IcebergConflictError(DdbPipelineError):
    """Other writers have changed the table during every attempt; nothing was committed."""


@dataclass(frozen=True, slots=True)
class Target:
    """An Iceberg table.

    Attributes:
        filesystem: of the lake; its paths are ``bucket/key``.
        folder: the table's own folder in it.
        partition_columns: names and types of the columns by whose values it is partitioned.
        scheme: what makes a path of the file system a URI.
    """

    catalog: Catalog
    filesystem: pyarrow.fs.FileSystem
    reference: TableReference
    folder: str
    partition_columns: tuple[Column, ...]
    scheme: str = "s3://"

    @property
    def identifier(self) -> tuple[str, str]:
        """The table's name in its catalog."""
        return self.reference.database, self.reference.name

    def path(self, uri: str) -> str:
        """The path of a data file in the file system."""
        return uri.removeprefix(self.scheme)


@dataclass(frozen=True, slots=True)
class Wanted:
    """What a table is to have.

    Attributes:
        columns: of the files, without those of the partitions.
        sources: the files.
        partition: the partition that has these files and no others; None for the whole table.
        copied: whether files are copied to the table's folder; else it reads them where they are.
        properties: of the snapshot.
    """

    columns: tuple[Column, ...]
    sources: tuple[Source, ...]
    partition: PartitionValues | None = None
    copied: bool = True
    properties: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Published:
    """What a publication did.

    Attributes:
        snapshot_id: the table's current snapshot; None if it has none.
        committed: whether this call made it.
        added, removed: number of data files.
        rewritten: number of files whose rows were written again, because of their types.
        replaced_columns: columns of which a new type has replaced the old one.
        attempts: how often it was decided what to commit.
        seconds: wall-clock time.
    """

    snapshot_id: int | None
    committed: bool = False
    added: int = 0
    removed: int = 0
    rewritten: int = 0
    replaced_columns: tuple[str, ...] = ()
    attempts: int = 1
    seconds: float = 0.0


class Change(NamedTuple):
    """The difference between a table and what it is to have."""

    schema: SchemaChange
    added: list[Source]
    rewritten: list[Source]
    removed: list[DataFile]

    @property
    def is_empty(self) -> bool:
        """Whether there is nothing to commit."""
        return not (self.schema or self.added or self.rewritten or self.removed)


def publish(target: Target, wanted: Callable[[], Wanted]) -> Published:
    """Commit what the table lacks.

    Args:
        target: the table; it is created where it does not exist.
        wanted: reads the present state of the lake; called again after another's commit.

    Raises:
        IcebergConflictError: others have committed during every attempt.
        IcebergTableError: there is a table of that name with other partitions.
        NoIcebergTypeError: a column's type has no Iceberg type.
    """
    began = time.monotonic()
    for attempt in range(1, MAX_ATTEMPTS + 1):
        table = find_table(target) or create_table(target, wanted().columns)
        check_table(target, table)
        want = wanted()
        change = difference(target, table, want)
        if change.is_empty:
            return Published(current_id(table), attempts=attempt, seconds=_since(began))
        try:
            snapshot_id, rewritten = commit(target, table, want, change)
        except OSError:
            # Another run that has published may have deleted files that this one copies.
            if wanted() == want:
                raise
            continue
        except (CommitFailedException, ValidationException):
            time.sleep(random.uniform(0, min(MAX_WAIT_SECONDS, 0.1 * 2**attempt)))
            continue
        return Published(
            snapshot_id,
            committed=True,
            added=len(change.added) + len(change.rewritten),
            removed=len(change.removed),
            rewritten=rewritten,
            replaced_columns=change.schema.replaced,
            attempts=attempt,
            seconds=_since(began),
        )
    raise IcebergConflictError(
        f"Others have changed the Iceberg table {target.reference} during {MAX_ATTEMPTS} attempts "
        "to commit to it. Nothing is lost: run again, and end other writers of this table."
    )


def find_table(target: Target) -> Table | None:
    """The table as it is now; None where there is none."""
    try:
        return target.catalog.load_table(target.identifier)
    except NoSuchTableError:
        return None


def create_table(target: Target, columns: Sequence[Column]) -> Table:
    """Create the table, without files, and its database; the one of a faster writer is used."""
    target.catalog.create_namespace_if_not_exists(target.reference.database)
    schema = new_schema((*columns, *target.partition_columns))
    try:
        return target.catalog.create_table(
            target.identifier,
            schema,
            location=f"{target.scheme}{target.folder}",
            partition_spec=partition_spec(schema, [c.name for c in target.partition_columns]),
            properties={
                TableProperties.FORMAT_VERSION: "2",
                TableProperties.DEFAULT_NAME_MAPPING: schema.name_mapping.model_dump_json(),
                TableProperties.METADATA_DELETE_AFTER_COMMIT_ENABLED: "true",
                TableProperties.METADATA_PREVIOUS_VERSIONS_MAX: str(METADATA_VERSIONS),
            },
        )
    except TableAlreadyExistsError:
        return target.catalog.load_table(target.identifier)


def check_table(target: Target, table: Table) -> None:
    """Raise IcebergTableError if a table has other partitions than the pipeline's."""
    names = [partition.name for partition in table.spec().fields]
    wanted = [column.name for column in target.partition_columns]
    if names != wanted or TableProperties.DEFAULT_NAME_MAPPING not in table.properties:
        raise IcebergTableError(
            f"The Iceberg table {target.reference} is partitioned by "
            f"{', '.join(names) or 'nothing'}, not by {', '.join(wanted)}, or finds no columns by "
            "name. Drop it, or give another iceberg_database: the next run creates the pipeline's."
        )


def difference(target: Target, table: Table, want: Wanted) -> Change:
    """What a table lacks, and what it has too much."""
    columns = (*want.columns, *target.partition_columns)
    schema = schema_change(columns_of(table.schema()), columns)
    present = data_files(target, table, want.partition)
    names = {source.name for source in want.sources}
    kept: dict[str, DataFile] = {}
    removed = []
    for file in present:
        name = content_name(file.file_path)
        if name in names and name not in kept:
            kept[name] = file
        else:
            removed.append(file)
    added = [source for source in want.sources if source.name not in kept]
    if not schema.replaced:
        return Change(schema, added, [], removed)
    # The column's new type is read from no file that has the old one.
    gone = {file.file_path for file in removed}
    old = [file for file in data_files(target, table, None) if file.file_path not in gone]
    return Change(schema, added, [_source_of(target, file) for file in old], [*removed, *old])


def data_files(target: Target, table: Table, partition: PartitionValues | None) -> list[DataFile]:
    """The data files of a table's current snapshot, of one partition or of all."""
    chosen: BooleanExpression = AlwaysTrue()
    if partition is not None:
        for column, value in zip(target.partition_columns, partition, strict=True):
            chosen = And(chosen, _equal(column.name, value))
    return [task.file for task in table.scan(row_filter=chosen).plan_files()]


def commit(target: Target, table: Table, want: Wanted, change: Change) -> tuple[int, int]:
    """Write what is to be written and commit it; returns the snapshot's id and rewritten files.

    Raises:
        CommitFailedException, ValidationException: another commit was faster; nothing was done.
    """
    own = {column.name for column in target.partition_columns}
    columns = tuple(column for column in change.schema.columns if column.name not in own)
    folder = f"{target.folder}/data/{secrets.token_hex(6)}"
    write = Adoption(target, columns, folder, want.copied)
    with ThreadPoolExecutor(WRITERS, thread_name_prefix="iceberg") as pool:
        files = [*pool.map(write.adopt, change.added), *pool.map(write.rewrite, change.rewritten)]
    transaction = table.transaction()
    if change.schema:
        with transaction.update_schema() as update:
            apply(change.schema, update)
    metadata = transaction.table_metadata
    added = [
        data_file(metadata, f"{target.scheme}{file.path}", file.footer, file.size, file.partition)
        for file in files
    ]
    snapshot_id = replace_files(transaction, change.removed, added, want.properties)
    transaction.commit_transaction()
    return snapshot_id, sum(file.rewritten for file in files)


class Adopted(NamedTuple):
    """A file that is ready to be committed."""

    path: str
    footer: pq.FileMetaData
    size: int
    partition: PartitionValues
    rewritten: bool


@dataclass(frozen=True, slots=True)
class Adoption:
    """How files come into a table's reach.

    Attributes:
        columns: of the table, without those of its partitions.
        folder: for files that are written.
        copied: as in ``Wanted``.
    """

    target: Target
    columns: tuple[Column, ...]
    folder: str
    copied: bool

    def adopt(self, source: Source) -> Adopted:
        """Use a file as it is, or a copy of it; its rows are written again if need be."""
        filesystem = self.target.filesystem
        footer, size = footer_of(filesystem, source.path)
        if not readable(footer, self.columns):
            return self.rewrite(source)
        path = source.path
        if self.copied:
            path = self._new_path(source)
            filesystem.copy_file(source.path, path)
        return Adopted(path, footer, size, source.partition, False)

    def rewrite(self, source: Source) -> Adopted:
        """Write a file's rows with the table's types."""
        path = self._new_path(source)
        rewrite(self.target.filesystem, source.path, path, self.columns)
        footer, size = footer_of(self.target.filesystem, path)
        return Adopted(path, footer, size, source.partition, True)

    def _new_path(self, source: Source) -> str:
        path = f"{self.folder}/{source.name}"
        self.target.filesystem.create_dir(path.rpartition("/")[0], recursive=True)
        return path


def current_id(table: Table) -> int | None:
    """The id of a table's current snapshot."""
    snapshot = table.current_snapshot()
    return snapshot.snapshot_id if snapshot else None


def _source_of(target: Target, file: DataFile) -> Source:
    values = tuple(file.partition[position] for position in range(len(target.partition_columns)))
    return Source(target.path(file.file_path), content_name(file.file_path), values)


def _equal(name: str, value: int | str) -> BooleanExpression:
    # pyiceberg's types know only the form in which it stores expressions.
    equal: Callable[..., BooleanExpression] = EqualTo
    return equal(name, value)


def _since(began: float) -> float:
    return round(time.monotonic() - began, 3)
