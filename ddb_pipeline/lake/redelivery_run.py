"""A run of the redelivery: the next error objects that the present schema was not tried on."""

import hashlib
import json
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

import pyarrow.fs
from botocore.exceptions import ClientError

from ddb_pipeline.client_errors import error_code
from ddb_pipeline.hive.type_decisions import NO_DECISIONS, TypeDecisions
from ddb_pipeline.hive.types import Column
from ddb_pipeline.lake.error_folders import error_folders, folders_to_visit, objects_in
from ddb_pipeline.lake.objects import StoredObject
from ddb_pipeline.lake.redelivery import (
    ObjectRedelivery,
    RedeliveryConflictError,
    redeliver,
)
from ddb_pipeline.lake.redelivery_attempts import (
    ANY_SCHEMA,
    Attempt,
    FolderSummary,
    Reasons,
    read_attempts,
    read_index,
    summarise,
    total_reasons,
    write_attempts,
    write_index,
)
from ddb_pipeline.lake.redelivery_plan import CORRUPT_LINE
from ddb_pipeline.lake.root import LakeRoot

if TYPE_CHECKING:
    from mypy_boto3_s3.client import S3Client

MAX_OBJECTS = 1000
"""Error objects that a run reads."""
MAX_FOLDERS = 200
"""Folders that a run visits."""
MAX_ERRORS = 100
"""Objects that a run fails to read before it gives up, if it could read none."""
SHOWN_FOLDERS = 2
"""Unsettled folders that a tick lists: the run that it requests visits all."""

OBJECT_ERRORS = (ValueError, ArithmeticError, LookupError, TypeError, RecursionError)
"""Errors that the content of an object causes: the next attempt would end alike."""
ACCESS_ERRORS = (ClientError, OSError, RedeliveryConflictError)
"""Errors in reading an object or its hours: the next attempt may succeed."""


class RedeliveryError(Exception):
    """No error object can be read, after many tries; the message names the last."""


@dataclass(slots=True)
class RedeliveryRun:
    """What a run did.

    Attributes:
        done: the objects redelivered, with rows or without.
        inaccessible: the objects that could not be read this time, each with the reason.
        errors: the objects whose content caused an error, each with the reason.
        unfinished: whether error objects are left that this schema was not tried on.
        waiting: all that still fails, counted by error code, also in objects of earlier runs.
    """

    done: list[ObjectRedelivery] = field(default_factory=list)
    inaccessible: dict[str, str] = field(default_factory=dict)
    errors: dict[str, str] = field(default_factory=dict)
    unfinished: bool = False
    waiting: Reasons = field(default_factory=dict)


