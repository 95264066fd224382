"""The library is compiled, found and refused; without it exports are read all the same."""

import logging
import random
import shutil
from collections.abc import Iterator
from pathlib import Path

import pytest

from ddb_pipeline.export.rows.reader import ExportReader
from ddb_pipeline.native import library as module
from ddb_pipeline.native.build import (
    FOLDER,
    SOURCES,
    BuildError,
    build,
    compiler,
    library_name,
)
from ddb_pipeline.native.library import (
    LIBRARIES_PACKAGE,
    UnusableLibraryError,
    library,
    library_path,
    load,
)

needs_compiler = pytest.mark.skipif(compiler() is None, reason="there is no C compiler")


@pytest.fixture
def not_installed(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Iterator[None]:
    """No library beside the module."""
    monkeypatch.setattr(module, "FOLDER", tmp_path / "without")
    library.cache_clear()
    yield
    library.cache_clear()


@needs_compiler
def test_a_library_that_was_built_loads(tmp_path: Path) -> None:
    path = tmp_path / library_name()
    build(path, flags=["-Werror", "-Wconversion", "-Wno-sign-conversion"])
    assert load(path).is_utf8(b"\xc3\xa9", 2)
    assert [file.name for file in tmp_path.iterdir()] == [path.name]


@needs_compiler
def test_utf8_is_what_python_decodes(tmp_path: Path) -> None:
    path = tmp_path / library_name()
    build(path)
    is_utf8 = load(path).is_utf8
    rng = random.Random(3)
    parts = [
        "",
        "a",
        "x" * 11,
        "y" * 40,
        "é",
        "東",
        "😀",
        *"\u07ff\u0800\ud7ff\ue000\uffff\U00010000\U0010ffff",
    ]
    marks = bytes.fromhex("00 7f 80 8f 90 9f a0 bf c0 c1 c2 e0 ed ef f0 f4 f5 ff")
    verdicts = []
    for _ in range(20_000):
        text = bytearray("".join(rng.choices(parts, k=rng.randrange(12))).encode())
        for _ in range(rng.choice((0, 0, 1, 2)) if text else 0):
            text[rng.randrange(len(text))] = rng.choice(marks)
        block = bytes(text[: rng.choice((len(text), rng.randrange(len(text) + 1)))])
        verdicts.append(is_decodable(block))
        assert is_utf8(block, len(block)) == verdicts[-1], block
    assert 5_000 < sum(verdicts) < 15_000


def is_decodable(block: bytes) -> bool:
    try:
        block.decode()
    except UnicodeDecodeError:
        return False
    return True


@needs_compiler
def test_a_library_of_other_sources_is_refused(tmp_path: Path) -> None:
    for name in SOURCES:
        shutil.copy(FOLDER / name, tmp_path)
    (tmp_path / "scan.c").write_text((tmp_path / "scan.c").read_text() + "// changed\n")
    build(tmp_path / "other.so", folder=tmp_path)
    with pytest.raises(UnusableLibraryError, match="other sources"):
        load(tmp_path / "other.so")


def test_a_file_that_is_no_library_is_refused(tmp_path: Path) -> None:
    (tmp_path / "x.so").write_bytes(b"\x7fELF")
    with pytest.raises(UnusableLibraryError, match="cannot be loaded"):
        load(tmp_path / "x.so")


@needs_compiler
def test_sources_that_do_not_compile(tmp_path: Path) -> None:
    for name in SOURCES:
        (tmp_path / name).write_text("#error no\n")
    with pytest.raises(BuildError, match="failed"):
        build(tmp_path / "x.so", folder=tmp_path)
    assert {file.name for file in tmp_path.iterdir()} == set(SOURCES)


def test_a_compiler_that_cannot_be_run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("CC", "no-such-compiler")
    monkeypatch.setattr("importlib.util.find_spec", lambda name: None)
    with pytest.raises(BuildError, match="not installed"):
        build(tmp_path / "x.so")


@needs_compiler
@pytest.mark.usefixtures("not_installed")
def test_the_library_of_an_archive_of_modules(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / LIBRARIES_PACKAGE).mkdir()
    path = tmp_path / LIBRARIES_PACKAGE / library_name()
    build(path)
    monkeypatch.syspath_prepend(tmp_path)
    assert library_path() == path
    assert library() is not None


@pytest.mark.usefixtures("not_installed")
def test_without_the_library_there_is_one_line_in_the_log(caplog: pytest.LogCaptureFixture) -> None:
    with caplog.at_level(logging.WARNING):
        for _ in range(2):
            rows = ExportReader([("a", "string")]).rows(b'{"Item":{"a":{"S":"x"}}}\n')
    assert rows.table.to_pylist() == [{"a": "x"}]
    [record] = caplog.records
    assert "was not built" in record.getMessage()
    assert "ddb_pipeline.native.build" in record.getMessage()
