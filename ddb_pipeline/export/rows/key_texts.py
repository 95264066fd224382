"""The canonical text of keys, as change documents have it in ``ddb_keys``, for many keys at once.

The text is that of ``dynamodb.stream``: a JSON object of the key's columns, in the order of the
attributes' names. ``key_text`` defines it; columns of keys that need no escape are joined by Arrow.
"""

from collections.abc import Sequence
from typing import Any, Final

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from ddb_pipeline.dynamodb.values import item_json
from ddb_pipeline.export.rows.change_lines import item_lines
from ddb_pipeline.export.rows.exact import exported_item
from ddb_pipeline.export.rows.masks import Mask, either, to_mask
from ddb_pipeline.export.rows.reader import BlockParser
from ddb_pipeline.hive.names import column_names
from ddb_pipeline.hive.undecodable import UndecodableValueError

KEY_TAGS: Final = ("S", "N", "B")
"""Types of key attributes (Amazon DynamoDB developer guide, "Core components")."""
_PROVEN: Final = {
    "S": r'^[^"\\\x00-\x1f]*$',
    "N": r"^-?(0|[1-9][0-9]*)(\.[0-9]+)?([eE][+-]?[0-9]+)?$",
    "B": r"^([A-Za-z0-9+/]{4})*([A-Za-z0-9+/]{2}==|[A-Za-z0-9+/]{3}=)?$",
}
"""Contents that are JSON text, apart from the quotes."""


def key_text(keys: dict[str, Any]) -> str:
    """The text of one key in DynamoDB's typed form.

    Raises:
        UndecodableValueError: it has a value that keys cannot have.
    """
    for name, value in keys.items():
        if not isinstance(value, dict) or set(value) - set(KEY_TAGS):
            raise UndecodableValueError("a key is a text, a number or binary", name)
    text = item_json(dict(sorted(keys.items())))
    try:
        text.encode("utf-8")
    except UnicodeEncodeError:
        raise UndecodableValueError("the text is not Unicode (half a surrogate pair)") from None
    return text


class KeyTexts:
    """Writes the texts of keys, block by block. Not thread-safe."""

    def __init__(self) -> None:
        self._parser = BlockParser()

    def texts(
        self, keys: Sequence[bytes]
    ) -> tuple[pa.StringArray, dict[int, UndecodableValueError]]:
        """The texts of keys that are JSON objects of attributes in DynamoDB's typed form.

        Returns:
            The texts in the order of the keys, null for one that is not a key, and the errors by
            their positions.
        """
        parts = [pa.array([], pa.string())]
        errors: dict[int, UndecodableValueError] = {}
        count = 0
        for parsed in self._parser.parse(item_lines(keys)):
            if parsed.items is None:
                lines = parsed.lines()
                texts = pa.nulls(len(lines), pa.string())
                unproven: Mask | None = np.ones(len(lines), np.bool_)
            else:
                texts, unproven = _joined(parsed.items)
                lines = parsed.lines_of(unproven) if unproven is not None else []
            if unproven is not None:
                positions = np.flatnonzero(unproven)
                exact = [_text_or_error(line) for line in lines]
                errors |= {
                    count + int(position): found
                    for position, found in zip(positions, exact, strict=True)
                    if isinstance(found, UndecodableValueError)
                }
                found_texts = [None if isinstance(found, Exception) else found for found in exact]
                replaced = pa.array(found_texts, pa.string())
                texts = pc.replace_with_mask(texts, pa.array(unproven), replaced)
            parts.append(texts)
            count += len(texts)
        return pa.concat_arrays(parts), errors


def _text_or_error(line: bytes) -> str | UndecodableValueError:
    try:
        return key_text(exported_item(line))
    except UndecodableValueError as error:
        return error


def _joined(keys: pa.StructArray) -> tuple[pa.StringArray, Mask | None]:
    """The texts, and the rows in which they may be others."""
    present = {
        field.name: keys.field(position)
        for position, field in enumerate(keys.type)
        if keys.field(position).null_count < len(keys)
    }
    unproven = to_mask(pc.is_null(keys)) if keys.null_count else None
    pieces: list[Any] = []
    columns = column_names(present)
    for name in sorted(present):
        content, doubtful = _content(present[name])
        unproven = either(unproven, doubtful)
        pieces += [f'{"," if pieces else "{"}"{columns[name]}":', content]
    if not pieces:
        return pa.nulls(len(keys), pa.string()), np.ones(len(keys), np.bool_)
    texts = pc.binary_join_element_wise(*pieces, "}", "", null_handling="emit_null")
    return texts, unproven


def _content(value: pa.Array) -> tuple[pa.Array, Mask | None]:
    """A key attribute as JSON text, and the rows in which it may be another text."""
    length = len(value)
    everything = np.ones(length, np.bool_)
    if not pa.types.is_struct(value.type):
        return pa.nulls(length, pa.string()), everything
    tags = [
        (field.name, value.field(position))
        for position, field in enumerate(value.type)
        if value.field(position).null_count < length
    ]
    if len(tags) != 1 or tags[0][0] not in KEY_TAGS or not pa.types.is_string(tags[0][1].type):
        return pa.nulls(length, pa.string()), everything
    [(tag, content)] = tags
    proven = pc.match_substring_regex(content, _PROVEN[tag]).fill_null(False)
    doubtful = None if pc.all(proven).as_py() else to_mask(pc.invert(proven))
    if tag == "N":
        return content, doubtful
    return pc.binary_join_element_wise('"', content, '"', "", null_handling="emit_null"), doubtful
