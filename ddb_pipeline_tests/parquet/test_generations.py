"""Generations: readers see one write or another, never a part of one."""

import os
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator
from datetime import datetime, timedelta, timezone
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.dataset as ds
import pyarrow.fs
import pytest

from ddb_pipeline.embedded.clients import client_arguments
from ddb_pipeline.embedded.process import Endpoint
from ddb_pipeline.parquet.dataset import PartitionFiles, parquet_dataset
from ddb_pipeline.parquet.generations import (
    MANIFEST,
    current_generation,
    drop_superseded,
    make_current,
    new_generation,
    superseded,
)
from ddb_pipeline.parquet.parts import PartOptions
from ddb_pipeline.parquet.publish import Destination, PublishError
from ddb_pipeline.resources.filesystem import s3_filesystem

OPTIONS = PartOptions(arrow_types=True)
LOCAL = pyarrow.fs.LocalFileSystem()


@pytest.fixture(params=["local", pytest.param("s3", marks=pytest.mark.embedded)])
def destination(request: pytest.FixtureRequest, tmp_path: Path) -> Destination:
    """A folder that does not exist yet."""
    if request.param == "local":
        return Destination(LOCAL, str(tmp_path / "asset"))
    aws: Callable[[str], Any] = request.getfixturevalue("aws_client")
    endpoint: Endpoint = request.getfixturevalue("embedded_aws")
    bucket = f"generations-{os.urandom(4).hex()}"
    aws("s3").create_bucket(Bucket=bucket)
    return Destination(s3_filesystem(client_arguments(endpoint)), f"{bucket}/assets/asset")


def rows(*values: int) -> pa.Table:
    return pa.table({"n": pa.array(values, pa.int64())})


def write(destination: Destination, *values: int, options: PartOptions = OPTIONS) -> str:
    table = rows(*values)
    with new_generation(destination, [table], table.schema, options) as generation:
        make_current(destination, generation)
    return generation.name


def dataset(destination: Destination) -> ds.Dataset:
    generation = current_generation(destination)
    assert generation is not None
    paths = [f"{destination.path}/{generation.name}/{part.path}" for part in generation.parts]
    files = [PartitionFiles(tuple(paths), {})]
    return parquet_dataset(destination.filesystem, files, generation.schema)


def read(destination: Destination) -> list[int]:
    found: list[int] = dataset(destination).to_table()["n"].to_pylist()
    return found


def folders(destination: Destination) -> list[str]:
    selector = pyarrow.fs.FileSelector(destination.path, allow_not_found=True)
    return sorted(
        info.base_name
        for info in destination.filesystem.get_file_info(selector)
        if info.type == pyarrow.fs.FileType.Directory
    )


def test_a_write_replaces_the_one_before(destination: Destination) -> None:
    assert current_generation(destination) is None
    write(destination, 1, 2)
    before = dataset(destination)
    write(destination, 3)
    assert read(destination) == [3]
    # Who has begun to read what was there before finishes with it.
    assert before.to_table()["n"].to_pylist() == [1, 2]


def test_no_rows_are_a_generation_with_a_schema(destination: Destination) -> None:
    write(destination, 1)
    write(destination)
    assert read(destination) == []
    generation = current_generation(destination)
    assert generation is not None
    assert (generation.rows, generation.schema.names) == (0, ["n"])


def test_a_write_that_fails_changes_nothing(destination: Destination) -> None:
    first = write(destination, 1)

    def batches() -> Iterator[pa.Table]:
        yield rows(2)
        raise RuntimeError("no more rows")

    tiny = PartOptions(row_group_bytes=1, file_bytes=1, arrow_types=True)
    with (
        pytest.raises(RuntimeError, match="no more rows"),
        new_generation(destination, batches(), rows().schema, tiny),
    ):
        pytest.fail("the generation is not whole")
    with (
        pytest.raises(RuntimeError, match="refused"),
        new_generation(destination, [rows(3)], rows().schema, OPTIONS),
    ):
        raise RuntimeError("refused")
    assert read(destination) == [1]
    assert folders(destination) == [first]


