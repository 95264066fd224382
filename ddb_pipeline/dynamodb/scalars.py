"""Single attribute values as JSON text: strings, numbers, binary, booleans, null."""

import re
from base64 import b64encode
from collections.abc import Callable, Sequence
from json.decoder import JSONDecoder
from json.encoder import encode_basestring
from typing import Any

from ddb_pipeline.hive.undecodable import UndecodableValueError

_JSON_NUMBER = re.compile(r"-?(?:0|[1-9][0-9]*)(?:\.[0-9]+)?(?:[eE][+-]?[0-9]+)?").fullmatch
_ANY_NUMBER = re.compile(r"([+-]?)([0-9]*)(?:\.([0-9]*))?([eE][+-]?[0-9]+)?").fullmatch
_BASE64 = re.compile(r"(?:[A-Za-z0-9+/]{4})*(?:[A-Za-z0-9+/]{2}==|[A-Za-z0-9+/]{3}=)?").fullmatch

quoted = encode_basestring
"""A string as JSON text, quotes included; TypeError for anything else."""


def string_text(content: Any) -> str:
    """The content of a value tagged ``S``."""
    if isinstance(content, str):
        return quoted(content)
    raise UndecodableValueError(f"S holds {kind_of(content)}, not a string")


def number_text(content: Any) -> str:
    """The content of a value tagged ``N``."""
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
    """The content of a value tagged ``B``."""
    # boto3 gives bytes, its resource layer a Binary with the bytes in `value`; Lambda events and
    # exports give base64 text.
    if isinstance(content, str):
        if _BASE64(content):
            return f'"{content}"'
        raise UndecodableValueError("B holds text that is not base64")
    data = getattr(content, "value", content)
    if isinstance(data, (bytes, bytearray, memoryview)):
        return f'"{b64encode(data).decode("ascii")}"'
    raise UndecodableValueError(f"B holds {kind_of(content)}, neither bytes nor base64 text")


def boolean_text(content: Any) -> str:
    """The content of a value tagged ``BOOL``."""
    if content is True:
        return "true"
    if content is False:
        return "false"
    raise UndecodableValueError(f"BOOL holds {kind_of(content)}, not a boolean")


def null_text(content: Any) -> str:
    """The content of a value tagged ``NULL``."""
    if content is True:
        return "null"
    raise UndecodableValueError("NULL holds something else than true")


def all_json_numbers(texts: Sequence[str]) -> bool:
    """Whether every text is a number in JSON's grammar, as JSON's own scanner finds.

    The scanner hands each number's text to ``len`` instead of converting it. Only numbers and the
    commas between them add up to the whole length.
    """
    if not texts:
        return True
    try:
        joined = ",".join(texts)
        lengths, _ = _scan_lengths(f"[{joined}]", 0)
        return len(lengths) == len(texts) and sum(lengths) + len(texts) - 1 == len(joined)
    except (ValueError, TypeError, StopIteration):
        return False


_decoder: Any = JSONDecoder(parse_int=len, parse_float=len)
_scan_lengths: Callable[[str, int], tuple[Any, int]] = _decoder.scan_once


def kind_of(content: Any) -> str:
    """What something is, for an error message that must not show it."""
    return "nothing" if content is None else f"a value of type {type(content).__name__}"
