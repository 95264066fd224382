"""The fast path: items that were parsed as nested Arrow columns, converted to a table's columns.

An attribute value is a struct with a field for each type tag that occurs in the attribute:
``{"S": ..., "N": null}``. Each function converts all rows of one attribute, map member or list
element at once, and returns which rows it could not prove to be exact (``Converted.unproven``): an
unexpected tag, two tags, a number that does not fit. ``export.rows.exact`` decides about those.
"""

from collections.abc import Mapping, Sequence
from functools import lru_cache, reduce
from typing import Final

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from ddb_pipeline.arrow_types import arrow_type
from ddb_pipeline.export.rows.decided import OnlyExact, OnlyText, Part, Unused
from ddb_pipeline.export.rows.masks import Mask, either, parents, some, valid
from ddb_pipeline.export.rows.numbers import (
    Converted,
    number_texts,
    numbers,
    one_by_one,
)
from ddb_pipeline.hive.fitting import INTEGER_BITS, SET_ELEMENTS
from ddb_pipeline.hive.names import column_name
from ddb_pipeline.hive.types import (
    PRIMITIVE_TYPES,
    STRING,
    ArrayType,
    DecimalType,
    HiveType,
    MapType,
    PrimitiveType,
    StructType,
    parse_type,
)

BINARY: Final = PRIMITIVE_TYPES["binary"]
BOOLEAN: Final = PRIMITIVE_TYPES["boolean"]
TIMESTAMP: Final = PRIMITIVE_TYPES["timestamp"]
_NUMBERS: Final = frozenset({*INTEGER_BITS, "double", "float"})
_LISTS: Final = ("L", *SET_ELEMENTS)


@lru_cache(maxsize=1024)
def arrow_of(kind: HiveType) -> pa.DataType:
    """The Arrow type of a column, whatever way it is read in."""
    return arrow_type(parse_type(str(kind)))


def members(
    parsed: pa.StructArray, fields: Mapping[str, HiveType]
) -> tuple[list[pa.Array], Mask | None]:
    """The members of maps, or the attributes of items: one array for each of ``fields``."""
    unproven: Mask | None = None
    by_column: dict[str, list[pa.Array]] = {}
    sources = {kind.source for kind in fields.values() if isinstance(kind, Part)}
    for position, field in enumerate(parsed.type):
        child = parsed.field(position)
        column = column_name(field.name)
        if column not in sources and isinstance(fields.get(column), Part | None):
            unproven = either(unproven, valid(child))
        elif len(child) > child.null_count:
            by_column.setdefault(column, []).append(child)
    arrays = []
    for column, kind in fields.items():
        spellings = by_column.get(kind.source if isinstance(kind, Part) else column)
        if not spellings or isinstance(kind, Unused):
            arrays.append(pa.nulls(len(parsed), arrow_of(kind)))
            continue
        # Attributes whose names differ in case may be other columns: the exact path decides.
        most = max(spellings, key=lambda child: len(child) - child.null_count)
        for child in spellings:
            if child is not most:
                unproven = either(unproven, valid(child))
        converted = value(most, kind)
        arrays.append(converted.values)
        unproven = either(unproven, converted.unproven)
    return arrays, unproven


def value(parsed: pa.Array, kind: HiveType) -> Converted:
    """Values with their type tags as an array of the column type."""
    length = len(parsed)
    if not pa.types.is_struct(parsed.type):
        return _unproven(parsed, kind)
    tags = {
        field.name: parsed.field(position)
        for position, field in enumerate(parsed.type)
        if parsed.field(position).null_count < length
    }
    unproven = _not_one_tag(parsed, tags)
    null = tags.pop("NULL", None)
    if null is not None and not pa.types.is_boolean(null.type):
        unproven = either(unproven, valid(null))
    if isinstance(kind, Part):
        rest = [each for tag, each in tags.items() if (tag == "N") is not kind.numbers]
        if kind.alone:
            unproven = reduce(either, map(valid, rest), unproven)
        tags = {tag: each for tag, each in tags.items() if (tag == "N") is kind.numbers}
        kind = kind.kind
    chosen = _chosen_tags(tags, kind)
    for tag, content in tags.items():
        if tag not in chosen:
            unproven = either(unproven, valid(content))
    if not chosen:
        return Converted(pa.nulls(length, arrow_of(kind)), unproven)
    converted = _content({tag: tags[tag] for tag in chosen}, kind)
    return Converted(converted.values, either(unproven, converted.unproven))


def _unproven(content: pa.Array, kind: HiveType) -> Converted:
    """Nulls of the column type; the exact path decides about all values."""
    return Converted(pa.nulls(len(content), arrow_of(kind)), valid(content))


def _not_one_tag(parsed: pa.StructArray, tags: Mapping[str, pa.Array]) -> Mask | None:
    """Rows with a value that has no tag or several."""
    present = len(parsed) - parsed.null_count
    if len(tags) == 1 and next(iter(tags.values())).null_count == parsed.null_count:
        return None
    if not tags:
        return valid(parsed) if present else None
    counts = np.zeros(len(parsed), np.int8)
    for content in tags.values():
        counts += valid(content)
    return some(valid(parsed) & (counts != 1))


