"""Arrow's JSON reader: what must not reach it, and what it reads."""

import json

import pyarrow as pa
import pytest

from ddb_pipeline.arrow_json import MAX_DEPTH, read_json_lines
from ddb_pipeline.conversion.convert import convert
from ddb_pipeline.export.rows.reader import ExportReader

GOOD = b'{"Item":{"a":{"S":"x"}}}'
KILLS = [
    b"null",
    b"null{",
    b"null\n" + GOOD,
    b"\n\nnull",
    b" null",
    b'{"Item":' + b"[" * 100_000 + b"]" * 100_000 + b"}",
    b'{"a":' * 100_000 + b"1" + b"}" * 100_000,
    b'{"a":\n' * 100_000 + b"1" + b"}" * 100_000,
    b'{"a":["]]]]]",' + b"[" * 100_000 + b"]" * 100_000 + b"]}",
    b'{"a":["\\"]]",' + b"[" * 100_000 + b"]" * 100_000 + b"]}",
    b"[" * 100_000,
]
"""Blocks on which ``pyarrow.json.read_json`` ends the process."""


@pytest.mark.parametrize("block", KILLS, ids=lambda block: repr(block[:20]))
def test_such_a_block_does_not_reach_arrow(block: bytes) -> None:
    assert read_json_lines(block, None, "infer", several_on_a_line=True) is None


@pytest.mark.parametrize("block", KILLS, ids=lambda block: repr(block[:20]))
def test_its_lines_are_rejected_with_a_reason(block: bytes) -> None:
    rows = ExportReader([("a", "string")]).rows(block + b"\n" + GOOD)
    assert {"a": "x"} in rows.table.to_pylist()
    assert rows.rejected
    assert all(line.reason for line in rows.rejected)


@pytest.mark.parametrize("block", KILLS, ids=lambda block: repr(block[:20]))
def test_such_a_record_fails_individually(block: bytes) -> None:
    batch = convert([block, b'{"a":"x"}'], [("a", "string")])
    assert (batch.rows, [failure.index for failure in batch.failures]) == (1, [0])


def test_null_is_no_document() -> None:
    batch = convert([b'{"a":"x"}null{"a":"y"}'], [("a", "string")])
    assert [failure.index for failure in batch.failures] == [0]


@pytest.mark.parametrize("brackets", ["[]", "{}"])
def test_depth_is_counted_outside_of_strings(brackets: str) -> None:
    begin, end = ("[", "]") if brackets == "[]" else ('{"x":', "}")

    def line(levels: int) -> bytes:
        text = json.dumps("[{" * 300 + '\\"')
        return f'{{"s":{text},"a":{begin * levels}1{end * levels},"t":{text}}}'.encode()

    assert read_json_lines(line(MAX_DEPTH - 1), None, "infer") is not None
    assert read_json_lines(line(MAX_DEPTH), None, "infer") is None


def test_wide_lines_are_read() -> None:
    line = b'{"a":[' + b",".join([b'{"S":"x"}'] * 5_000) + b"]}"
    table = read_json_lines(line + b"\n\n" + line, None, "infer")
    assert isinstance(table, pa.Table)
    assert table.num_rows == 2
