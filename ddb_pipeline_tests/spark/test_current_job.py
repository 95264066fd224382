"""The job that updates a view on Spark's Python workers writes the same files as one machine."""

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pyarrow.dataset as ds
import pyarrow.fs
import pytest

from ddb_pipeline.embedded.process import Endpoint
from ddb_pipeline.export.source import open_export
from ddb_pipeline.hive.types import Column
from ddb_pipeline.lake.current.exports import Exports, Opened, plan_exports
from ddb_pipeline.lake.current.manifest import Manifest
from ddb_pipeline.lake.current.object_store import S3Manifest
from ddb_pipeline.lake.current.prepared import publish_prepared, read_request, write_request
from ddb_pipeline.lake.current.sources import ParquetPart
from ddb_pipeline.lake.current.steps import here
from ddb_pipeline.lake.current.store import BucketStore, ConcurrentUpdateError, LocalStore
from ddb_pipeline.lake.current.update import Request, update
from ddb_pipeline.lake.root import LakeRoot
from ddb_pipeline.spark.current_job import CurrentArguments, CurrentJobError, parse, run
from ddb_pipeline.spark.export_job import located
from ddb_pipeline_tests.lake.current.conftest import ViewOfItems
from ddb_pipeline_tests.support.random_histories import History, differences
from ddb_pipeline_tests.support.recording_reporter import RecordingReporter

MINUTE = 60_000_000
COLUMNS = (Column("id", "string"), Column("n", "bigint"))


class Written:
    """A history as a full export and the changes after it."""

    def __init__(self, folder: Path) -> None:
        self.history = History(3)
        self.full = self.history.write_full(folder / "full", 30 * MINUTE)
        self.window = self.history.write_window(folder / "window", 30 * MINUTE, self.history.end)

    def requests(self, opened: Callable[[Path], Opened]) -> list[Callable[[Manifest], Request]]:
        """Plans of the two updates."""
        key = ("Id", "at")[: len(self.history.kind)]
        given = [
            Exports(opened(self.full), key=key, buckets=3),
            Exports(changes=(opened(self.window),)),
        ]

        def plan(exports: Exports) -> Callable[[Manifest], Request]:
            def planned(state: Manifest) -> Request:
                request = plan_exports(state, exports).request
                assert request is not None
                return request

            return planned

        return [plan(exports) for exports in given]


def contents(view: Path, manifest: Manifest) -> list[bytes]:
    return [(view / path).read_bytes() for path in manifest.paths]


def test_the_files_are_the_same_as_on_one_machine(session: Any, tmp_path: Path) -> None:
    written = Written(tmp_path)
    local = pyarrow.fs.LocalFileSystem()
    one, other = tmp_path / "one", tmp_path / "spark"
    plans = written.requests(lambda folder: open_export(local, str(folder)))
    reporter = RecordingReporter()
    for number, plan in enumerate(plans):
        here_now = update(LocalStore(str(one)), plan, here).manifest
        base = LocalStore(str(other)).read().manifest
        path = tmp_path / f"request-{number}.json"
        write_request(local, str(path), base, plan(base))
        arguments = CurrentArguments(other.as_uri(), path.as_uri(), f"run{number}")
        found = run(session, parse(arguments.command_line()), reporter).manifest
        assert contents(one, here_now) == contents(other, found)
        assert replace(found, run="", files=()) == replace(here_now, run="", files=())
    rows = ds.dataset(other, partitioning="hive").to_table().to_pylist()
    assert not differences(written.history.at(written.history.end), rows)
    assert reporter.lines[-1].startswith(f"Published {len(rows)} rows in 3 bucket(s), of which ")
    # The request was planned for a version that is no longer the current one.
    with pytest.raises(CurrentJobError, match="Plan it again"):
        run(session, arguments, reporter)


def test_a_bucket_gets_a_prepared_version_that_the_submitter_publishes(
    session: Any,
    tmp_path: Path,
    embedded_aws: Endpoint,
    aws_client: Callable[[str], Any],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    s3 = aws_client("s3")
    s3.create_bucket(Bucket="spark-current")
    environment = {
        "AWS_ENDPOINT_URL_S3": s3.meta.endpoint_url,
        "AWS_ACCESS_KEY_ID": embedded_aws.credentials.access_key_id,
        "AWS_SECRET_ACCESS_KEY": embedded_aws.credentials.secret_access_key,
        "AWS_DEFAULT_REGION": "us-east-1",
    }
    for name, value in environment.items():
        monkeypatch.setenv(name, value)
        # The Python workers of a session that is running have the environment of its start.
        monkeypatch.setitem(session.sparkContext.environment, name, value)
    written = Written(tmp_path)
    filesystem, path = located("s3://spark-current/lake/view")
    for name in ("full", "window"):
        pyarrow.fs.copy_files(
            str(tmp_path / name), f"spark-current/{name}", destination_filesystem=filesystem
        )
    manifest = S3Manifest(s3, LakeRoot("spark-current"), "lake/view/_current/manifest.json")
    store = BucketStore(filesystem, path, manifest)
    plans = written.requests(lambda folder: open_export(filesystem, f"spark-current/{folder.name}"))
    for number, plan in enumerate(plans):
        base = store.read().manifest
        write_request(filesystem, "spark-current/request.json", base, plan(base))
        arguments = CurrentArguments(
            f"s3://{path}", "s3://spark-current/request.json", f"run{number}"
        )
        run(session, arguments, RecordingReporter())
        assert store.read().manifest == base
        updated = publish_prepared(store, f"run{number}")
        assert store.read().manifest == updated.manifest
    table = ds.dataset(path, filesystem=filesystem, partitioning="hive").to_table()
    assert not differences(written.history.at(written.history.end), table.to_pylist())
    keys = [entry["Key"] for entry in s3.list_objects_v2(Bucket="spark-current")["Contents"]]
    assert not [key for key in keys if "/work-" in key and not key.endswith("/")]


def test_a_request_is_for_the_version_that_it_was_planned_for(tmp_path: Path) -> None:
    items = ViewOfItems(tmp_path)
    items.full([{"id": "a", "n": 1}], COLUMNS)
    base = items.store.read().manifest
    source = items.part([{"id": "a", "n": 2, "at": 1}], "changes")
    local = pyarrow.fs.LocalFileSystem()
    sources = (source, ParquetPart(local, "stream/0.parquet", "stream", 7))
    planned = Request(base, sources, replaces=True, buckets=4, delivered_until=5)
    write_request(local, str(tmp_path / "request.json"), base, planned)
    request = read_request(local, str(tmp_path / "request.json"), local)
    assert request.request == planned
    items.change([{"id": "a", "n": 3, "at": 1}], COLUMNS)
    with pytest.raises(ConcurrentUpdateError):
        request.checked(items.store.read().manifest)
