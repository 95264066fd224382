"""JSON documents of a Firehose record: one or several in a row, strict syntax, exact numbers.

Firehose parses strict JSON with Jackson: no comments, single quotes, unquoted names, NaN or
trailing commas. A number is kept as its text, because a bigint or a decimal must not go through a
float, and because the SerDes parse that text themselves (Integer.parseInt and similar methods).
"""

import json
import re
from collections.abc import Callable, Iterator
from typing import Any, Final, NoReturn

MAX_NESTING: Final = 400
"""Deepest nesting of a document that is read.

DynamoDB documents nest 32 levels; Firehose's own limit is not documented. Parser and printer make
one call a level, and the interpreter allows 1,000 calls, those of the caller included.
"""

_WHITESPACE: Final = re.compile(r"[ \t\n\r]*")
_DEPTH_TOKENS: Final = re.compile(rb'"(?:[^"\\]|\\.)*"?|[\[{]|[\]}]', re.DOTALL)
_BYTE_ORDER_MARK: Final = b"\xef\xbb\xbf"


class JsonSyntaxError(ValueError):
    """Bytes that are not JSON; the text states what is wrong and where."""


class DuplicateKeyError(ValueError):
    """An object with one key twice, in lower case where keys are read in lower case."""

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
    """Yield the JSON values of a record, which only white space may separate.

    A DuplicateKeyError of the decoder's object hook is yielded in place of its document. Raises
    JsonSyntaxError at text that is not JSON, after the documents before it.
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
    """Return a decoder that keeps numbers as text and refuses NaN and infinity.

    ``object_hook`` makes the value of a JSON object from its key-value pairs.
    """
    return json.JSONDecoder(
        object_pairs_hook=object_hook,
        parse_int=JsonInteger,
        parse_float=JsonFraction,
        parse_constant=_refuse_constant,
        strict=True,
    )


def unique_keys(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    """Object hook: a dict of the pairs. Raises DuplicateKeyError."""
    members = dict(pairs)
    if len(members) != len(pairs):
        raise DuplicateKeyError(_first_repeated(key for key, _ in pairs))
    return members


def unique_lower_keys(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    """Object hook: a dict of the pairs with keys in lower case. Raises DuplicateKeyError."""
    members = {key.lower(): value for key, value in pairs}
    if len(members) != len(pairs):
        raise DuplicateKeyError(_first_repeated(key.lower() for key, _ in pairs))
    return members


def nesting(record: bytes) -> int:
    """The deepest nesting of objects and arrays in JSON bytes; brackets in strings do not count."""
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
    # Counting brackets is cheap and excludes nearly every record from measuring its depth.
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
    raise AssertionError("unreachable: no key is repeated")


_PLAIN: Final = document_decoder(dict)
