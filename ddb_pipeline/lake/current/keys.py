"""Canonical texts of keys: equal for equal keys, whichever way the lake got them.

The text is that of ``ddb_keys``: a JSON object of the key's columns, in the order of the
attributes' names. Here its numbers have one form only: no exponent, no leading zeros, no zeros at
the end of a fraction.
"""

import json
import re
from base64 import b64encode
from collections.abc import Iterable, Sequence
from decimal import Context, Decimal, InvalidOperation
from typing import Any, Final, NamedTuple

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc

from ddb_pipeline.dynamodb.scalars import quoted
from ddb_pipeline.errors import DdbPipelineError
from ddb_pipeline.hive.names import KEYS, column_name

_NUMBER: Final = r"(?:-?[1-9][0-9]*|0|-?(?:0|[1-9][0-9]*)\.[0-9]*[1-9])"
_STRING: Final = r'"(?:[^"\\]|\\["\\])*"'
_MEMBER: Final = rf'"[a-z0-9_]+":(?:{_NUMBER}|{_STRING})'
_CANONICAL: Final = rf"^\{{{_MEMBER}(?:,{_MEMBER})?\}}$"
_PLAIN_STRING: Final = r'^[^"\\\x00-\x1f]*$'
_PLAIN_NUMBER: Final = rf"^{_NUMBER}$"
_WIDE: Final = Context(prec=400)
"""Enough digits for every number of DynamoDB."""


_HASHED_SUFFIX: Final = re.compile(r"_[0-9a-f]{8}").fullmatch
"""The end of a column's name if another attribute of the item has the name without it."""


class KeyAttribute(NamedTuple):
    """An attribute of a table's key, and its type tag: ``S``, ``N`` or ``B``."""

    name: str
    tag: str

    @property
    def column(self) -> str:
        """Its column."""
        return column_name(self.name)


class KeyColumnError(DdbPipelineError):
    """The columns of the key do not identify the items, or a key's text is not one."""


def canonical_texts(texts: pa.Array) -> pa.Array:
    """Texts of ``ddb_keys`` in their canonical form.

    Raises:
        KeyColumnError: a text is not a JSON object.
    """
    good = pc.match_substring_regex(texts, _CANONICAL)
    if pc.all(good).as_py():
        return texts
    irregular = pc.invert(good)
    found = [canonical_text(text) for text in texts.filter(irregular).to_pylist()]
    return pc.replace_with_mask(texts, irregular, pa.array(found, texts.type))


def canonical_text(text: str) -> str:
    """The canonical form of one text.

    Raises:
        KeyColumnError: it is not a JSON object of texts and numbers.
    """
    try:
        key = json.loads(text, parse_int=Decimal, parse_float=Decimal)
        members = [f"{quoted(name)}:{_member(value)}" for name, value in key.items()]
    except (ValueError, TypeError, AttributeError, InvalidOperation) as error:
        raise KeyColumnError(
            f"A change's {KEYS} is not the JSON text of a key: {error}. Keep the column as the "
            "pipeline writes it."
        ) from None
    return "{" + ",".join(members) + "}"


def canonical_number(text: str) -> str:
    """One text for equal numbers: ``1.5`` for ``1.50`` and ``15E-1``."""
    number = Decimal(text)
    return format(number.normalize(_WIDE), "f") if number else "0"


def texts_of_columns(table: pa.Table, key: Sequence[KeyAttribute]) -> pa.Array:
    """The canonical texts of the keys of whole items, from their columns.

    Raises:
        KeyColumnError: a column of the key does not exist, or has no value in a row.
    """
    pieces: list[Any] = []
    for attribute in key:
        name = attribute.column
        values = table.column(name).combine_chunks() if name in table.schema.names else None
        if values is None or values.null_count:
            raise KeyColumnError(
                f"An item has no {attribute.name!r}, so that this is no attribute of the key. Give "
                "the table's key with --key: its partition key and, if it has one, its sort key."
            )
        pieces += [f'{"," if pieces else "{"}"{name}":', _json_texts(values, attribute.tag)]
    return pc.binary_join_element_wise(*pieces, "}", "")


