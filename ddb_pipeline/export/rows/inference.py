"""The schema of a whole export, from all of its items, on the reader that converts them.

The same observations as :func:`ddb_pipeline.hive.observation.observe_item` makes item by item, a
block at a time; items that the columns cannot speak for are observed one by one.
"""

from collections import Counter
from typing import Final

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from ddb_pipeline.export.rows.exact import SET_ELEMENTS, ExportValueError, exported_item
from ddb_pipeline.export.rows.numbers import (
    Mask,
    doubtful_doubles,
    either,
    is_plain,
    to_mask,
)
from ddb_pipeline.export.rows.reader import BlockParser
from ddb_pipeline.hive.infer import Inference
from ddb_pipeline.hive.names import column_name
from ddb_pipeline.hive.numbers import NumberRange, number_range
from ddb_pipeline.hive.observation import AttributeValueError, Observation, observe_item

_DECIMAL: Final = r"^-?[0-9]+\.[0-9]+$"
_NUMBER: Final = r"^[+-]?([0-9]+(\.[0-9]*)?|\.[0-9]+)([eE][+-]?[0-9]{1,9})?$"
_SMALL_DIGITS: Final = 10**15


class ExportInference:
    """Learns the types of an export's items, block by block."""

    def __init__(self, member: str = "Item") -> None:
        self._parser = BlockParser(member)
        self._seen = Observation()
        self._items = 0

    @property
    def inference(self) -> Inference:
        """What the blocks so far told."""
        return Inference(self._items, self._seen)

    def add(self, block: bytes) -> int:
        """Observe a block of whole lines; answers with how many of them are no items.

        Such lines are left to the conversion, which says what is wrong with each.
        """
        refused = 0
        for parsed in self._parser.parse(block):
            slow: list[bytes] = []
            if parsed.items is None:
                slow = parsed.lines()
            else:
                items = parsed.items
                odd = _irregular_members(items)
                if odd is not None and odd.any():
                    slow = [
                        line for line, is_odd in zip(parsed.lines(), odd, strict=True) if is_odd
                    ]
                    items = items.filter(pa.array(~odd))
                self._items += len(items)
                _observe_members(self._seen, items, 0)
            refused += sum(not self._add_line(line) for line in slow)
        return refused

    def _add_line(self, line: bytes) -> bool:
        seen = Observation()
        try:
            observe_item(seen, exported_item(line, self._parser.member))
        except (AttributeValueError, ExportValueError):
            return False
        self._seen.absorb(seen)
        self._items += 1
        return True


def _irregular_members(parsed: pa.StructArray) -> Mask | None:
    """Rows of maps whose members are to be looked at one by one."""
    odd: Mask | None = to_mask(pc.is_null(parsed)) if parsed.null_count else None
    seen: dict[str, Mask] = {}
    columns = [column_name(field.name) for field in parsed.type]
    shared = {column for column, number in Counter(columns).items() if number > 1}
    for position, column in enumerate(columns):
        child = parsed.field(position)
        odd = either(odd, _irregular_value(child))
        if column in shared:
            there = to_mask(pc.is_valid(child))
            if column in seen:
                odd = either(odd, seen[column] & there)
                there = there | seen[column]
            seen[column] = there
    return odd


def _irregular_value(parsed: pa.Array) -> Mask | None:
    """Rows whose value is not exactly one type tag with content of its type."""
    there = to_mask(pc.is_valid(parsed))
    if not pa.types.is_struct(parsed.type):
        return there
    counts = np.zeros(len(parsed), np.int8)
    odd: Mask | None = None
    for position, field in enumerate(parsed.type):
        content = parsed.field(position)
        if content.null_count == len(content):
            continue
        valid = to_mask(pc.is_valid(content))
        counts += valid
        odd = either(odd, _irregular_content(field.name, content, valid))
    wrong: Mask = there & (counts != 1)
    return either(odd, wrong if wrong.any() else None)


def _irregular_content(tag: str, content: pa.Array, valid: Mask) -> Mask | None:
    kind = content.type
    if tag == "M":
        if not pa.types.is_struct(kind):
            return valid
        odd = _irregular_members(content)
        return odd & valid if odd is not None else None
    if tag == "L" or tag in SET_ELEMENTS:
        if not pa.types.is_list(kind):
            return valid
        return _irregular_elements(tag, content)
    expected = {
        "S": pa.types.is_string(kind) or pa.types.is_timestamp(kind),
        "N": pa.types.is_string(kind),
        "B": pa.types.is_string(kind),
        "BOOL": pa.types.is_boolean(kind),
        "NULL": pa.types.is_boolean(kind),
    }
    if not expected.get(tag, False):
        return valid
    return _irregular_numbers(content) if tag == "N" else None


