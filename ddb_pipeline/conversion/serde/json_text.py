"""JSON text as Firehose reads it: concatenated documents, exact numbers, strict syntax.

Firehose parses with Jackson, so syntax is strict JSON: no comments, single quotes, bare words,
NaN or trailing commas. Numbers keep their text, since a decimal or a bigint must not pass through
a float, and the SerDe's own parsing (Integer.parseInt and its like) starts from that text.
"""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Iterator
from typing import Any, Final, NoReturn

MAX_NESTING: Final = 400
"""Deepest nesting read. DynamoDB documents nest 32 levels; Firehose's own limit is not known.

The interpreter's own limit is 1,000 calls, the caller's among them.
"""

_WHITESPACE: Final = re.compile(r"[ \t\n\r]*")
_DEPTH_TOKENS: Final = re.compile(rb'"(?:[^"\\]|\\.)*"?|[\[{]|[\]}]', re.DOTALL)
_BYTE_ORDER_MARK: Final = b"\xef\xbb\xbf"


class JsonSyntaxError(ValueError):
    """Bytes that are not JSON; the text says what is wrong and where."""


class DuplicateKeyError(ValueError):
    """An object that holds one key twice, after case folding where that is on."""

    def __init__(self, key: str) -> None:
        self.key = key
        super().__init__(f'Duplicate key "{key}"')


class JsonNumber(str):
    """The text of a JSON number."""

    __slots__ = ()


class JsonInteger(JsonNumber):
    """The text of a JSON number without fraction or exponent."""

    __slots__ = ()


class JsonFraction(JsonNumber):
    """The text of a JSON number with a fraction or an exponent."""

    __slots__ = ()


def read_documents(record: bytes, decoder: json.JSONDecoder) -> Iterator[Any]:
    """The JSON values of a record, one after the other, with nothing but white space between.

    A DuplicateKeyError of the decoder's object hook is yielded in place of the document. Raises
    JsonSyntaxError where the text is no JSON, after the documents before.
    """
    text = _decode(record)
    position = _skip_whitespace(text, 0)
    while position < len(text):
        try:
            value, position = _decode_at(text, position, decoder)
        except DuplicateKeyError as error:
            value, (_, position) = error, _decode_at(text, position, _PLAIN)
        yield value
        position = _skip_whitespace(text, position)


def document_decoder(object_hook: Callable[[list[tuple[str, Any]]], Any]) -> json.JSONDecoder:
    """A decoder that keeps number texts and refuses NaN and the infinities.

    ``object_hook`` makes an object of its key-value pairs.
    """
    return json.JSONDecoder(
        object_pairs_hook=object_hook,
        parse_int=JsonInteger,
        parse_float=JsonFraction,
        parse_constant=_refuse_constant,
        strict=True,
    )


def unique_keys(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    """An object as it is; raises DuplicateKeyError."""
    members = dict(pairs)
    if len(members) != len(pairs):
        raise DuplicateKeyError(_first_repeated(key for key, _ in pairs))
    return members


def unique_lower_keys(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    """An object with its keys in lower case; raises DuplicateKeyError."""
    members = {key.lower(): value for key, value in pairs}
    if len(members) != len(pairs):
        raise DuplicateKeyError(_first_repeated(key.lower() for key, _ in pairs))
    return members


def nesting(record: bytes) -> int:
    """The deepest nesting of objects and arrays in JSON bytes, brackets in strings aside."""
    deepest = depth = 0
    for match in _DEPTH_TOKENS.finditer(record):
        token = match.group()
        if token in b"[{":
            depth += 1
            deepest = max(deepest, depth)
        elif token in b"]}":
            depth -= 1
    return deepest


def _decode_at(text: str, position: int, decoder: json.JSONDecoder) -> tuple[Any, int]:
    try:
        return decoder.raw_decode(text, position)
    except json.JSONDecodeError as error:
        message = f"{error.msg}: line {error.lineno} column {error.colno}"
        raise JsonSyntaxError(message) from None
    except RecursionError:
        raise _too_deep() from None


def _decode(record: bytes) -> str:
    # Counting is cheap and rules out nearly every record; only then is the depth worth finding.
    if record.count(b"[") + record.count(b"{") > MAX_NESTING and nesting(record) > MAX_NESTING:
        raise _too_deep()
    if record.startswith(_BYTE_ORDER_MARK):
        record = record[len(_BYTE_ORDER_MARK) :]
    try:
        return record.decode("utf-8")
    except UnicodeDecodeError as error:
        raise JsonSyntaxError(
            f"Invalid UTF-8 byte 0x{record[error.start]:02x} at offset {error.start}"
        ) from None


def _skip_whitespace(text: str, position: int) -> int:
    match = _WHITESPACE.match(text, position)
    return match.end() if match else position


def _too_deep() -> JsonSyntaxError:
    return JsonSyntaxError(f"Document nesting depth exceeds the maximum allowed ({MAX_NESTING})")


def _refuse_constant(name: str) -> NoReturn:
    raise JsonSyntaxError(f"Non-standard token '{name}': only finite numbers are JSON")


def _first_repeated(keys: Iterator[str]) -> str:
    seen: set[str] = set()
    for key in keys:
        if key in seen:
            return key
        seen.add(key)
    raise AssertionError("no key is repeated")


_PLAIN: Final = document_decoder(dict)
