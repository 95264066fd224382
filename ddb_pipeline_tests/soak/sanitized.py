"""The walks in C under AddressSanitizer and UndefinedBehaviorSanitizer, over mutated lines.

    python -m ddb_pipeline_tests.soak.sanitized [--lines N] [--seed S]

Builds the library with the sanitizers and reads blocks of mutated lines in a child process, with
buffers that are small at first, so that each of them is enlarged often. An access outside of a
buffer or undefined behaviour ends the child with a report.
"""

import argparse
import os
import random
import subprocess
import sys
import tempfile
from collections.abc import Sequence
from functools import partial
from pathlib import Path
from typing import Final

import click

from ddb_pipeline.arrow_types import arrow_schema
from ddb_pipeline.export.rows.exact import ITEM
from ddb_pipeline.export.rows.native_layout import ColumnsLayout
from ddb_pipeline.export.rows.native_reader import imported, scanned_schema
from ddb_pipeline.hive.epoch import MILLISECONDS_FROM
from ddb_pipeline.hive.names import column_name
from ddb_pipeline.hive.types import Column, parse_type
from ddb_pipeline.native.build import BuildError, build, compiler, library_name
from ddb_pipeline.native.library import Library, load
from ddb_pipeline.native.observer import Observer
from ddb_pipeline.native.scanner import FirstCapacity, Scanner
from ddb_pipeline_tests.soak.mutation import mutated_bytes
from ddb_pipeline_tests.soak.parsers import COLUMNS, GOOD_LINE
from ddb_pipeline_tests.support.random_items import random_columns, random_line

FLAGS: Final = (
    *("-O1", "-g", "-fsanitize=address,undefined", "-fno-sanitize-recover=all"),
    "-fno-omit-frame-pointer",
)
LINES_OF_BLOCK: Final = 20
BLOCKS_OF_LAYOUT: Final = 10
LONGEST_LINE: Final = 9_000
PATH: Final = "DDB_PIPELINE_SANITIZED_LIBRARY"


class NoSanitizersError(Exception):
    """The library cannot be built with the sanitizers, or not be loaded; the message says why."""


def run(lines: int, seed: str) -> str:
    """Read so many lines in a child process; returns what it printed, and "" if it was clean.

    Raises:
        NoSanitizersError: there is no compiler, or it has no sanitizers.
    """
    with tempfile.TemporaryDirectory(prefix="sanitized-") as folder:
        path = Path(folder) / library_name()
        environment = {
            **os.environ,
            PATH: str(path),
            "LD_PRELOAD": " ".join(_runtimes()),
            "PYTHONMALLOC": "malloc",
            "ASAN_OPTIONS": "detect_leaks=0:allocator_may_return_null=1",
            "UBSAN_OPTIONS": "print_stacktrace=1",
            "ARROW_DEFAULT_MEMORY_POOL": "system",
        }
        try:
            build(path, flags=FLAGS)
        except BuildError as error:
            raise NoSanitizersError(str(error)) from None
        command = [sys.executable, "-m", "ddb_pipeline_tests.soak.sanitized", "--child"]
        command += ["--lines", str(lines), "--seed", seed]
        done = subprocess.run(command, env=environment, capture_output=True, text=True, check=False)
        return "" if done.returncode == 0 else f"{done.stdout}\n{done.stderr}"[-8000:]


def _runtimes() -> Sequence[str]:
    """The sanitizers' libraries, which have to be loaded before Python."""
    command = compiler()
    if command is None or sys.platform != "linux":
        raise NoSanitizersError("there is no C compiler, or this is not Linux")
    found = []
    for name in ("libasan.so", "libubsan.so"):
        done = subprocess.run(
            [*command, f"-print-file-name={name}"], capture_output=True, text=True, check=False
        )
        path = Path(done.stdout.strip())
        if done.returncode or not path.is_absolute():
            raise NoSanitizersError(f"{command[0]} has no {name}")
        found.append(str(path.resolve()))
    return found


def read_lines(library: Library, lines: int, seed: str) -> None:
    """Read mutated lines with layouts of random columns."""
    rng = random.Random(seed)
    done = 0
    while done < lines:
        columns = random_columns(rng) if rng.random() < 0.7 else [Column(*c) for c in COLUMNS]
        kinds = [(name, parse_type(text)) for name, text in columns]
        schema = scanned_schema(arrow_schema(columns), dict(kinds))
        layout = ColumnsLayout(kinds, ITEM)
        sizes = ((1, 3, 50), (8, 9, 99), (1, 2, 30))
        first = FirstCapacity(*map(rng.choice, sizes))
        reader = Scanner(
            library,
            layout.layout,
            layout,
            longest_line=LONGEST_LINE,
            milliseconds_from=MILLISECONDS_FROM,
            first=first,
        )
        are_many = partial(_are_more, rng.choice((2, 10_000)))
        observer = Observer(library, ITEM.encode(), column_name, are_many, LONGEST_LINE, first)
        seeds = [random_line(rng, columns, 0.05) for _ in range(8)] + [GOOD_LINE]
        for _ in range(BLOCKS_OF_LAYOUT):
            mutated = _block(rng, seeds)
            # Python checks first that a block is UTF-8.
            block = mutated.decode(errors="ignore").encode()
            assert library.is_utf8(mutated, len(mutated)) == (block == mutated)
            found = reader.scan(block)
            count = sum(bool(line.strip()) for line in block.split(b"\n"))
            assert found.rows + len(found.irregular) == count
            batch = imported(reader.exported(layout.image), schema)
            batch.validate(full=True)
            assert len(batch) == found.rows
            before = observer.items
            observed = observer.observe(block)
            assert observer.items - before + len(observed.irregular) == count
            done += count


def _are_more(few: int, place: int, names: int) -> bool:
    return names > few


def _block(rng: random.Random, seeds: Sequence[bytes]) -> bytes:
    lines = []
    for _ in range(LINES_OF_BLOCK):
        line = rng.choice(seeds)
        lines.append(mutated_bytes(rng, line) if rng.random() < 0.8 else line)
    block = b"\n".join(lines)
    return block[: rng.randrange(len(block) + 1)] if rng.random() < 0.5 else block


def main() -> None:
    """Run the command; exit status 1 if a sanitizer found something."""
    arguments = argparse.ArgumentParser(description=__doc__)
    arguments.add_argument("--lines", type=int, default=1_000_000)
    arguments.add_argument("--seed", default="0")
    arguments.add_argument("--child", action="store_true", help=argparse.SUPPRESS)
    given = arguments.parse_args()
    if given.child:
        read_lines(load(Path(os.environ[PATH]), any_sources=True), given.lines, given.seed)
        return
    report = run(given.lines, given.seed)
    click.echo(report or f"{given.lines:,} lines: clean")
    sys.exit(1 if report else 0)


if __name__ == "__main__":
    main()
