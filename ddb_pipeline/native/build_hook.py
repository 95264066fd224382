"""Hatchling's hook of the installation: compiles this folder's C sources, and never fails.

Where it cannot compile, the package is installed without the library, reads exports without it and
says so in its log.
"""

import importlib.util
import os
import tempfile
from pathlib import Path
from types import ModuleType
from typing import Any

from hatchling.builders.hooks.plugin.interface import BuildHookInterface

NATIVE = "ddb_pipeline/native"
WITHOUT = "DDB_PIPELINE_WITHOUT_NATIVE"
"""Environment variable: if it is set, nothing is compiled, and no compiler is installed."""


class NativeBuildHook(BuildHookInterface[Any]):
    """Called by hatchling for each wheel; an editable installation is one, too."""

    PLUGIN_NAME = "custom"
    _temporary: tempfile.TemporaryDirectory[str] | None = None

    def dependencies(self) -> list[str]:
        """A compiler that pip installs for the build, where the machine has none."""
        build = _build_module(Path(self.root))
        return [build.ZIG] if _is_wanted(build) and build.compiler() is None else []

    def initialize(self, version: str, build_data: dict[str, Any]) -> None:
        """Compile the library: into the sources of an editable installation, or into the wheel."""
        build = _build_module(Path(self.root))
        if not _is_wanted(build):
            return
        name = build.library_name()
        folder = Path(self.root, NATIVE)
        self._temporary = tempfile.TemporaryDirectory(prefix="ddb-pipeline-")
        output = (folder if version == "editable" else Path(self._temporary.name)) / name
        try:
            build.build(output, folder=folder)
        except build.BuildError as error:
            self.app.display_warning(f"The export reader in C was not built: {error}.")
            return
        build_data["pure_python"] = False
        build_data["tag"] = f"py3-none-{build.wheel_tag()}"
        if version != "editable":
            build_data["force_include"][str(output)] = f"{NATIVE}/{name}"

    def finalize(self, version: str, build_data: dict[str, Any], artifact_path: str) -> None:
        """Remove what the wheel was made from."""
        if self._temporary is not None:
            self._temporary.cleanup()


def _is_wanted(build: ModuleType) -> bool:
    return build.this_platform() in build.PLATFORMS and not os.environ.get(WITHOUT)


def _build_module(root: Path) -> ModuleType:
    """``ddb_pipeline.native.build``, before the package is installed."""
    spec = importlib.util.spec_from_file_location("native_build", root / NATIVE / "build.py")
    if spec is None or spec.loader is None:
        raise ImportError(f"{root / NATIVE / 'build.py'}")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module
