"""Lines of an incremental export, divided: the item, the key and the time of each change.

A change becomes a line of a full export: its new image, or its key for a delete. What converts the
items of full exports so converts those of changes too. A line of DynamoDB's own form is cut as
text; ``change_of_line`` defines what is right, and divides every other line. Old images are not
read.

Members: Amazon DynamoDB developer guide, "DynamoDB table export output format".
"""

import json
import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any, Final, NamedTuple

from ddb_pipeline.export.lines import RejectedLine
from ddb_pipeline.export.rows.exact import ITEM, exported_item, json_document
from ddb_pipeline.hive.undecodable import UndecodableValueError

METADATA: Final = "Metadata"
WRITE_TIME: Final = "WriteTimestampMicros"
CHANGED_KEYS: Final = "Keys"
NEW_IMAGE: Final = "NewImage"

LATEST_MICROS: Final = 253_402_300_800_000_000
"""Microseconds of the epoch at which the years of the column type end."""

_TEXT: Final = rb'"[^"\\\n]*(?:\\.[^"\\\n]*)*"'
_TYPED: Final = rb"\{\"[SNB]\":%s\}" % _TEXT
_KEY: Final = rb"%s:%s" % (_TEXT, _TYPED)
_HEAD: Final = re.compile(
    rb'\{"Metadata":\{"WriteTimestampMicros":\{"N":"([0-9]{1,17})"\}\},'
    rb'"Keys":(\{%s(?:,%s)?\})(,"NewImage":|,"OldImage":)?' % (_KEY, _KEY)
).match
_ITEM: Final = b'{"%s":' % ITEM.encode()
_OLD: Final = b',"OldImage":'
_BEFORE_OLD: Final = b"}" + _OLD
_BEFORE_NEW: Final = b'},"NewImage":'
_IMAGE: Final = re.compile(rb'\{"(?!M")[^"\\]*":\{').match
"""The begin of an image. Of attribute values, those under the type tag ``M`` begin so."""


class LineChange(NamedTuple):
    """The change on one line: JSON texts of its key and, unless it is a delete, its new image."""

    keys: bytes
    image: bytes | None
    micros: int


@dataclass(frozen=True, slots=True)
class ChangeLines:
    """The changes of a block.

    Attributes:
        lines: the line of each change.
        numbers: the number of each of these lines in the block, blank lines not counted.
        images: the JSON text of each new image, None for a delete.
        keys: the JSON text of each key.
        micros: time of each change's last write, in microseconds of the epoch.
        rejected: the lines that hold no change, by their numbers.
    """

    lines: list[bytes] = field(default_factory=list)
    numbers: list[int] = field(default_factory=list)
    images: list[bytes | None] = field(default_factory=list)
    keys: list[bytes] = field(default_factory=list)
    micros: list[int] = field(default_factory=list)
    rejected: dict[int, RejectedLine] = field(default_factory=dict)

    def item_block(self) -> bytes:
        """The changes as lines of a full export, in their order; the keys of deleted items."""
        pairs = zip(self.images, self.keys, strict=True)
        return item_lines([keys if image is None else image for image, keys in pairs])


def item_lines(texts: Sequence[bytes]) -> bytes:
    """JSON objects of attributes as lines of a full export."""
    return _ITEM + (b"}\n" + _ITEM).join(texts) + b"}\n" if texts else b""


def divided(block: bytes) -> ChangeLines:
    """The changes on the lines of a block of an incremental export."""
    return _divided(block, lambda line: _cut(line) or change_of_line(line))