def _chosen_tags(tags: Mapping[str, pa.Array], kind: HiveType) -> Sequence[str]:
    """The tags whose contents the fast path converts to the column type."""
    if kind == STRING:
        return [tag for tag in ("S", "N", "B", "BOOL") if tag in tags]
    if isinstance(kind, OnlyText):
        return [tag for tag in ("S", "B") if tag in tags]
    if isinstance(kind, OnlyExact):
        return []
    if isinstance(kind, ArrayType):
        return _most_frequent(tags, _LISTS)
    if isinstance(kind, StructType | MapType):
        chosen = "M"
    elif isinstance(kind, DecimalType) or (
        isinstance(kind, PrimitiveType) and kind.name in _NUMBERS
    ):
        chosen = "N"
    elif kind == BOOLEAN:
        chosen = "BOOL"
    elif kind == BINARY:
        chosen = "B"
    elif kind == TIMESTAMP:
        return _most_frequent(tags, ("S", "N"))
    else:
        chosen = "S"
    return [chosen] if chosen in tags else []


def _most_frequent(tags: Mapping[str, pa.Array], among: Sequence[str]) -> Sequence[str]:
    found = [tag for tag in among if tag in tags]
    return [max(found, key=lambda tag: len(tags[tag]) - tags[tag].null_count)] if found else []


def _content(tags: Mapping[str, pa.Array], kind: HiveType) -> Converted:
    [(tag, content), *_] = tags.items()
    if kind == STRING or isinstance(kind, OnlyText):
        return _texts(tags)
    if isinstance(kind, ArrayType):
        return _list(tag, content, kind)
    if isinstance(kind, StructType):
        return _struct(content, kind)
    if isinstance(kind, MapType):
        return _map(content, kind)
    if kind == BOOLEAN:
        return _of_type(content, pa.bool_())
    if not pa.types.is_string(content.type):
        return _unproven(content, kind)
    return numbers(content, kind) if tag == "N" else one_by_one(content, tag, kind)


def _of_type(content: pa.Array, expected: pa.DataType) -> Converted:
    """The contents unchanged; unproven if the parser inferred another type."""
    if content.type == expected:
        return Converted(content, None)
    return Converted(pa.nulls(len(content), expected), valid(content))


def _texts(tags: Mapping[str, pa.Array]) -> Converted:
    unproven: Mask | None = None
    parts = []
    for tag, content in tags.items():
        converted = _of_type(content, pa.bool_() if tag == "BOOL" else pa.string())
        if tag == "N" and converted.unproven is None:
            converted = number_texts(content)
        if tag == "BOOL":
            converted = Converted(pc.cast(converted.values, pa.string()), converted.unproven)
        parts.append(converted.values)
        unproven = either(unproven, converted.unproven)
    return Converted(parts[0] if len(parts) == 1 else pc.coalesce(*parts), unproven)


def _list(tag: str, content: pa.Array, kind: ArrayType) -> Converted:
    if not pa.types.is_list(content.type):
        return _unproven(content, kind)
    elements = content.flatten()
    inner = _elements(tag, elements, kind.element)
    if elements.null_count:
        inner = Converted(inner.values, either(inner.unproven, ~valid(elements)))
    offsets = content.offsets
    first = offsets[0].as_py()
    if first:
        offsets = pc.subtract(offsets, first)
    values = pa.ListArray.from_arrays(
        offsets, inner.values, type=arrow_of(kind), mask=_nulls(content)
    )
    return Converted(values, parents(inner.unproven, offsets.to_numpy()))


def _elements(tag: str, elements: pa.Array, kind: HiveType) -> Converted:
    if tag == "L":
        return value(elements, kind)
    inside = SET_ELEMENTS[tag]
    if not pa.types.is_string(elements.type) or inside not in _chosen_tags(
        {inside: elements}, kind
    ):
        unproven = np.ones(len(elements), np.bool_)
        return Converted(pa.nulls(len(elements), arrow_of(kind)), unproven)
    return _content({inside: elements}, kind)


def _struct(content: pa.Array, kind: StructType) -> Converted:
    if not pa.types.is_struct(content.type):
        return _unproven(content, kind)
    target = arrow_of(kind)
    arrays, unproven = members(content, {field.name: field.type for field in kind.fields})
    fields = [target.field(position) for position in range(target.num_fields)]
    values = pa.StructArray.from_arrays(arrays, fields=fields, mask=_nulls(content))
    return Converted(values, unproven)


def _map(content: pa.Array, kind: MapType) -> Converted:
    """Maps whose keys are data: an entry for each name that is present, ordered by name."""
    if not pa.types.is_struct(content.type) or kind.key != STRING:
        return _unproven(content, kind)
    target = arrow_of(kind)
    unproven: Mask | None = None
    rows, names, values = [], [], []
    for position in range(content.type.num_fields):
        child = content.field(position)
        present = np.flatnonzero(valid(child))
        if not len(present):
            continue
        taken = child.take(pa.array(present))
        converted = value(taken, kind.value)
        if converted.unproven is not None:
            unproven = np.zeros(len(content), np.bool_) if unproven is None else unproven
            unproven[present[converted.unproven]] = True
        rows.append(present)
        names.append(np.full(len(present), position, np.int32))
        values.append(converted.values)
    counts = np.zeros(len(content) + 1, np.int32)
    items = pa.nulls(0, target.item_type)
    keys = pa.array([], pa.string())
    if rows:
        owner = np.concatenate(rows)
        order = np.argsort(owner, kind="stable")
        np.add.at(counts, owner + 1, 1)
        items = pa.concat_arrays(values).take(pa.array(order))
        spelled = pa.array([field.name for field in content.type], pa.string())
        keys = spelled.take(pa.array(np.concatenate(names)[order]))
    offsets = pa.array(np.cumsum(counts, dtype=np.int32))
    missing = _nulls(content)
    entries = pa.MapArray.from_arrays(offsets, keys, items, type=target, mask=missing)
    return Converted(entries, unproven)


def _nulls(array: pa.Array) -> pa.Array | None:
    return pc.is_null(array) if array.null_count else None
