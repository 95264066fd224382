"""Compiles the library: ``python -m ddb_pipeline.native.build``.

Needs the standard library only and no other module of this package, because the hook of the
installation (``build_hook.py``) runs it before there is one. The compiler is ``cc`` (or ``$CC``),
otherwise that of the package ``ziglang``, which also compiles for other platforms.
"""

import hashlib
import importlib.util
import os
import platform
import shutil
import subprocess
import sys
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Final

FOLDER: Final = Path(__file__).parent
SOURCES: Final = (
    "lines.h",
    "scan.h",
    "scalars.h",
    "json_text.h",
    "scan.c",
    "observe.c",
    "arrays.c",
    "arrow.c",
)
ZIG: Final = "ziglang>=0.13"
"""The requirement of a compiler that pip can install."""

ZIG_ARGUMENTS: Final = ("cc", "-mcpu=baseline")
"""Arguments of zig's C compiler. Without ``-mcpu`` it takes all instructions of this processor."""

FLAGS: Final = ("-std=c99", "-O3", "-fPIC", "-shared", "-fno-strict-aliasing", "-Wall", "-Wextra")


PLATFORMS: Final = {
    ("linux", "x86_64"): "x86_64-linux-gnu.2.17",
    ("linux", "aarch64"): "aarch64-linux-gnu.2.17",
    ("darwin", "x86_64"): "x86_64-macos.11.0-none",
    ("darwin", "arm64"): "aarch64-macos.11.0-none",
}
"""Platforms by ``sys.platform`` and ``platform.machine()``, with their names for zig, which contain
the oldest C library or system."""


class BuildError(Exception):
    """The library cannot be compiled; the message says why."""


def this_platform() -> tuple[str, str]:
    """The key in ``PLATFORMS`` of the machine that runs this."""
    return sys.platform, platform.machine()


def wheel_tag() -> str:
    """The tag of this platform in names of wheels."""
    system, machine = this_platform()
    return f"macosx_11_0_{machine}" if system == "darwin" else f"{system}_{machine}"


def library_name(system: str = sys.platform) -> str:
    """The file name of the library."""
    return "_export.dylib" if system == "darwin" else "_export.so"


def source_digest(read: Callable[[str], bytes | None]) -> str | None:
    """A hash of the C sources, each read by its name; None if one is not there."""
    digest = hashlib.sha256()
    try:
        for name in SOURCES:
            digest.update(read(name) or b"")
    except OSError:
        return None
    return digest.hexdigest()[:16]


def compiler() -> Sequence[str] | None:
    """The command of the compiler for this machine; None if there is none."""
    command = os.environ.get("CC", "cc").split()
    if command and shutil.which(command[0]):
        return command
    return zig()


def zig() -> Sequence[str] | None:
    """The command of zig's C compiler; None if the package is not installed."""
    if importlib.util.find_spec("ziglang") is None:
        return None
    return (sys.executable, "-m", "ziglang", *ZIG_ARGUMENTS)


def build(
    output: Path,
    machine: tuple[str, str] | None = None,
    flags: Sequence[str] = (),
    folder: Path = FOLDER,
    command: Sequence[str] | None = None,
) -> None:
    """Compile the library to the file ``output``, which is replaced in one step.

    Args:
        machine: a key of ``PLATFORMS``, for which zig compiles; by default, this machine.
        flags: further flags of the compiler.
        command: the compiler, if it is not ``compiler()`` or ``zig()``.

    Raises:
        BuildError: there is no compiler, or it failed.
    """
    command = list(command or (compiler() if machine is None else zig()) or ())
    if not command:
        needed = "a C compiler (cc)" if machine is None else "ziglang"
        raise BuildError(f"{needed} is not installed")
    if machine is None and sys.platform == "darwin":
        command.append("-mmacosx-version-min=11.0")
    elif machine is None or machine[0] == "linux":
        command.append("-s")
    if machine is not None:
        command += ["-target", PLATFORMS[machine]]
    partial = output.with_name(f"{output.name}.{os.getpid()}")
    digest = source_digest(lambda name: (folder / name).read_bytes())
    command += [*FLAGS, *flags, f'-DDIGEST_OF_SOURCES="{digest}"', "-o", str(partial)]
    command += [str(folder / name) for name in SOURCES if name.endswith(".c")]
    try:
        done = subprocess.run(command, capture_output=True, text=True, check=False)
        if done.returncode:
            raise BuildError(f"{command[0]} failed: {done.stderr.strip()[-500:]}")
        partial.replace(output)
    except OSError as error:
        raise BuildError(f"{command[0]} cannot be run: {error}") from None
    finally:
        partial.unlink(missing_ok=True)


def main() -> None:
    """Compile the library beside the sources."""
    output = FOLDER / library_name()
    try:
        build(output)
    except BuildError as error:
        sys.exit(f"The library was not built: {error}.")
    print(output)  # noqa: T201


if __name__ == "__main__":
    main()