def keyed_items(block: bytes, key_names: Sequence[str], micros: int) -> ChangeLines:
    """The items on the lines of a block of a full export, as changes at one time."""
    patterns = [re.compile(b"%s:%s" % (re.escape(_json(name)), _TYPED)) for name in key_names]

    def change(line: bytes) -> LineChange:
        values = [value for pattern in patterns if (value := _only(pattern, line))]
        if len(values) < len(patterns) or not (line.startswith(_ITEM) and line.endswith(b"}")):
            item = exported_item(line)
            keys = {name: item[name] for name in key_names if name in item}
            return LineChange(_json(keys), _json(item), micros)
        return LineChange(b"{%s}" % b",".join(values), line[len(_ITEM) : -1], micros)

    return _divided(block, change)


def _only(pattern: re.Pattern[bytes], line: bytes) -> bytes | None:
    """The one text of a pattern on a line. An attribute in a map may have a key's name too."""
    found = pattern.search(line)
    if found is None or pattern.search(line, found.end()):
        return None
    return found.group()


def _divided(block: bytes, change_of: Callable[[bytes], LineChange]) -> ChangeLines:
    changes = ChangeLines()
    lines = [line for line in block.split(b"\n") if line.strip()]
    for number, line in enumerate(lines):
        try:
            change = change_of(line)
        except UndecodableValueError as error:
            changes.rejected[number] = RejectedLine(line, error.path, error.reason)
            continue
        changes.lines.append(line)
        changes.numbers.append(number)
        changes.images.append(change.image)
        changes.keys.append(change.keys)
        changes.micros.append(change.micros)
    return changes


def change_of_line(line: bytes) -> LineChange:
    """The change on one line of a data file.

    Raises:
        UndecodableValueError: the line is not JSON, or has no key or no time.
    """
    document = json_document(line)
    keys = document.get(CHANGED_KEYS)
    if not isinstance(keys, dict) or not keys:
        raise UndecodableValueError(f"the line holds no {CHANGED_KEYS}")
    image = document.get(NEW_IMAGE)
    if image is not None and not isinstance(image, dict):
        raise UndecodableValueError(f"{NEW_IMAGE} is not an object")
    micros = _micros(document.get(METADATA))
    return LineChange(_json(keys), None if image is None else _json(image), micros)


def _json(value: Any) -> bytes:
    text = json.dumps(value, separators=(",", ":"), ensure_ascii=False)
    return text.encode("utf-8", "backslashreplace")


def _micros(metadata: Any) -> int:
    try:
        text = metadata[WRITE_TIME]["N"]
        if not isinstance(text, str) or not (text.isascii() and text.isdigit()):
            raise ValueError
        micros = int(text)
    except (KeyError, TypeError, ValueError):
        raise UndecodableValueError(f"the line holds no {METADATA}.{WRITE_TIME}") from None
    if micros >= LATEST_MICROS:
        raise UndecodableValueError(f"{WRITE_TIME} lies after the year 9999")
    return micros


def _cut(line: bytes) -> LineChange | None:
    """The change on a line in DynamoDB's own form; None if its form does not prove one.

    The new image that is cut out is JSON only if it ends where its object ends, so a wrong cut is
    never converted. Members after the image, which DynamoDB does not write, are not read.
    """
    head = _HEAD(line)
    if head is None or not line.endswith(b"}"):
        return None
    micros, keys, image = head.groups()
    start, end = head.end(), len(line) - 1
    if image is None:
        return LineChange(keys, None, int(micros)) if start == end else None
    if image == _OLD:
        found = line.find(_BEFORE_NEW, start)
        if found < 0:
            is_delete = b'"NewImage"' not in line and b"\\u" not in line
            return LineChange(keys, None, int(micros)) if is_delete else None
        start = found + len(_BEFORE_NEW)
    else:
        found = line.rfind(_BEFORE_OLD, start)
        if found >= 0:
            if not _IMAGE(line, found + len(_BEFORE_OLD)):
                return None
            end = found + 1
    is_only = line.find(_BEFORE_NEW, start, end) < 0 and line.find(_BEFORE_OLD, start, end) < 0
    if not is_only or not _IMAGE(line, start):
        return None
    return LineChange(keys, line[start:end], int(micros))
