"""Zip archives of the Lambda functions and the Spark jobs.

An archive contains only the modules that its entry points import, directly or indirectly, and the
same sources always produce the same bytes.
"""

import ast
import hashlib
import importlib.util
import io
import sys
import zipfile
from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import ddb_pipeline
from ddb_pipeline.errors import DdbPipelineError
from ddb_pipeline.native import build as native

PACKAGE = "ddb_pipeline"
FUNCTIONS = ("stream_to_firehose", "fix_schema")
PROVIDED = frozenset(("boto3", "botocore"))
"""Packages that Lambda's Python runtimes add to the standard library."""

SPARK_JOBS = ("relevance", "export_job", "current_job")
SPARK_PROVIDED = frozenset(("pyspark", "py4j", "dagster_pipes", "pyarrow", "numpy", "isal"))
"""Packages that a Spark job can import: Spark's own; Dagster Pipes, which is added to the archive;
and, for the jobs that convert exports, those of ``spark_libraries.LIBRARIES``."""

MAX_BYTES = 300 * 1024
"""Largest size of a function's archive."""
TIMESTAMP = (1980, 1, 1, 0, 0, 0)
FILE_MODE = 0o100644
UNIX = 3


class BundleError(DdbPipelineError):
    """Code cannot be packaged; the message names the chain of imports that leads to the cause."""


@dataclass(frozen=True, slots=True)
class Bundle:
    """One function's code.

    Attributes:
        name: the function's name in ``FUNCTIONS``.
        body: the zip archive.
        sha256: the archive's hash, hexadecimal.
    """

    name: str
    body: bytes
    sha256: str


def build_bundles() -> dict[str, Bundle]:
    """Package every function; keys are the functions' names.

    Raises:
        BundleError: see ``build_bundle``.
    """
    return {name: build_bundle(name) for name in FUNCTIONS}


def build_bundle(name: str) -> Bundle:
    """Package a function, one of ``FUNCTIONS``.

    Raises:
        BundleError: the function imports, directly or indirectly, a package that Lambda's runtime
            lacks or a module that does not exist; or the archive is larger than ``MAX_BYTES``.
    """
    files = imported_files(_root(), (f"{PACKAGE}.functions.{name}",))
    body = _zip(_relative(_root(), files))
    if len(body) > MAX_BYTES:
        raise BundleError(
            f"The archive of {name} has {len(body)} bytes, more than {MAX_BYTES}: it contains "
            f"{len(files)} modules, the largest is "
            f"{max(files.values(), key=lambda path: path.stat().st_size)}."
        )
    return Bundle(name, body, hashlib.sha256(body).hexdigest())


@dataclass(frozen=True, slots=True)
class SparkBundle:
    """The code of all Spark jobs in the form that EMR Serverless takes.

    Attributes:
        scripts: each job's entry point, by the job's name.
        body: the zip archive for ``--py-files``: the modules that the scripts import.
        sha256: hash of scripts and archive together, hexadecimal.
    """

    scripts: Mapping[str, bytes]
    body: bytes
    sha256: str


def build_spark_bundle() -> SparkBundle:
    """Package the Spark jobs together with Dagster Pipes, which has no dependencies.

    Raises:
        BundleError: a job imports a package that is neither in ``SPARK_PROVIDED`` nor this one.
    """
    root = _root()
    entries = [f"{PACKAGE}.spark.{name}" for name in SPARK_JOBS]
    files = imported_files(root, entries, provided=SPARK_PROVIDED, runtime="EMR's Spark")
    scripts = {name: files[f"{PACKAGE}.spark.{name}"].read_bytes() for name in SPARK_JOBS}
    contents = _relative(root, files)
    spec = importlib.util.find_spec("dagster_pipes")
    if spec is None or spec.origin is None:
        raise BundleError("dagster_pipes is not installed; it is a dependency of dagster.")
    pipes = Path(spec.origin).parent
    contents |= {f"dagster_pipes/{path.name}": path for path in pipes.glob("*.py")}
    # A library in C is used only with the sources that it was compiled from.
    contents |= _relative(root, {name: native.FOLDER / name for name in native.SOURCES})
    body = _zip(contents)
    digest = hashlib.sha256(body)
    for script in scripts.values():
        digest.update(script)
    return SparkBundle(scripts, body, digest.hexdigest())


