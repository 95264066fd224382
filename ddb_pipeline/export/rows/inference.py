"""Types inferred from all items of an export, a block at a time.

The observations are those that ``hive.observation.observe_item`` makes of each item. Items with
irregular values, which the columns of a block do not represent, are observed one by one.
"""

from collections import Counter
from typing import Final

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from ddb_pipeline.export.rows.exact import ITEM, exported_item
from ddb_pipeline.export.rows.masks import Mask, either, parents, some, to_mask, valid
from ddb_pipeline.export.rows.native_inference import NativeInference
from ddb_pipeline.export.rows.number_ranges import range_of_numbers
from ddb_pipeline.export.rows.numbers import is_plain
from ddb_pipeline.export.rows.reader import MANY_LINES, BlockParser
from ddb_pipeline.hive.fitting import SET_ELEMENTS
from ddb_pipeline.hive.infer import Inference
from ddb_pipeline.hive.names import column_name
from ddb_pipeline.hive.observation import Observation, observe_item
from ddb_pipeline.hive.undecodable import UndecodableValueError
from ddb_pipeline.native.library import library

_NUMBER: Final = r"^[+-]?([0-9]+(\.[0-9]*)?|\.[0-9]+)([eE][+-]?[0-9]{1,9})?$"


class ExportInference:
    """Infers types from an export's items, block by block. Not thread-safe."""

    def __init__(self, *, native: bool = True) -> None:
        """
        Args:
            native: whether to read with the walk in C where it is installed.
        """
        self._parser = BlockParser()
        self._seen = Observation()
        self._items = 0
        found = library() if native else None
        self._native = NativeInference(found, ITEM) if found else None

    @property
    def items(self) -> int:
        """Number of items so far."""
        return self._items + (self._native.items if self._native else 0)

    @property
    def inference(self) -> Inference:
        """The result of the blocks so far."""
        if self._native is None:
            return Inference(self._items, self._seen)
        seen = self._native.seen()
        seen.absorb(self._seen)
        return Inference(self.items, seen)

    def add(self, block: bytes) -> int:
        """Observe a block of whole lines and return the number of lines without a valid item.

        The conversion rejects such lines, with the reason.
        """
        lines = self._native.add(block) if self._native else None
        if lines is None:
            return self._add_by_arrow(block)
        if len(lines) >= MANY_LINES:
            return self._add_by_arrow(b"\n".join(lines))
        return sum(not self._add_line(line) for line in lines)

    def _add_by_arrow(self, block: bytes) -> int:
        refused = 0
        for parsed in self._parser.parse(block):
            lines: list[bytes] = []
            if parsed.items is None:
                lines = parsed.lines()
            else:
                items = parsed.items
                irregular = either(_irregular_members(items), parsed.with_nulls())
                if irregular is not None and irregular.any():
                    lines = parsed.lines_of(irregular)
                    items = items.filter(pa.array(~irregular))
                self._items += len(items)
                _observe_members(self._seen, items, 0)
            refused += sum(not self._add_line(line) for line in lines)
        return refused

    def _add_line(self, line: bytes) -> bool:
        seen = Observation()
        try:
            observe_item(seen, exported_item(line))
        except UndecodableValueError:
            return False
        self._seen.absorb(seen)
        self._items += 1
        return True


def _irregular_members(parsed: pa.StructArray) -> Mask | None:
    """Rows of maps with an irregular member, or with two members of the same column name."""
    irregular: Mask | None = ~valid(parsed) if parsed.null_count else None
    seen: dict[str, Mask] = {}
    columns = [column_name(field.name) for field in parsed.type]
    shared = {column for column, number in Counter(columns).items() if number > 1}
    for position, column in enumerate(columns):
        child = parsed.field(position)
        irregular = either(irregular, _irregular_value(child))
        if column in shared:
            present = valid(child)
            if column in seen:
                irregular = either(irregular, seen[column] & present)
                present = present | seen[column]
            seen[column] = present
    return irregular


