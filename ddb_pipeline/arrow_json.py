"""Arrow's JSON reader, for lines of objects; other input never reaches it.

The reader ends the process (a segmentation fault in pyarrow 26) on a block that begins with
``null``, and on values nested some ten thousand levels deep. So it reads only blocks in which each
line begins and ends as an object, in UTF-8, of a depth that DynamoDB's items can have.
"""

import re
from typing import Final

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.json as pj

MAX_DEPTH: Final = 100
"""Levels of objects and arrays on a line. The 32 levels of an item (Amazon DynamoDB developer
guide, "Service, account, and table quotas") are at most 70 in DynamoDB JSON. More than 100 would be
types of more levels than a column of the lake has (``hive.tree.MAX_COLUMN_DEPTH``)."""

MAX_BYTES: Final = 1024 * 1024
"""Bytes of a line. The reader needs some kilobytes for each name that it meets first."""

_NEWLINE: Final = ord("\n")
_RETURN: Final = ord("\r")
_QUOTE: Final = ord('"')
_BEGIN: Final = ord("{")
_END: Final = ord("}")
_OPENING: Final = ord("[")
_CASE: Final = 0xDF
"""Without this bit ``{`` is ``[`` and ``}`` is ``]``."""
_ESCAPED: Final = re.compile(rb"\\.", re.DOTALL)


def read_json_lines(
    block: bytes,
    schema: pa.Schema | None,
    unexpected_members: str,
    *,
    several_on_a_line: bool = False,
) -> pa.Table | None:
    """The objects of a block of lines as a table; blank lines are left out.

    Args:
        schema: columns and their types; other columns are inferred.
        unexpected_members: ``infer`` for further columns, or ``error``.
        several_on_a_line: whether a line may hold several objects.

    Returns:
        None if a line does not hold objects, or one has a value that is not of its column's type.
        Between several on a line the reader takes ``null`` for an object.
    """
    lines = _safe_lines(block)
    if lines is None:
        return None
    try:
        table = pj.read_json(
            pa.BufferReader(block),
            read_options=pj.ReadOptions(use_threads=False, block_size=len(block) + 1),
            parse_options=pj.ParseOptions(
                explicit_schema=schema, unexpected_field_behavior=unexpected_members
            ),
        )
    except pa.ArrowInvalid:
        return None
    return table if several_on_a_line or table.num_rows == lines else None


def _safe_lines(block: bytes) -> int | None:
    """Number of lines that are not blank; None if Arrow's reader must not see the block.

    A line that begins and ends with a brace closes what it opens, or is an error at the next
    line's brace: so no value extends over several lines, and depth is counted by line.
    """
    if not block:
        return None
    content = np.frombuffer(block, np.uint8)
    ends = np.append(np.flatnonzero(content == _NEWLINE), len(content))
    starts = np.append(0, ends[:-1] + 1)
    ends = ends - ((ends > starts) & (content[ends - 1] == _RETURN))
    filled = ends > starts
    starts, ends = starts[filled], ends[filled]
    if not len(starts):
        return None
    objects = (content[starts] == _BEGIN) & (content[ends - 1] == _END)
    if not objects.all() or (ends - starts).max() > MAX_BYTES or not is_utf8(block):
        return None
    opening = _counts(content == _BEGIN, starts) + _counts(content == _OPENING, starts)
    for line in np.flatnonzero(opening > MAX_DEPTH):
        if is_deeper(block[starts[line] : ends[line]], MAX_DEPTH):
            return None
    return len(starts)


def _counts(found: npt.NDArray[np.bool_], starts: npt.NDArray[np.intp]) -> npt.NDArray[np.intp]:
    """How many bytes are found on each line."""
    positions = np.flatnonzero(found)
    return np.diff(np.append(np.searchsorted(positions, starts), len(positions)))


def is_deeper(line: bytes, levels: int) -> bool:
    """Whether objects and arrays of a line nest deeper; brackets in strings do not count."""
    if line.count(b"{") + line.count(b"[") <= levels:
        return False
    content = np.frombuffer(_ESCAPED.sub(b"__", line), np.uint8)
    outside = np.cumsum(content == _QUOTE) % 2 == 0
    bracket = content & _CASE
    step: npt.NDArray[np.int8] = np.zeros(len(content), np.int8)
    step[outside & (bracket == ord("["))] = 1
    step[outside & (bracket == ord("]"))] = -1
    return bool(np.cumsum(step, dtype=np.int32).max() > levels)


def is_utf8(block: bytes) -> bool:
    """Whether the block is UTF-8. Arrow's check is several times as fast as decoding."""
    ends = pa.py_buffer(np.array([0, len(block)], np.int32))
    text = pa.StringArray.from_buffers(1, ends, pa.py_buffer(block))
    try:
        text.validate(full=True)
    except pa.ArrowInvalid:
        return False
    return True