def write_bundles(directory: Path) -> tuple[Path, ...]:
    """Write the functions' archives as ``<name>.zip`` and the Spark jobs below ``spark/``.

    Returns:
        the paths of the files written.
    """
    directory.mkdir(parents=True, exist_ok=True)
    spark = build_spark_bundle()
    contents = {f"{bundle.name}.zip": bundle.body for bundle in build_bundles().values()}
    contents |= {f"spark/{name}.py": script for name, script in spark.scripts.items()}
    contents["spark/modules.zip"] = spark.body
    paths = []
    for name, body in contents.items():
        path = directory / name
        path.parent.mkdir(exist_ok=True)
        path.write_bytes(body)
        paths.append(path)
    return tuple(paths)


def imported_files(
    root: Path,
    entries: Sequence[str],
    *,
    provided: Collection[str] = PROVIDED,
    runtime: str = "Lambda's runtime",
) -> dict[str, Path]:
    """Find every module that the entry points import, directly or indirectly, with its file.

    The sources are parsed, not run. Imports inside functions count, imports under
    ``TYPE_CHECKING`` do not. ``provided`` are the packages outside of the standard library that
    ``runtime`` has.

    Raises:
        BundleError: a module below ``root`` is missing, or ``runtime`` lacks a package.
    """
    own = {entry.partition(".")[0] for entry in entries}
    files: dict[str, Path] = {}
    pending: list[tuple[str, tuple[str, ...]]] = [(entry, ()) for entry in reversed(entries)]
    while pending:
        module, importers = pending.pop()
        if module in files:
            continue
        chain = (*importers, module)
        path = _module_path(root, module)
        if path is None:
            raise BundleError(f"Module {module!r} is not under {root} ({' → '.join(chain)}).")
        files[module] = path
        for imported in _imports(root, module, path):
            top = imported.partition(".")[0]
            if top in own:
                pending.append((imported, chain))
            elif top not in sys.stdlib_module_names and top not in provided:
                raise BundleError(
                    f"{runtime} has no {imported!r}, which {' → '.join(chain)} imports."
                )
    return files


def zip_entry(name: str, compression: int) -> zipfile.ZipInfo:
    """Return an archive entry whose metadata depends on nothing but its name."""
    entry = zipfile.ZipInfo(name, TIMESTAMP)
    entry.external_attr = FILE_MODE << 16
    entry.create_system = UNIX
    entry.compress_type = compression
    return entry


def _root() -> Path:
    """The folder that contains this package."""
    return Path(ddb_pipeline.__file__).parent.parent


def _module_path(root: Path, module: str) -> Path | None:
    base = root.joinpath(*module.split("."))
    candidates = (base / "__init__.py", base.with_name(f"{base.name}.py"))
    return next((path for path in candidates if path.is_file()), None)


def _imports(root: Path, module: str, path: Path) -> Iterator[str]:
    """Names of the packages that contain a module and of what it imports."""
    if "." in module:
        yield module.rpartition(".")[0]
    tree = ast.parse(path.read_text(encoding="utf-8"), filename=str(path))
    for node in _running_nodes(tree):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            base = _absolute(module, path, node)
            yield base
            for alias in node.names:
                submodule = f"{base}.{alias.name}"
                if _module_path(root, submodule) is not None:
                    yield submodule


def _absolute(module: str, path: Path, node: ast.ImportFrom) -> str:
    if not node.level:
        return node.module or ""
    steps = module.split(".")
    package = steps if path.name == "__init__.py" else steps[:-1]
    kept = package[: len(package) - node.level + 1]
    return ".".join([*kept, node.module] if node.module else kept)


def _running_nodes(node: ast.AST) -> Iterator[ast.AST]:
    for child in ast.iter_child_nodes(node):
        if isinstance(child, ast.If) and _is_type_checking(child.test):
            for statement in child.orelse:
                yield statement
                yield from _running_nodes(statement)
            continue
        yield child
        yield from _running_nodes(child)


def _is_type_checking(test: ast.expr) -> bool:
    name = test.attr if isinstance(test, ast.Attribute) else getattr(test, "id", "")
    return name == "TYPE_CHECKING"


def _relative(root: Path, files: Mapping[str, Path]) -> dict[str, Path]:
    return {path.relative_to(root).as_posix(): path for path in files.values()}


def _zip(contents: Mapping[str, Path]) -> bytes:
    """Return an archive of the files, keys being their names in it."""
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w") as archive:
        for name, path in sorted(contents.items()):
            # Not deflated: deflate's output depends on the zlib that Python was built with.
            archive.writestr(zip_entry(name, zipfile.ZIP_STORED), path.read_bytes())
    return buffer.getvalue()
