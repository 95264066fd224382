"""Lines of data files, in blocks of whole lines; a line longer than any item is rejected unread."""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Final, NamedTuple

from ddb_pipeline.hive.undecodable import UndecodableValueError

BLOCK_BYTES: Final = 2 * 1024 * 1024
"""Size of a block of lines. A block of about a core's cache is parsed fastest."""

MAX_ITEM_BYTES: Final = 400 * 1024
"""Amazon DynamoDB developer guide, "Service, account, and table quotas"."""

MAX_LINE_BYTES: Final = 64 * 1024 * 1024
"""Longest line that is read.

The guide's "DynamoDB item sizes and formats" counts a number as one byte for each two digits and
one more. So the 2 bytes of 1E-130 become the 135 characters of ``"0.000…01",`` in a set: 68 for
each byte, more than a list's ``{"N":"…"},`` (145 for 3 bytes), ``{"BOOL":false},`` (15 for 2) and
an escaped control character (6 for 1). 400 KB become at most 28 MB; a changed item has two images.
"""

MAX_MARKS: Final = 4 * MAX_ITEM_BYTES
"""Braces, brackets or commas of one kind on a line: in each of two images, one in each byte of
text, and one for each value, which takes at least one byte."""

SHOWN_BYTES: Final = 1024
"""Bytes of a line that is too long that are stored as its beginning."""


@dataclass(frozen=True, slots=True)
class RejectedLine:
    """A line that could not be converted, with the attribute path and the reason."""

    line: bytes
    path: str
    reason: str


class Lines(NamedTuple):
    """A block of whole lines, and lines that were read with them and already rejected."""

    block: bytes
    rejected: tuple[RejectedLine, ...] = ()


def check_marks(line: bytes) -> None:
    """Check that a line has no more values than an item can, before they become objects.

    Raises:
        UndecodableValueError: it has more.
    """
    if len(line) > MAX_MARKS and max(map(line.count, (b"{", b"[", b","))) > MAX_MARKS:
        raise UndecodableValueError("the line has more values than items of 400 KB hold")


def whole_lines(contents: Iterator[bytes]) -> Iterator[Lines]:
    """The same content in blocks that end at the end of a line, or at the end of the content."""
    gathered: list[bytes] = []
    size = 0
    for content in contents:
        gathered.append(content)
        size += len(content)
        if size < BLOCK_BYTES:
            continue
        end = content.rfind(b"\n") + 1
        if end:
            gathered[-1] = content[:end]
            yield Lines(b"".join(gathered))
            gathered, size = [content[end:]], len(content) - end
        elif size > MAX_LINE_BYTES:
            block = b"".join(gathered)
            gathered = []
            end = block.rfind(b"\n") + 1
            yield Lines(block[:end], (_too_long(block[end : end + SHOWN_BYTES]),))
            rest = _after_line(contents)
            gathered, size = [rest], len(rest)
    if size:
        yield Lines(b"".join(gathered))


def _too_long(begin: bytes) -> RejectedLine:
    reason = (
        f"the line is longer than {MAX_LINE_BYTES:,} bytes, which no item of DynamoDB can be; "
        f"rawData has the first {len(begin):,} bytes"
    )
    return RejectedLine(begin, "", reason)


def _after_line(contents: Iterator[bytes]) -> bytes:
    """Skip the rest of a line and return what follows it in the piece that holds its end."""
    for content in contents:
        end = content.find(b"\n")
        if end >= 0:
            return content[end + 1 :]
    return b""