def test_the_last_of_two_writers_counts(destination: Destination) -> None:
    one, other = rows(1), rows(2)
    with new_generation(destination, [one], one.schema, OPTIONS) as first:
        with new_generation(destination, [other], other.schema, OPTIONS) as second:
            make_current(destination, second)
        make_current(destination, first)
    assert read(destination) == [1]


def test_replaced_files_are_removed_after_a_while(destination: Destination) -> None:
    write(destination, 1)
    second = write(destination, 2)
    third = write(destination, 3)
    assert drop_superseded(destination, third, timedelta(hours=1)) == []
    assert len(folders(destination)) == 3
    drop_superseded(destination, third, timedelta(0))
    assert folders(destination) == [third]
    assert read(destination) == [3]
    assert second not in folders(destination)


HOUR = timedelta(hours=1)
NOON = datetime(2026, 11, 24, 12, tzinfo=timezone.utc)


@pytest.mark.parametrize(
    ("begun", "current", "expected"),
    [
        pytest.param([], 0, [], id="nothing"),
        pytest.param([-48], 0, [], id="the current one stays at any age"),
        pytest.param([-48, -1], 1, [], id="replaced an hour ago"),
        pytest.param([-48, -25], 1, [0], id="replaced a day ago"),
        pytest.param([-72, -48, -25, -1], 3, [0, 1], id="of several the old ones"),
        pytest.param([-72, -48, -30], 1, [0], id="a clock ran ahead: the last is not current"),
    ],
)
def test_superseded(begun: list[int], current: int, expected: list[int]) -> None:
    names = [f"{NOON + hours * HOUR:%Y%m%dT%H%M%S%f}-0123abcd" for hours in begun]
    name = names[current] if names else ""
    assert superseded(names, name, NOON - 24 * HOUR) == [names[index] for index in expected]


def test_a_damaged_manifest_is_an_error_that_names_it(tmp_path: Path) -> None:
    destination = Destination(LOCAL, str(tmp_path))
    (tmp_path / MANIFEST).write_text('{"generation": "x"')
    with pytest.raises(PublishError, match=rf"{MANIFEST} is damaged"):
        current_generation(destination)


def test_a_folder_that_cannot_be_written_is_an_error_that_names_it(tmp_path: Path) -> None:
    (tmp_path / "asset").write_text("a file")
    with pytest.raises(PublishError, match="asset"):
        write(Destination(LOCAL, str(tmp_path / "asset")), 1)


ENDLESS = """
import sys, pyarrow as pa, pyarrow.fs
from ddb_pipeline_tests.parquet.test_generations import write
from ddb_pipeline.parquet.publish import Destination
n = 0
while True:
    n += 1
    write(Destination(pyarrow.fs.LocalFileSystem(), sys.argv[1]), *[n] * 1000)
    print(n, flush=True)
"""


def test_writers_killed_anywhere_leave_one_write_or_another(tmp_path: Path) -> None:
    destination = Destination(LOCAL, str(tmp_path / "asset"))
    last = 0
    for round_ in range(5):
        writer = subprocess.Popen(
            [sys.executable, "-c", ENDLESS, destination.path], stdout=subprocess.PIPE, text=True
        )
        assert writer.stdout is not None
        for _ in range(3 + 7 * round_):
            last = int(writer.stdout.readline())
            found = read(destination)
            assert len(found) == 1000
            assert len(set(found)) == 1
        writer.send_signal(signal.SIGKILL)
        writer.wait()
        found = read(destination)
        assert len(found) == 1000
        assert len(set(found)) == 1
        assert found[0] >= last
        writer.stdout.close()
    newest = write(destination, 7)
    drop_superseded(destination, newest, timedelta(0))
    assert folders(destination) == [newest]