class Redelivery:
    """Redelivers error objects with the columns of one schema.

    Args:
        schema: identifies the columns and the decisions.
        decisions: what is decided about values of several types.
        on_object: called with each redelivered object.
    """

    def __init__(
        self,
        s3: "S3Client",
        filesystem: pyarrow.fs.FileSystem,
        lake: LakeRoot,
        columns: Sequence[Column],
        schema: str,
        on_object: Callable[[ObjectRedelivery], None] = lambda outcome: None,
        decisions: TypeDecisions = NO_DECISIONS,
    ) -> None:
        self._s3 = s3
        self._filesystem = filesystem
        self._lake = lake
        self._columns = columns
        self._schema = schema
        self._on_object = on_object
        self._decisions = decisions
        self._budget = MAX_OBJECTS
        self.result = RedeliveryRun()

    def run(self, now: float, also: Iterable[str] = ()) -> RedeliveryRun:
        """Redeliver up to ``MAX_OBJECTS`` objects; the folders ``also`` are visited in any case.

        Raises:
            RedeliveryError: ``MAX_ERRORS`` objects could not be read, and no other was read.
        """
        s3, lake = self._s3, self._lake
        folders = error_folders(s3, lake)
        settled = _settled(read_index(s3, lake), self._schema)
        chosen = folders_to_visit(folders, settled, now)
        extra = [folder for folder in also if folder in folders]
        to_visit = list(dict.fromkeys((*extra, *chosen.recent, *chosen.unsettled)))
        visited: dict[str, FolderSummary] = {}
        for folder in to_visit[:MAX_FOLDERS]:
            if self._budget <= 0:
                break
            visited[folder] = self._visit(folder)
        index = write_index(s3, lake, visited, folders)
        self.result.unfinished = any(
            folder not in visited or not visited[folder].schema for folder in to_visit
        )
        self.result.waiting = total_reasons(summary.reasons for summary in index.values())
        return self.result

    def _visit(self, folder: str) -> FolderSummary:
        """Redeliver the objects of a folder that were not tried, as far as the budget allows."""
        before = read_attempts(self._s3, self._lake, folder)
        tried: dict[str, Attempt] = {}
        gone = set(before)
        complete = True
        for stored in objects_in(self._s3, self._lake, folder):
            gone.discard(stored.key)
            attempt = before.get(stored.key)
            if attempt is not None and attempt.covers(stored, self._schema):
                continue
            if self._budget <= 0:
                complete = False
                continue
            attempt = self._attempt(stored)
            if attempt is None:
                # Without effect on the budget, so that such objects never hide others.
                complete = False
                continue
            self._budget -= 1
            if attempt.etag:
                tried[stored.key] = attempt
            else:
                gone.add(stored.key)
        attempts = write_attempts(self._s3, self._lake, folder, tried, gone)
        return summarise(attempts, self._schema if complete else "")

    def _attempt(self, stored: StoredObject) -> Attempt | None:
        """Redeliver an object; None where it could not be read, no ETag where it is gone."""
        try:
            outcome = redeliver(
                self._s3, self._filesystem, self._lake, stored, self._columns, self._decisions
            )
        except ACCESS_ERRORS as error:
            self.result.inaccessible[stored.key] = _reason(error)
            if len(self.result.inaccessible) > MAX_ERRORS and not self.result.done:
                raise RedeliveryError(
                    f"{len(self.result.inaccessible)} error objects cannot be read, the last is "
                    f"{stored.key}: {error}"
                ) from error
            return None
        except OBJECT_ERRORS as error:
            self.result.errors[stored.key] = _reason(error)
            return Attempt(stored.etag, self._schema, {_reason(error): 1})
        self.result.done.append(outcome)
        self._on_object(outcome)
        hopeless = not outcome.reasons.keys() - {CORRUPT_LINE}
        schema = ANY_SCHEMA if hopeless else self._schema
        return Attempt(outcome.etag.strip('"'), schema, total_reasons([outcome.reasons]))


def untried(s3: "S3Client", lake: LakeRoot, schema: str, now: float) -> "Untried":
    """Look for error objects that a schema was not tried on, with a bounded number of requests."""
    folders = error_folders(s3, lake)
    settled = _settled(read_index(s3, lake), schema) if folders else frozenset()
    chosen = folders_to_visit(folders, settled, now)

    def objects(listed: Sequence[str]) -> Iterator[StoredObject]:
        for folder in listed:
            attempts: dict[str, Attempt] | None = None
            for stored in objects_in(s3, lake, folder):
                if attempts is None:
                    attempts = read_attempts(s3, lake, folder)
                attempt = attempts.get(stored.key)
                if attempt is None or not attempt.covers(stored, schema):
                    yield stored

    rechecked = tuple(objects(chosen.rechecked))
    return Untried(
        exist=bool(folders),
        objects=(*objects((*chosen.recent, *chosen.unsettled[:SHOWN_FOLDERS])), *rechecked),
        unsettled=tuple(chosen.unsettled),
        rechecked=tuple(chosen.rechecked) if rechecked else (),
    )


@dataclass(frozen=True, slots=True)
class Untried:
    """The error objects that a schema was not tried on, as far as they were looked for.

    Attributes:
        exist: whether there are error objects at all.
        objects: those found.
        unsettled: folders that may hold more of them.
        rechecked: a folder that holds some although it counts as settled: a run has to be told.
    """

    exist: bool
    objects: tuple[StoredObject, ...]
    unsettled: tuple[str, ...]
    rechecked: tuple[str, ...]

    def __bool__(self) -> bool:
        return bool(self.objects or self.unsettled)

    @property
    def version(self) -> str:
        """Changes whenever what was found does."""
        found = [sorted((stored.key, stored.etag) for stored in self.objects), self.unsettled]
        return hashlib.sha256(json.dumps(found).encode("ascii")).hexdigest()[:16]


def _settled(index: dict[str, FolderSummary], schema: str) -> frozenset[str]:
    return frozenset(folder for folder, summary in index.items() if summary.schema == schema)


def _reason(error: BaseException) -> str:
    code = error_code(error) if isinstance(error, ClientError) else ""
    return f"Pipeline.Error.{code or type(error).__name__}"
