"""The archives of functions and Spark jobs: reproducible, small, and importable."""

import hashlib
import io
import shutil
import subprocess
import sys
import zipfile
from pathlib import Path

import boto3
import pyspark
import pytest

import ddb_pipeline
from ddb_pipeline.deploy import spark_libraries
from ddb_pipeline.deploy.bundle import (
    FUNCTIONS,
    MAX_BYTES,
    SPARK_JOBS,
    BundleError,
    build_bundle,
    build_bundles,
    build_spark_bundle,
    imported_files,
    write_bundles,
)
from ddb_pipeline.deploy.spark_libraries import (
    ARCHITECTURES,
    add_native_library,
    write_spark_libraries,
)
from ddb_pipeline.native import build as native


@pytest.mark.parametrize("name", FUNCTIONS)
def test_copied_sources_have_the_same_archive(
    name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    built = build_bundle(name)
    assert built.sha256 == hashlib.sha256(built.body).hexdigest()
    copy = shutil.copytree(Path(ddb_pipeline.__file__).parent, tmp_path / "a" / "ddb_pipeline")
    monkeypatch.setattr(ddb_pipeline, "__file__", str(copy / "__init__.py"))
    assert build_bundle(name) == built


@pytest.mark.parametrize("name", FUNCTIONS)
def test_an_archive_contains_what_the_function_imports(name: str) -> None:
    bundle = build_bundle(name)
    assert bundle.name == name
    assert len(bundle.body) < MAX_BYTES
    with zipfile.ZipFile(io.BytesIO(bundle.body)) as archive:
        entries = archive.infolist()
    names = [entry.filename for entry in entries]
    assert names == sorted(names)
    assert "ddb_pipeline/__init__.py" in names
    assert f"ddb_pipeline/functions/{name}.py" in names
    assert not [n for n in names if n.startswith(("ddb_pipeline/lake", "ddb_pipeline/defs"))]
    assert all(n.endswith(".py") for n in names)
    assert {entry.date_time for entry in entries} == {(1980, 1, 1, 0, 0, 0)}
    assert {entry.external_attr >> 16 for entry in entries} == {0o100644}


IMPORT = """
import sys
sys.path[:0] = sys.argv[1:3]
from ddb_pipeline.functions.{name} import handler
assert callable(handler)
import ddb_pipeline
assert ddb_pipeline.__file__.startswith(sys.argv[1]), ddb_pipeline.__file__
unwanted = {{"dagster", "pyarrow", "pandas", "pydantic"}} & set(sys.modules)
assert not unwanted, unwanted
"""


@pytest.mark.parametrize("name", FUNCTIONS)
def test_a_handler_imports_from_its_archive_and_boto3_only(name: str, tmp_path: Path) -> None:
    bundle = build_bundle(name)
    path = tmp_path / "function.zip"
    path.write_bytes(bundle.body)
    site_packages = str(Path(boto3.__file__).parent.parent)
    subprocess.run(
        [sys.executable, "-I", "-S", "-c", IMPORT.format(name=name), str(path), site_packages],
        env={},
        check=True,
    )


def test_write_bundles_writes_every_archive(tmp_path: Path) -> None:
    folder = tmp_path / "new" / "directory"
    paths = write_bundles(folder)
    written = {path.relative_to(folder).as_posix(): path.read_bytes() for path in paths}
    spark = build_spark_bundle()
    assert written == {
        **{f"{name}.zip": bundle.body for name, bundle in build_bundles().items()},
        **{f"spark/{name}.py": spark.scripts[name] for name in SPARK_JOBS},
        "spark/modules.zip": spark.body,
    }


SPARK_IMPORT = """
import sys
sys.path[:0] = sys.argv[1:3]
import ddb_pipeline, dagster_pipes
assert ddb_pipeline.__file__.startswith(sys.argv[1]), ddb_pipeline.__file__
assert dagster_pipes.__file__.startswith(sys.argv[1]), dagster_pipes.__file__
import runpy
try:
    runpy.run_path(sys.argv[3], run_name="__main__")
except SystemExit as error:
    print(error.code)
unwanted = {"dagster", "boto3", "pyarrow", "pandas", "pydantic", "numpy"} & set(sys.modules)
assert not unwanted, unwanted
"""


def test_the_relevance_job_needs_only_spark_and_its_archive(tmp_path: Path) -> None:
    """As on EMR: the script is a file, its imports are in the archive, Spark is in the image."""
    pyspark = pytest.importorskip("pyspark")
    write_bundles(tmp_path)
    spark = tmp_path / "spark-of-the-image"
    spark.mkdir()
    (spark / "pyspark").symlink_to(Path(pyspark.__file__).parent)
    py4j = pytest.importorskip("py4j")
    (spark / "py4j").symlink_to(Path(py4j.__file__).parent)
    script = tmp_path / "spark" / "relevance.py"
    modules = str(tmp_path / "spark" / "modules.zip")
    done = subprocess.run(
        [sys.executable, "-I", "-S", "-c", SPARK_IMPORT, modules, str(spark), str(script)],
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    assert done.stdout.strip() == "2"
    assert "--stream" in done.stderr


def test_the_spark_bundle_is_reproducible() -> None:
    assert build_spark_bundle() == build_spark_bundle()
    with zipfile.ZipFile(io.BytesIO(build_spark_bundle().body)) as archive:
        names = archive.namelist()
    assert names == sorted(names)
    assert {"dagster_pipes/__init__.py", "ddb_pipeline/spark/scoring.py"} < set(names)
    assert not [n for n in names if n.startswith(("ddb_pipeline/defs", "ddb_pipeline/embedded"))]


LIBRARIES = """
import sys
sys.path[:0] = [sys.argv[1], *sys.argv[2:]]
from ddb_pipeline.spark import export_job, relevance
assert export_job.__file__.startswith(sys.argv[1]), export_job.__file__
assert "boto3" not in sys.modules
"""


def test_spark_jobs_import_from_their_archive(tmp_path: Path) -> None:
    path = tmp_path / "modules.zip"
    path.write_bytes(build_spark_bundle().body)
    site_packages = str(Path(pyspark.__file__).parent.parent)
    subprocess.run(
        [sys.executable, "-I", "-S", "-c", LIBRARIES, str(path), site_packages], env={}, check=True
    )


def test_libraries_are_wheels_for_the_platform(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    # Without ziglang here, pip would download 100 MB of it; see the test of the reader in C.
    monkeypatch.setattr(spark_libraries, "add_native_library", lambda folder, architecture: None)
    path = tmp_path / "new" / "libraries.zip"
    assert write_spark_libraries(path, "ARM64") == path.stat().st_size < 100_000_000
    with zipfile.ZipFile(path) as archive:
        names = archive.namelist()
    binaries = [name for name in names if ".cpython-311-" in name]
    assert binaries
    assert all("aarch64-linux-gnu" in name for name in binaries)
    tops = {name.split("/")[0] for name in names}
    assert {"isal", "numpy", "pyarrow"} <= tops
    assert not any("/tests/" in name for name in names)


def module(root: Path, name: str, text: str) -> None:
    """Write a module's source and the packages that contain it."""
    path = root.joinpath(*name.split("."))
    path.parent.mkdir(parents=True, exist_ok=True)
    for parent in path.parents:
        if parent == root:
            break
        (parent / "__init__.py").touch()
    path.with_name(f"{path.name}.py").write_text(text)


@pytest.mark.parametrize("architecture", ARCHITECTURES)
def test_the_export_reader_in_c_loads_beside_the_archive(architecture: str, tmp_path: Path) -> None:
    machine = ("linux", ARCHITECTURES[architecture])
    is_this = machine == native.this_platform()
    if (native.compiler() if is_this else native.zig()) is None:
        pytest.skip(f"there is no compiler for {architecture}; for other machines it is ziglang")
    modules, libraries = tmp_path / "modules.zip", tmp_path / "libraries"
    modules.write_bytes(build_spark_bundle().body)
    libraries.mkdir()
    add_native_library(libraries, architecture)
    [library] = libraries.rglob("*.so")
    assert library.read_bytes()[:4] == b"\x7fELF"
    code = (
        "from ddb_pipeline.native import library as l; print(l.__file__, l.library() is not None)"
    )
    done = subprocess.run(
        [sys.executable, "-c", code],
        env={"PYTHONPATH": f"{modules}:{libraries}"},
        cwd=tmp_path,
        capture_output=True,
        text=True,
        check=True,
    )
    assert done.stdout.split() == [f"{modules}/ddb_pipeline/native/library.py", str(is_this)]


def test_imported_modules_are_found(tmp_path: Path) -> None:
    module(tmp_path, "own.entry", "import json\nfrom own.parts import one\nfrom . import sibling\n")
    module(tmp_path, "own.sibling", "from .parts.two import thing\n")
    module(tmp_path, "own.parts.one", "def f():\n    import own.parts.late\n")
    module(tmp_path, "own.parts.two", "import boto3\nthing = 1\n")
    module(tmp_path, "own.parts.late", "")
    module(tmp_path, "own.parts.unused", "")
    assert set(imported_files(tmp_path, ["own.entry"])) == {
        "own",
        "own.entry",
        "own.parts",
        "own.parts.late",
        "own.parts.one",
        "own.parts.two",
        "own.sibling",
    }


def test_type_checking_imports_do_not_count(tmp_path: Path) -> None:
    text = (
        "from typing import TYPE_CHECKING\nimport typing\n"
        "if TYPE_CHECKING:\n    import pandas\n"
        "if typing.TYPE_CHECKING:\n    import pyarrow\nelse:\n    import own.real\n"
    )
    module(tmp_path, "own.entry", text)
    module(tmp_path, "own.real", "")
    assert "own.real" in imported_files(tmp_path, ["own.entry"])


def test_an_import_that_lambda_lacks_is_an_error(tmp_path: Path) -> None:
    module(tmp_path, "own.entry", "import own.middle\n")
    module(tmp_path, "own.middle", "import pyarrow.parquet\n")
    with pytest.raises(BundleError, match=r"'pyarrow.parquet'.*own.entry → own.middle"):
        imported_files(tmp_path, ["own.entry"])


def test_a_missing_module_is_an_error(tmp_path: Path) -> None:
    module(tmp_path, "own.entry", "import own.gone\n")
    with pytest.raises(BundleError, match=r"'own\.gone' is not under"):
        imported_files(tmp_path, ["own.entry"])