def _irregular_value(parsed: pa.Array) -> Mask | None:
    """Rows whose value is not exactly one type tag with content of its type."""
    present = valid(parsed)
    if not pa.types.is_struct(parsed.type):
        return present
    counts = np.zeros(len(parsed), np.int8)
    irregular: Mask | None = None
    for position, field in enumerate(parsed.type):
        content = parsed.field(position)
        if content.null_count == len(content):
            continue
        filled = valid(content)
        counts += filled
        irregular = either(irregular, _irregular_content(field.name, content, filled))
    wrong: Mask = present & (counts != 1)
    return either(irregular, some(wrong))


def _irregular_content(tag: str, content: pa.Array, filled: Mask) -> Mask | None:
    kind = content.type
    if tag == "M":
        if not pa.types.is_struct(kind):
            return filled
        irregular = _irregular_members(content)
        return irregular & filled if irregular is not None else None
    if tag == "L" or tag in SET_ELEMENTS:
        if not pa.types.is_list(kind):
            return filled
        return _irregular_elements(tag, content)
    expected = {
        "S": pa.types.is_string(kind) or pa.types.is_timestamp(kind),
        "N": pa.types.is_string(kind),
        "B": pa.types.is_string(kind),
        "BOOL": pa.types.is_boolean(kind),
        "NULL": pa.types.is_boolean(kind),
    }
    if not expected.get(tag, False):
        return filled
    return _irregular_numbers(content) if tag == "N" else None


def _irregular_elements(tag: str, content: pa.Array) -> Mask | None:
    elements = content.flatten()
    irregular: Mask | None
    if tag == "L":
        irregular = _irregular_value(elements)
    elif tag != "NS" and pa.types.is_timestamp(elements.type):
        irregular = None
    elif len(elements) and not pa.types.is_string(elements.type):
        irregular = np.ones(len(elements), np.bool_)
    else:
        irregular = _irregular_numbers(elements) if tag == "NS" and len(elements) else None
    if elements.null_count:
        irregular = either(irregular, ~valid(elements))
    if irregular is None:
        return None
    lengths = pc.list_value_length(content).fill_null(0).to_numpy()
    return parents(irregular, np.concatenate(([0], np.cumsum(lengths))))


def _irregular_numbers(texts: pa.Array) -> Mask | None:
    """Texts that are not numbers, or have an unusual form."""
    if is_plain(texts):
        try:
            pc.cast(texts, pa.float64())
        except pa.ArrowInvalid:
            pass
        else:
            return None
    good = pc.match_substring_regex(texts, _NUMBER)
    return some(to_mask(pc.invert(good.fill_null(True))))


def _observe_members(node: Observation, parsed: pa.StructArray, level: int) -> None:
    present = [
        (column_name(field.name), parsed.field(position))
        for position, field in enumerate(parsed.type)
        if parsed.field(position).null_count < len(parsed)
    ]
    node.count("M", len(parsed) - parsed.null_count, None)
    if not present:
        return
    filled = np.zeros(len(parsed), np.bool_)
    for _, child in present:
        filled |= valid(child)
    node.objects += int(filled.sum())
    node.limit_names([column for column, _ in present], level)
    for column, child in present:
        _observe_value(node.member(column), child, level + 1)


def _observe_value(node: Observation, parsed: pa.StructArray, level: int) -> None:
    for position, field in enumerate(parsed.type):
        content = parsed.field(position)
        present = len(content) - content.null_count
        if not present:
            continue
        tag = field.name
        if tag == "M":
            _observe_members(node, content, level)
            continue
        node.count(tag, present, None)
        if tag == "N":
            node.add_numbers(range_of_numbers(content.drop_null()))
        elif tag == "L" or tag in SET_ELEMENTS:
            elements = content.flatten()
            if len(elements):
                _observe_elements(node.element(), tag, elements, level)


def _observe_elements(node: Observation, tag: str, elements: pa.Array, level: int) -> None:
    if tag == "L":
        _observe_value(node, elements, level + 1)
        return
    node.count(SET_ELEMENTS[tag], len(elements), None)
    if tag == "NS":
        node.add_numbers(range_of_numbers(elements))
