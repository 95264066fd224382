"""JSON values as Java objects of the OpenX SerDe: their classes, their text, errors about them.

The SerDe parses a document with its own copy of org.json (``org.openx.data.jsonserde.json``),
which holds objects in a java.util.HashMap.
Source: recorded output of the class, and of the probed service.
"""

import re
from collections.abc import Iterable
from functools import lru_cache
from typing import Any, Final

from ddb_pipeline.conversion.serde.java import LONG_MAX, LONG_MIN, JavaError
from ddb_pipeline.conversion.serde.json_documents import JsonFraction, JsonInteger, JsonNumber


def class_cast(value: Any, target: str) -> JavaError:
    """Java's ClassCastException where a JSON value is used as ``target``, a Java class."""
    return JavaError(f"class {java_class(value)} cannot be cast to class {target}")


def java_class(value: Any) -> str:
    """The Java class of a JSON value; the open-source SerDe holds numbers as their text."""
    if value is None:
        return "org.openx.data.jsonserde.json.JSONObject$Null"
    if isinstance(value, bool):
        return "java.lang.Boolean"
    if isinstance(value, dict):
        return "org.openx.data.jsonserde.json.JSONObject"
    if isinstance(value, list):
        return "org.openx.data.jsonserde.json.JSONArray"
    return "java.lang.String"


def not_an_object(value: Any) -> JavaError:
    """The SerDe's error for a struct column whose value is neither an object nor an array.

    A number has the class that the probed service names; the open-source SerDe names String.
    """
    shown = "null" if value is None else value if isinstance(value, str) else json_text(value)
    name = java_class(value)
    if isinstance(value, JsonInteger) and _is_long(value):
        name = "java.lang.Long"
    elif isinstance(value, JsonFraction):
        name = "java.lang.Double"
    return JavaError(f"Data is not JSONObject  but {name} with value {shown}")


def _is_long(text: str) -> bool:
    # A Long has at most 19 digits; int() of much longer text is slow.
    return len(text) <= 20 and LONG_MIN <= int(text) <= LONG_MAX


def json_text(value: Any) -> str:
    """Print a JSON value as the OpenX SerDe prints it into a string column.

    The text is compact, members are in java.util.HashMap order, numbers keep their text (as the
    probed service prints them; the open-source SerDe quotes them), null is the quoted ``"null"``.
    """
    parts: list[str] = []
    _append_text(value, parts)
    return "".join(parts)


def _append_text(value: Any, parts: list[str]) -> None:
    # One call a level, like the parser's: ``json_documents.MAX_NESTING`` bounds both.
    if isinstance(value, dict):
        separator = "{"
        for key in hash_map_order(value):
            parts.append(f"{separator}{quote(key)}:")
            _append_text(value[key], parts)
            separator = ","
        parts.append("}" if value else "{}")
    elif isinstance(value, list):
        separator = "["
        for item in value:
            parts.append(separator)
            _append_text(item, parts)
            separator = ","
        parts.append("]" if value else "[]")
    else:
        parts.append(_scalar_text(value))


def _scalar_text(value: Any) -> str:
    if value is None:
        return '"null"'
    if isinstance(value, bool):
        return "true" if value else "false"
    return str(value) if isinstance(value, JsonNumber) else quote(value)


_QUOTE_ESCAPES: Final = {
    '"': '\\"',
    "\\": "\\\\",
    "</": "<\\/",
    "\b": "\\b",
    "\t": "\\t",
    "\n": "\\n",
    "\f": "\\f",
    "\r": "\\r",
}
_QUOTED: Final = re.compile('["\\\\\x00-\x1f\x80-\x9f\u2000-\u20ff]|</')


def quote(text: str) -> str:
    """Quote a string as JSONObject.quote of org.json does, which escapes ``</`` too."""
    return f'"{_QUOTED.sub(_escape, text)}"'


def _escape(match: re.Match[str]) -> str:
    found = match.group()
    return _QUOTE_ESCAPES.get(found) or f"\\u{ord(found):04x}"


def hash_map_order(keys: Iterable[str]) -> list[str]:
    """Sort keys as a java.util.HashMap iterates over them after they were put one by one."""
    inserted = list(keys)
    if len(inserted) < 2:
        return inserted
    capacity = 16
    while len(inserted) > capacity * 3 // 4:
        capacity *= 2
    # Entries of one bucket stay in insertion order, also when the map is resized.
    return sorted(inserted, key=lambda key: _spread_hash(key) & (capacity - 1))


@lru_cache(maxsize=4096)
def _spread_hash(text: str) -> int:
    """String.hashCode, with its high bits mixed in as java.util.HashMap does."""
    value = 0
    units = text.encode("utf-16-le", "surrogatepass")
    for low, high in zip(units[::2], units[1::2], strict=True):
        value = (value * 31 + low + (high << 8)) & 0xFFFFFFFF
    return value ^ (value >> 16)
