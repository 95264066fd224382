"""Blocks of lines, and the bounds of a line."""

import gzip
import tracemalloc
from collections.abc import Iterator

import pytest

from ddb_pipeline.export.lines import (
    BLOCK_BYTES,
    MAX_LINE_BYTES,
    MAX_MARKS,
    SHOWN_BYTES,
    check_marks,
    whole_lines,
)
from ddb_pipeline.export.read import CONTENT_BYTES, read_blocks
from ddb_pipeline.hive.undecodable import UndecodableValueError
from ddb_pipeline_tests.support.export_bucket import export_of_one_file


@pytest.mark.parametrize("size", [1, 7, 1000, BLOCK_BYTES, 3 * BLOCK_BYTES])
def test_blocks_are_the_content_cut_at_ends_of_lines(size: int) -> None:
    content = b"".join(b"%d\n" % number for number in range(700_000)) + b"the end"
    pieces = [content[start : start + size] for start in range(0, len(content), size)]
    if size == 1:
        pieces = [content[:100][i : i + 1] for i in range(100)] + [content[100:]]
    blocks = list(whole_lines(iter(pieces)))
    assert b"".join(block for block, _ in blocks) == content
    assert all(block.endswith(b"\n") for block, _ in blocks[:-1])
    assert not any(rejected for _, rejected in blocks)


def test_a_line_that_no_item_can_fill_is_rejected_unread() -> None:
    def contents() -> Iterator[bytes]:
        yield b"before\n"
        for _ in range(2 * MAX_LINE_BYTES // CONTENT_BYTES):
            yield b"x" * CONTENT_BYTES
        yield b"x\nafter\n"

    tracemalloc.start()
    blocks = list(whole_lines(contents()))
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert [block for block, _ in blocks] == [b"before\n", b"after\n"]
    [rejected] = blocks[0].rejected
    assert rejected.line == b"x" * SHOWN_BYTES
    assert "longer than 67,108,864 bytes" in rejected.reason
    assert peak < 3 * MAX_LINE_BYTES


def test_a_small_file_of_one_huge_line() -> None:
    body = b"".join(gzip.compress(b"x" * 2**24) for _ in range(12)) + gzip.compress(b"\n{}")
    objects, file = export_of_one_file(body)
    tracemalloc.start()
    blocks = list(read_blocks(objects.open, file))
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert [(block, len(rejected)) for block, rejected in blocks] == [(b"", 1), (b"{}", 0)]
    assert peak < 3 * MAX_LINE_BYTES


@pytest.mark.parametrize("size", [0, 1, CONTENT_BYTES - 1, CONTENT_BYTES, CONTENT_BYTES + 1, 2**23])
def test_all_of_a_gzip_member_is_read(size: int) -> None:
    objects, file = export_of_one_file(gzip.compress(b"x" * size) + gzip.compress(b"y"))
    [(block, _)] = read_blocks(objects.open, file)
    assert block == b"x" * size + b"y"


@pytest.mark.parametrize("mark", [b"{", b"[", b","])
def test_values_on_a_line_are_bounded(mark: bytes) -> None:
    check_marks(mark * MAX_MARKS)
    with pytest.raises(UndecodableValueError, match="more values than items of 400 KB"):
        check_marks(mark * (MAX_MARKS + 1))
