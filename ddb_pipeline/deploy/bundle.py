"""Zips of functions and Spark jobs: only what they import, the same bytes for the same sources."""

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

PACKAGE = "ddb_pipeline"
FUNCTIONS = ("stream_to_firehose", "fix_schema")
PROVIDED = frozenset(("boto3", "botocore"))
"""In Lambda's Python runtimes beside the standard library."""

SPARK_JOBS = ("relevance", "export_job")
SPARK_PROVIDED = frozenset(
    ("pyspark", "py4j", "dagster_pipes", "pyarrow", "numpy", "isal", "amazon")
)
"""What a Spark job finds: Spark's own; Dagster Pipes, which comes along in the zip; and, for those
that convert exports, the libraries of ``SPARK_LIBRARIES``."""

MAX_BYTES = 300 * 1024
TIMESTAMP = (1980, 1, 1, 0, 0, 0)
FILE_MODE = 0o100644
UNIX = 3


class BundleError(DdbPipelineError):
    """A function cannot be packaged; the message names the modules on the way to the cause."""


@dataclass(frozen=True, slots=True)
class Bundle:
    """One function's code.

    Attributes:
        name: the function's name in ``FUNCTIONS``.
        handler: what Lambda's ``Handler`` takes.
        body: the zip.
        sha256: the zip's hash, hexadecimal.
        modules: the modules in it, sorted.
    """

    name: str
    handler: str
    body: bytes
    sha256: str
    modules: tuple[str, ...]


def build_bundles() -> dict[str, Bundle]:
    """All functions' bundles by name.

    Raises:
        BundleError: see ``build_bundle``.
    """
    return {name: build_bundle(name) for name in FUNCTIONS}


def build_bundle(
    name: str, *, extra_modules: Sequence[str] = (), source: Path | None = None
) -> Bundle:
    """Package a function.

    Args:
        name: the function, one of ``FUNCTIONS``.
        extra_modules: modules named in the function's settings only, such as a transformer's.
            They and what they import of their own package are found in ``source``.
        source: directory with the packages; where this package lies by default.

    Raises:
        BundleError: an import reaches something that is neither in the package nor in Lambda's
            runtime, a module is missing, or the zip is too large.
    """
    if name not in FUNCTIONS:
        raise BundleError(f"There is no function {name!r}; there are {', '.join(FUNCTIONS)}.")
    root = Path(ddb_pipeline.__file__).parent.parent if source is None else source
    entry = f"{PACKAGE}.functions.{name}"
    files = imported_files(root, (entry, *extra_modules))
    body = _zip(_relative(root, files))
    if len(body) > MAX_BYTES:
        raise BundleError(
            f"The zip of {name} has {len(body)} bytes, over {MAX_BYTES}: it holds {len(files)} "
            f"modules, the largest {max(files.values(), key=lambda path: path.stat().st_size)}."
        )
    return Bundle(
        name=name,
        handler=f"{entry}.handler",
        body=body,
        sha256=hashlib.sha256(body).hexdigest(),
        modules=tuple(sorted(files)),
    )


@dataclass(frozen=True, slots=True)
class SparkBundle:
    """The code of every Spark job, as EMR Serverless takes it.

    Attributes:
        scripts: each job's entry point by the job's name.
        body: the zip for ``--py-files``, with what the scripts import.
        sha256: hash of scripts and zip together, hexadecimal.
    """

    scripts: Mapping[str, bytes]
    body: bytes
    sha256: str


def build_spark_bundle() -> SparkBundle:
    """Package the Spark jobs with Dagster Pipes, which is Python without dependencies.

    Raises:
        BundleError: an import reaches something that neither Spark nor the zip has.
    """
    root = Path(ddb_pipeline.__file__).parent.parent
    entries = [f"{PACKAGE}.spark.{name}" for name in SPARK_JOBS]
    files = imported_files(root, entries, provided=SPARK_PROVIDED, runtime="EMR's Spark")
    scripts = {name: files[f"{PACKAGE}.spark.{name}"].read_bytes() for name in SPARK_JOBS}
    contents = _relative(root, files)
    spec = importlib.util.find_spec("dagster_pipes")
    if spec is None or spec.origin is None:
        raise BundleError("dagster_pipes is not installed; it comes with dagster.")
    pipes = Path(spec.origin).parent
    contents |= {f"dagster_pipes/{path.name}": path for path in pipes.glob("*.py")}
    body = _zip(contents)
    digest = hashlib.sha256(body)
    for script in scripts.values():
        digest.update(script)
    return SparkBundle(scripts, body, digest.hexdigest())


def write_bundles(directory: Path) -> tuple[Path, ...]:
    """Write every function's zip as ``<name>.zip``, and the Spark jobs; answers with the paths."""
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
    """Every module that the entries import, directly or not, with its file; packages included.

    Imports are read, not run. Those under ``TYPE_CHECKING`` do not count, those inside of
    functions do.

    Raises:
        BundleError: a module of ours is missing, or one that ``runtime`` lacks is imported.
    """
    own = {entry.partition(".")[0] for entry in entries}
    files: dict[str, Path] = {}
    waiting: list[tuple[str, tuple[str, ...]]] = [(entry, ()) for entry in reversed(entries)]
    while waiting:
        module, importers = waiting.pop()
        if module in files:
            continue
        chain = (*importers, module)
        path = _module_path(root, module)
        if path is None:
            raise BundleError(f"Module {module!r} is not under {root} ({' → '.join(chain)}).")
        files[module] = path
        package = module.rpartition(".")[0]
        if package:
            waiting.append((package, chain))
        for imported in _imports(root, module, path):
            top = imported.partition(".")[0]
            if top in own:
                waiting.append((imported, chain))
            elif top not in sys.stdlib_module_names and top not in provided:
                raise BundleError(
                    f"{imported!r} is not in {runtime}, but {' → '.join(chain)} imports it."
                )
    return files


def _module_path(root: Path, module: str) -> Path | None:
    base = root.joinpath(*module.split("."))
    candidates = (base / "__init__.py", base.with_name(f"{base.name}.py"))
    return next((path for path in candidates if path.is_file()), None)


def _imports(root: Path, module: str, path: Path) -> Iterator[str]:
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
    """A zip of files by their names in it."""
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w") as archive:
        for name, path in sorted(contents.items()):
            entry = zipfile.ZipInfo(name, TIMESTAMP)
            entry.external_attr = FILE_MODE << 16
            entry.create_system = UNIX
            # Stored: deflate's bytes depend on the zlib that Python was built with.
            entry.compress_type = zipfile.ZIP_STORED
            archive.writestr(entry, path.read_bytes())
    return buffer.getvalue()
