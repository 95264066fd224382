"""The functions' zips: only what a handler imports, the same bytes for the same sources."""

import ast
import hashlib
import io
import sys
import zipfile
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import ddb_pipeline

PACKAGE = "ddb_pipeline"
FUNCTIONS = ("stream_to_firehose", "fix_schema")
PROVIDED = frozenset(("boto3", "botocore"))
"""In Lambda's Python runtimes beside the standard library."""

MAX_BYTES = 300 * 1024
TIMESTAMP = (1980, 1, 1, 0, 0, 0)
FILE_MODE = 0o100644
UNIX = 3


class BundleError(Exception):
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
    body = _zip(root, files.values())
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


def write_bundles(directory: Path) -> tuple[Path, ...]:
    """Write every function's zip as ``<name>.zip``; answers with the paths."""
    directory.mkdir(parents=True, exist_ok=True)
    paths = []
    for bundle in build_bundles().values():
        path = directory / f"{bundle.name}.zip"
        path.write_bytes(bundle.body)
        paths.append(path)
    return tuple(paths)


def imported_files(root: Path, entries: Sequence[str]) -> dict[str, Path]:
    """Every module that the entries import, directly or not, with its file; packages included.

    Imports are read, not run. Those under ``TYPE_CHECKING`` do not count, those inside of
    functions do.

    Raises:
        BundleError: a module of ours is missing, or one that Lambda does not have is imported.
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
            elif top not in sys.stdlib_module_names and top not in PROVIDED:
                raise BundleError(
                    f"{imported!r} is not in Lambda's runtime, but {' → '.join(chain)} imports it."
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


def _zip(root: Path, paths: Iterable[Path]) -> bytes:
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w") as archive:
        for path in sorted(paths):
            entry = zipfile.ZipInfo(path.relative_to(root).as_posix(), TIMESTAMP)
            entry.external_attr = FILE_MODE << 16
            entry.create_system = UNIX
            # Stored: deflate's bytes depend on the zlib that Python was built with.
            entry.compress_type = zipfile.ZIP_STORED
            archive.writestr(entry, path.read_bytes())
    return buffer.getvalue()