def have_own_columns(key: Sequence[KeyAttribute], columns: Iterable[str]) -> bool:
    """Whether the key's columns hold the key's attributes in all items.

    Of two attributes of one item with the same column name, one is in a column of another name.
    """
    names = tuple(attribute.column for attribute in key)
    return not any(
        column.startswith(name) and _HASHED_SUFFIX(column[len(name) :])
        for column in columns
        for name in names
    )


def _json_texts(values: pa.Array, tag: str) -> pa.Array:
    if tag == "N":
        return _number_texts(values.cast(pa.string()))
    if tag == "B" and pa.types.is_binary(values.type):
        texts = [f'"{b64encode(content).decode("ascii")}"' for content in values.to_pylist()]
        return pa.array(texts, pa.string())
    return _string_texts(values.cast(pa.string()))


def _string_texts(values: pa.Array) -> pa.Array:
    plain = pc.match_substring_regex(values, _PLAIN_STRING)
    texts = pc.binary_join_element_wise('"', values, '"', "")
    if pc.all(plain).as_py():
        return texts
    escaped = pc.invert(plain)
    found = [quoted(text) for text in values.filter(escaped).to_pylist()]
    return pc.replace_with_mask(texts, escaped, pa.array(found, pa.string()))


def _number_texts(texts: pa.Array) -> pa.Array:
    plain = pc.match_substring_regex(texts, _PLAIN_NUMBER)
    if pc.all(plain).as_py():
        return texts
    other = pc.invert(plain)
    found = [canonical_number(text) for text in texts.filter(other).to_pylist()]
    return pc.replace_with_mask(texts, other, pa.array(found, pa.string()))


def _member(value: Any) -> str:
    if isinstance(value, Decimal):
        return canonical_number(str(value))
    return quoted(value)


Hashes = npt.NDArray[np.uint64]

_MIX: Final = np.uint64(0x9E3779B97F4A7C15)
_SPREAD: Final = np.uint64(0xD6E8FEB86659FD93)
_WORD: Final = 8


def hashes(texts: pa.Array) -> Hashes:
    """A 64-bit hash of each text that never changes: it decides in which bucket a key is stored.

    The UTF-8 bytes are read as little-endian words of 8 bytes, the last one filled with zeros; each
    word is mixed into the hash, which begins with the length.
    """
    _, offset_buffer, data = texts.buffers()
    count = len(texts)
    ends = np.frombuffer(offset_buffer, np.int32)[texts.offset : texts.offset + count + 1]
    content = np.frombuffer(data, np.uint8) if data is not None else np.empty(0, np.uint8)
    begin, end = (int(ends[0]), int(ends[-1])) if count else (0, 0)
    padded = np.zeros(end - begin + _WORD, np.uint8)
    padded[: end - begin] = content[begin:end]
    words = np.lib.stride_tricks.as_strided(
        padded[:_WORD].view("<u8"), shape=(end - begin + 1,), strides=(1,), writeable=False
    )
    starts = ends[:-1].astype(np.int64) - begin
    lengths = np.diff(ends).astype(np.int64)
    found = _mixed(lengths.astype(np.uint64) * _MIX)
    rows, position = np.flatnonzero(lengths > 0), 0
    while len(rows):
        left = lengths[rows] - position
        word = words[starts[rows] + position].astype(np.uint64)
        bits = (np.minimum(left, _WORD) * 8).astype(np.uint64)
        partial = bits < 64
        if partial.any():
            word[partial] &= (np.uint64(1) << bits[partial]) - np.uint64(1)
        found[rows] = _mixed((found[rows] ^ word) * _MIX)
        position += _WORD
        rows = rows[left > _WORD]
    return found


def bucket_numbers(texts: pa.Array, buckets: int) -> npt.NDArray[np.int64]:
    """The bucket of each canonical text. With twice the buckets, a bucket becomes two."""
    numbers: npt.NDArray[np.int64] = (hashes(texts) % np.uint64(buckets)).astype(np.int64)
    return numbers


def _mixed(words: Hashes) -> Hashes:
    words ^= words >> np.uint64(32)
    words *= _SPREAD
    words ^= words >> np.uint64(32)
    return words
