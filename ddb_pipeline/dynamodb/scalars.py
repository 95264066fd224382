"""The JSON text of single attribute values: strings, numbers, binary, booleans, null."""

import re
from base64 import b64encode
from collections.abc import Callable, Sequence
from json.decoder import JSONDecoder
from json.encoder import encode_basestring
from typing import Any

from ddb_pipeline.hive.undecodable import UndecodableValueError

_JSON_NUMBER = re.compile(r"-?(?:0|[1-9][0-9]*)(?:\.[0-9]+)?(?:[eE][+-]?[0-9]{1,9})?").fullmatch
_ANY_NUMBER = re.compile(r"([+-]?)([0-9]*)(?:\.([0-9]*))?([eE][+-]?[0-9]{1,9})?").fullmatch
_BASE64 = re.compile(r"(?:[A-Za-z0-9+/]{4})*(?:[A-Za-z0-9+/]{2}==|[A-Za-z0-9+/]{3}=)?").fullmatch

quoted = encode_basestring
"""A string as JSON text with its quotes; raises TypeError for any other value."""


def string_text(content: Any) -> str:
    """The JSON text of the content under the type tag ``S``."""
    if isinstance(content, str):
        return quoted(content)
    raise UndecodableValueError(f"S holds {kind_of(content)}, not a string")


def number_text(content: Any) -> str:
    """The JSON text of the content under ``N``: its own digits, in JSON's grammar.

    An exponent of more than nine digits, which no reader of numbers takes, is refused: DynamoDB's
    numbers reach from 1E-130 to 9.9E+125 (Amazon DynamoDB developer guide, "Data types").
    """
    if not isinstance(content, str):
        raise UndecodableValueError(f"N holds {kind_of(content)}, not the text of a number")
    if _JSON_NUMBER(content):
        return content
    match = _ANY_NUMBER(content)
    if match is None or not (match[2] or match[3]):
        raise UndecodableValueError("N holds text that is not a number")
    sign = "-" if match[1] == "-" else ""
    whole = match[2].lstrip("0") or "0"
    fraction = f".{match[3]}" if match[3] else ""
    return f"{sign}{whole}{fraction}{match[4] or ''}"


def binary_text(content: Any) -> str:
    """The JSON text of the content under ``B``: base64."""
    # Binary is bytes in boto3, a Binary with the bytes in `value` in its resource layer, and base64
    # text in Lambda events and exports.
    if isinstance(content, str):
        if _BASE64(content):
            return f'"{content}"'
        raise UndecodableValueError("B holds text that is not base64")
    data = getattr(content, "value", content)
    if isinstance(data, (bytes, bytearray, memoryview)):
        return f'"{b64encode(data).decode("ascii")}"'
    raise UndecodableValueError(f"B holds {kind_of(content)}, neither bytes nor base64 text")


def boolean_text(content: Any) -> str:
    """The JSON text of the content under ``BOOL``."""
    if content is True:
        return "true"
    if content is False:
        return "false"
    raise UndecodableValueError(f"BOOL holds {kind_of(content)}, not a boolean")


def null_text(content: Any) -> str:
    """The JSON text of the content under ``NULL``, which is always true."""
    if content is True:
        return "null"
    raise UndecodableValueError("NULL holds another value than true")


def all_json_numbers(texts: Sequence[str]) -> bool:
    """Whether every text is a number in JSON's grammar.

    JSON's own scanner reads them as one array, several times as fast as a check of each. It passes
    each number's text to ``len`` instead of converting it. Only if all elements are numbers do the
    lengths and the commas between them add up to the length of the whole.
    """
    if not texts:
        return True
    try:
        joined = ",".join(texts)
        lengths, _ = _scan_lengths(f"[{joined}]", 0)
        return len(lengths) == len(texts) and sum(lengths) + len(texts) - 1 == len(joined)
    except (ValueError, TypeError, StopIteration, RecursionError):
        return False


_decoder: Any = JSONDecoder(parse_int=len, parse_float=len)
_scan_lengths: Callable[[str, int], tuple[Any, int]] = _decoder.scan_once


def kind_of(content: Any) -> str:
    """The type of a value, for an error message that must not contain the value."""
    return "nothing" if content is None else f"a value of type {type(content).__name__}"