def _irregular_elements(tag: str, content: pa.Array) -> Mask | None:
    elements = content.flatten()
    odd: Mask | None
    if tag == "L":
        odd = _irregular_value(elements)
    elif tag != "NS" and pa.types.is_timestamp(elements.type):
        odd = None
    elif len(elements) and not pa.types.is_string(elements.type):
        odd = np.ones(len(elements), np.bool_)
    else:
        odd = _irregular_numbers(elements) if tag == "NS" and len(elements) else None
    if elements.null_count:
        odd = either(odd, to_mask(pc.is_null(elements)))
    if odd is None:
        return None
    before = np.concatenate(([0], np.cumsum(odd)))
    ends = np.concatenate(([0], np.cumsum(pc.list_value_length(content).fill_null(0).to_numpy())))
    parents: Mask = before[ends[1:]] > before[ends[:-1]]
    return parents


def _irregular_numbers(texts: pa.Array) -> Mask | None:
    """Texts that are no numbers, or none that can be told to be so at once."""
    if is_plain(texts):
        try:
            pc.cast(texts, pa.float64())
        except pa.ArrowInvalid:
            pass
        else:
            return None
    good = pc.match_substring_regex(texts, _NUMBER)
    odd = to_mask(pc.invert(good.fill_null(True)))
    return odd if odd.any() else None


def _observe_members(node: Observation, parsed: pa.StructArray, level: int) -> None:
    present = [
        (column_name(field.name), parsed.field(position))
        for position, field in enumerate(parsed.type)
        if parsed.field(position).null_count < len(parsed)
    ]
    there = len(parsed) - parsed.null_count
    node.count("M", there, None)
    if not present:
        return
    filled = np.zeros(len(parsed), np.bool_)
    for _, child in present:
        filled |= to_mask(pc.is_valid(child))
    node.objects += int(filled.sum())
    node.limit_names([column for column, _ in present], level)
    for column, child in present:
        _observe_value(node.member(column), child, level + 1)


def _observe_value(node: Observation, parsed: pa.StructArray, level: int) -> None:
    for position, field in enumerate(parsed.type):
        content = parsed.field(position)
        there = len(content) - content.null_count
        if not there:
            continue
        tag = field.name
        if tag == "M":
            _observe_members(node, content, level)
            continue
        node.count(tag, there, None)
        if tag == "N":
            node.add_numbers(reach(content.drop_null()))
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
        node.add_numbers(reach(elements))


def reach(texts: pa.Array) -> NumberRange:
    """How far numbers reach, as :func:`number_range` has it for each of them.

    ``texts`` has at least one, no nulls, and numbers only.
    """
    if not is_plain(texts):
        return _reach_one_by_one(texts)
    try:
        return _whole_reach(pc.cast(texts, pa.int64()))
    except pa.ArrowInvalid:
        pass
    decimal = pc.match_substring_regex(texts, _DECIMAL)
    whole = texts.filter(pc.invert(decimal))
    found = _decimal_reach(texts.filter(decimal))
    if len(whole):
        try:
            other = _whole_reach(pc.cast(whole, pa.int64()))
        except pa.ArrowInvalid:
            other = _reach_one_by_one(whole)
        found = other if found is None else found.merged(other)
    return found or NumberRange()


def _whole_reach(numbers: pa.Array) -> NumberRange:
    values = numbers.to_numpy()
    low, high = int(values.min()), int(values.max())
    large = values[(values >= _SMALL_DIGITS) | (values <= -_SMALL_DIGITS)]
    return NumberRange(
        whole_digits=len(str(max(-low, high))),
        double=all(number_range(str(value)).double for value in large.tolist()),
    )


def _decimal_reach(texts: pa.Array) -> NumberRange | None:
    """The reach of numbers with a point in them."""
    if not len(texts):
        return None
    digits = pc.utf8_ltrim(texts, "-")
    shortened = pc.utf8_rtrim(digits, "0")
    scales = pc.subtract(pc.binary_length(shortened), pc.add(pc.find_substring(shortened, "."), 1))
    scale = pc.max(scales).as_py()
    whole = pc.max(pc.find_substring(pc.utf8_ltrim(digits, "0"), ".")).as_py()
    values = pc.cast(texts, pa.float64())
    if not whole and pc.any(pc.equal(values, 0.0)).as_py():
        whole = 1
    if pc.any(pc.equal(scales, 0)).as_py():
        # 5.0 is an integer; whether it fits one has to be seen from all of its digits.
        whole_numbers = _reach_one_by_one(texts.filter(pc.equal(scales, 0)))
        bigint = whole_numbers.bigint and scale == 0
    else:
        bigint = False
    doubtful = texts.filter(doubtful_doubles(texts, values))
    return NumberRange(
        whole_digits=whole,
        scale=scale,
        bigint=bigint,
        double=all(number_range(text).double for text in doubtful.to_pylist()),
    )


def _reach_one_by_one(texts: pa.Array) -> NumberRange:
    found = number_range(texts[0].as_py())
    for text in pc.unique(texts).to_pylist():
        found = found.merged(number_range(text))
    return found
