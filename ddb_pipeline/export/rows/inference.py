"""Types inferred from all items of an export, a block at a time.

The observations are those that ``hive.observation.observe_item`` makes of each item. Items with
irregular values, which the columns of a block do not represent, are observed one by one.
"""

from collections import Counter
from typing import Final

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from ddb_pipeline.export.rows.exact import SET_ELEMENTS, exported_item
from ddb_pipeline.export.rows.masks import Mask, either, parents, some, to_mask, valid
from ddb_pipeline.export.rows.numbers import doubtful_doubles, is_plain
from ddb_pipeline.export.rows.reader import BlockParser
from ddb_pipeline.hive.infer import Inference
from ddb_pipeline.hive.names import column_name
from ddb_pipeline.hive.numbers import NumberRange, number_range
from ddb_pipeline.hive.observation import Observation, observe_item
from ddb_pipeline.hive.undecodable import UndecodableValueError

_DECIMAL: Final = r"^-?[0-9]+\.[0-9]+$"
_NUMBER: Final = r"^[+-]?([0-9]+(\.[0-9]*)?|\.[0-9]+)([eE][+-]?[0-9]{1,9})?$"
_SMALL_DIGITS: Final = 10**15


class ExportInference:
    """Infers types from an export's items, block by block. Not thread-safe."""

    def __init__(self) -> None:
        self._parser = BlockParser()
        self._seen = Observation()
        self._items = 0

    @property
    def inference(self) -> Inference:
        """The result of the blocks so far."""
        return Inference(self._items, self._seen)

    def add(self, block: bytes) -> int:
        """Observe a block of whole lines and return the number of lines without a valid item.

        The conversion rejects such lines, with the reason.
        """
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


def range_of_numbers(texts: pa.Array) -> NumberRange:
    """The range of numbers, as ``number_range`` returns it for each of them.

    ``texts`` has at least one text and no nulls, and each text is a number.
    """
    if not is_plain(texts):
        return _exact_range(texts)
    try:
        return _integer_range(pc.cast(texts, pa.int64()))
    except pa.ArrowInvalid:
        pass
    decimal = pc.match_substring_regex(texts, _DECIMAL)
    whole = texts.filter(pc.invert(decimal))
    found = _decimal_range(texts.filter(decimal))
    if len(whole):
        try:
            other = _integer_range(pc.cast(whole, pa.int64()))
        except pa.ArrowInvalid:
            other = _exact_range(whole)
        found = other if found is None else found.merged(other)
    return found or NumberRange()


def _integer_range(numbers: pa.Array) -> NumberRange:
    values = numbers.to_numpy()
    low, high = int(values.min()), int(values.max())
    large = values[(values >= _SMALL_DIGITS) | (values <= -_SMALL_DIGITS)]
    return NumberRange(
        whole_digits=len(str(max(-low, high))),
        double=all(number_range(str(value)).double for value in large.tolist()),
    )


def _decimal_range(texts: pa.Array) -> NumberRange | None:
    """The range of numbers that have a decimal point; None if present are none."""
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
        # 5.0 is an integer; whether bigint holds it depends on all its digits.
        whole_numbers = _exact_range(texts.filter(pc.equal(scales, 0)))
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


def _exact_range(texts: pa.Array) -> NumberRange:
    found = number_range(texts[0].as_py())
    for text in pc.unique(texts).to_pylist():
        found = found.merged(number_range(text))
    return found
