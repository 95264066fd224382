"""An update that is planned in one place, done in another and published in a third.

For Spark: who submits the job writes the request to a file; the job does the work, and in a bucket
leaves the new version prepared; who submitted it publishes it.
"""

import json
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import asdict, dataclass
from typing import Any

import pyarrow.fs

from ddb_pipeline.export.layout import DataFile, Export, ExportSummary
from ddb_pipeline.export.source import ExportFolder
from ddb_pipeline.hive.type_decisions import parse_decisions
from ddb_pipeline.lake.current.bucket import Counts
from ddb_pipeline.lake.current.keys import KeyAttribute
from ddb_pipeline.lake.current.manifest import FOLDER, MANIFEST, Manifest
from ddb_pipeline.lake.current.sources import ExportPart, ParquetPart, Source
from ddb_pipeline.lake.current.store import (
    BucketStore,
    ConcurrentUpdateError,
    Version,
    Work,
)
from ddb_pipeline.lake.current.update import Request, Updated


@dataclass(frozen=True, slots=True)
class PlannedRequest:
    """A request, and the run that published the version for which it was planned."""

    base: str
    request: Request

    def checked(self, manifest: Manifest) -> Request:
        """The request, if that version is still the current one.

        Raises:
            ConcurrentUpdateError: it is not.
        """
        if manifest.run != self.base:
            raise ConcurrentUpdateError(
                "Another run has updated the view since this update was planned. Plan it again."
            )
        return self.request


def write_request(
    filesystem: pyarrow.fs.FileSystem, path: str, base: Manifest, request: Request
) -> None:
    """Write a request for the version ``base`` to a file.

    Its sources are exports and Parquet files in the file system of the view.
    """
    document = {
        "base": base.run,
        "manifest": request.manifest.to_json().decode(),
        "sources": [_source_document(source) for source in request.sources],
        "replaces": request.replaces,
        "buckets": request.buckets,
        "keep_tombstones": request.keep_tombstones,
        "complete": request.complete,
        "delivered_until": request.delivered_until,
        "int96": request.int96,
    }
    with filesystem.open_output_stream(path) as sink:
        sink.write(json.dumps(document).encode())


def request_path(view: str, run: str) -> str:
    """Where the request of a run is written, in the folder that goes when it is published."""
    return f"{_folder(view, run)}/request.json"


def read_request(
    filesystem: pyarrow.fs.FileSystem, path: str, sources: pyarrow.fs.FileSystem
) -> PlannedRequest:
    """Read what ``write_request`` wrote; ``sources`` is the file system of the view."""
    with filesystem.open_input_stream(path) as source:
        document: dict[str, Any] = json.loads(source.read())
    base = document.pop("base")
    manifest = Manifest.from_json(document.pop("manifest").encode(), path)
    parts = tuple(_source(entry, sources) for entry in document.pop("sources"))
    complete = document.pop("complete")
    window = None if complete is None else (complete[0], complete[1])
    return PlannedRequest(base, Request(manifest, parts, complete=window, **document))


def _source_document(source: Source) -> dict[str, Any]:
    if isinstance(source, ExportPart) and isinstance(source.open_object, ExportFolder):
        return {
            "export": asdict(source.export.summary),
            "files": [list(file) for file in source.export.files],
            "folder": source.open_object.path,
            "key": [list(attribute) for attribute in source.key],
            "decisions": source.decisions.text,
        }
    if isinstance(source, ParquetPart):
        return {
            "path": source.path,
            "kind": source.kind,
            "rows": source.rows,
            "key": [list(attribute) for attribute in source.key],
            "micros": source.micros,
        }
    raise TypeError(f"{type(source).__name__} cannot be read by another process")


def _source(document: Mapping[str, Any], filesystem: pyarrow.fs.FileSystem) -> Source:
    key = tuple(KeyAttribute(*attribute) for attribute in document["key"])
    if "export" in document:
        files = tuple(DataFile(*file) for file in document["files"])
        export = Export(ExportSummary(**document["export"]), files)
        folder = ExportFolder(filesystem, document["folder"])
        return ExportPart(folder, export, key, parse_decisions(document["decisions"]))
    return ParquetPart(
        filesystem, document["path"], document["kind"], document["rows"], key, document["micros"]
    )


@dataclass(frozen=True, slots=True)
class PreparingStore:
    """A view in a bucket whose next version is prepared and not published."""

    filesystem: pyarrow.fs.FileSystem
    path: str

    def read(self) -> Version:
        """As ``Store.read``."""
        try:
            with self.filesystem.open_input_stream(f"{self.path}/{MANIFEST}") as source:
                manifest = Manifest.from_json(source.read(), f"{self.path}/{MANIFEST}")
        except FileNotFoundError:
            manifest = Manifest()
        return Version(manifest, manifest.run)

    @contextmanager
    def working(self, run: str) -> Iterator[Work]:
        """As ``Store.working``; the files of the next version stay."""
        folder = _folder(self.path, run)
        work = Work(run, f"{folder}/version", self.filesystem, f"{folder}/scratch")
        self.filesystem.create_dir(work.version, recursive=True)
        try:
            yield work
        except BaseException:
            with suppress(OSError):
                self.filesystem.delete_dir(folder)
            raise
        with suppress(OSError):
            self.filesystem.delete_dir(work.scratch)

    def publish(self, before: Version, after: Manifest, work: Work) -> None:
        """Nothing: ``publish_prepared`` does."""


def write_prepared(
    filesystem: pyarrow.fs.FileSystem, path: str, run: str, base: str, updated: Updated
) -> None:
    """State in the run's folder what ``publish_prepared`` is to publish."""
    document = {
        "base": base,
        "manifest": updated.manifest.to_json().decode(),
        "rewritten": updated.rewritten,
        "counts": asdict(updated.counts),
        "seconds": updated.seconds,
    }
    with filesystem.open_output_stream(f"{_folder(path, run)}/prepared.json") as sink:
        sink.write(json.dumps(document).encode())


def publish_prepared(store: BucketStore, run: str) -> Updated:
    """Publish the version that a run has prepared.

    Raises:
        ConcurrentUpdateError: another run has published since it was planned.
        FileNotFoundError: the run has prepared none.
    """
    folder = _folder(store.path, run)
    with store.filesystem.open_input_stream(f"{folder}/prepared.json") as source:
        document = json.loads(source.read())
    before = store.read()
    manifest = Manifest.from_json(document["manifest"].encode(), folder)
    counts = Counts(**document["counts"])
    updated = Updated(manifest, True, document["rewritten"], counts, document["seconds"])
    if before.manifest.run == manifest.run:
        return updated
    planned = PlannedRequest(document["base"], Request(manifest, ()))
    planned.checked(before.manifest)
    store.publish(before, manifest, Work(run, f"{folder}/version", store.filesystem, folder))
    with suppress(OSError):
        store.filesystem.delete_dir(folder)
    return updated


def _folder(path: str, run: str) -> str:
    return f"{path}/{FOLDER}/work-{run}"
