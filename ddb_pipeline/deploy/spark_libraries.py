"""The archive of Python libraries that the export job needs on EMR Serverless.

EMR's images contain Spark and Python; ``spark.archives`` adds these libraries, installed by pip
from wheels for the images' platform, and the export reader in C, compiled for it.
"""

import logging
import subprocess
import sys
import tempfile
import zipfile
from importlib.metadata import version
from pathlib import Path

from ddb_pipeline.deploy.bundle import BundleError, zip_entry
from ddb_pipeline.native import build as native
from ddb_pipeline.native.library import LIBRARIES_PACKAGE

LIBRARIES = ("isal", "numpy", "pyarrow")
PYTHON = "3.11"
"""The version of Python that runs jobs; see ``spark.submission.EMR_PYTHON``."""
ARCHITECTURES = {"ARM64": "aarch64", "X86_64": "x86_64"}
"""Names of processor architectures: EMR Serverless's, and those in the names of wheels."""
SKIPPED_FOLDERS = frozenset(("tests", "include", "__pycache__"))

_log = logging.getLogger(__name__)


def write_spark_libraries(path: Path, architecture: str = "ARM64") -> int:
    """Write the archive, with the versions of the libraries that are installed here.

    Returns:
        the archive's size in bytes.

    Raises:
        BundleError: pip is not installed or finds no wheels.
    """
    requirements = [f"{name}=={version(name)}" for name in LIBRARIES]
    with tempfile.TemporaryDirectory() as folder:
        _install(requirements, folder, ARCHITECTURES[architecture])
        add_native_library(Path(folder), architecture)
        path.parent.mkdir(parents=True, exist_ok=True)
        _zip_folder(Path(folder), path)
    return path.stat().st_size


def add_native_library(folder: Path, architecture: str) -> None:
    """Compile the export reader in C for an architecture into a folder of libraries.

    If this is not possible, the log says so: the job then reads exports without it.
    """
    machine = ("linux", ARCHITECTURES[architecture])
    output = folder / LIBRARIES_PACKAGE / native.library_name("linux")
    output.parent.mkdir()
    try:
        if machine == native.this_platform() and native.compiler() is not None:
            native.build(output)
        else:
            _cross_build(output, machine)
    except native.BuildError as error:
        output.parent.rmdir()
        _log.warning(
            "The archive has no export reader in C (%s); the job reads exports without it.", error
        )


def _cross_build(output: Path, machine: tuple[str, str]) -> None:
    """Compile with zig, which pip installs for this one use if it is not there."""
    if native.zig() is not None:
        native.build(output, machine)
        return
    with tempfile.TemporaryDirectory() as folder:
        command = [sys.executable, "-m", "pip", "install", "--quiet", "--target", folder]
        done = subprocess.run([*command, native.ZIG], capture_output=True, text=True, check=False)
        if done.returncode:
            raise native.BuildError(f"pip did not install {native.ZIG}")
        zig = str(Path(folder, "ziglang", "zig"))
        native.build(output, machine, command=(zig, *native.ZIG_ARGUMENTS))


def _install(requirements: list[str], folder: str, machine: str) -> None:
    command = [sys.executable, "-m", "pip", "install", "--quiet", "--target", folder]
    command += ["--python-version", PYTHON, "--only-binary=:all:", "--no-compile"]
    # Amazon Linux 2023 has glibc 2.34.
    for glibc in ("2_28", "2_17"):
        command += ["--platform", f"manylinux_{glibc}_{machine}"]
    command += ["--platform", f"manylinux2014_{machine}", *requirements]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    if done.returncode:
        raise BundleError(
            f"pip did not install wheels of {', '.join(requirements)} for {machine}: "
            f"{done.stderr.strip().splitlines()[-1] if done.stderr.strip() else 'no reason given'}"
        )


def _zip_folder(folder: Path, target: Path) -> None:
    with zipfile.ZipFile(target, "w", zipfile.ZIP_DEFLATED) as archive:
        for path in sorted(folder.rglob("*")):
            relative = path.relative_to(folder)
            if not path.is_file() or SKIPPED_FOLDERS & set(relative.parts):
                continue
            entry = zip_entry(relative.as_posix(), zipfile.ZIP_DEFLATED)
            archive.writestr(entry, path.read_bytes())
