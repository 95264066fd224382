"""Finds an item's attributes by path, filters by them, drops and pseudonymises them."""

import hashlib
import hmac
from base64 import b64decode, b64encode
from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

from ddb_pipeline.dynamodb.values import AttributeValue, Item, json_text
from ddb_pipeline.hive.attribute_paths import AttributePath
from ddb_pipeline.hive.undecodable import UndecodableValueError

AttributeFilter = Sequence[tuple[AttributePath, frozenset[str]]]
"""Paths, each with the values accepted there."""

NUMERIC_PSEUDONYM_BITS = 63
"""Bits of a number's pseudonym, a number as well, so that it fits a bigint column."""


def attribute_at(item: Item, path: AttributePath) -> AttributeValue | None:
    """The value at a path; None where there is none, or a value on the path is no map."""
    value: Any = {"M": item}
    for name in path:
        members = value.get("M") if isinstance(value, Mapping) else None
        value = members.get(name) if isinstance(members, Mapping) else None
    return value if isinstance(value, Mapping) else None


def scalar_at(item: Item, path: AttributePath) -> str | None:
    """The text of the string, number or boolean at a path, to compare with settings; else None."""
    value = attribute_at(item, path) or {}
    if "BOOL" in value:
        return "true" if value["BOOL"] is True else "false"
    text = value.get("S", value.get("N"))
    return text if isinstance(text, str) else None


def matches(item: Item, attribute_filter: AttributeFilter) -> bool:
    """Whether the value at every path is an accepted one."""
    return all(scalar_at(item, path) in values for path, values in attribute_filter)


@dataclass(frozen=True, slots=True)
class Redaction:
    """The attributes that must not leave the function as they are.

    Attributes:
        dropped: paths of attributes to leave out.
        pseudonymised: paths of attributes whose values are replaced by their HMAC-SHA256: equal
            values stay equal, and without the key nobody can recover or guess them.
        key: the secret key, not empty if anything is pseudonymised.
    """

    dropped: tuple[AttributePath, ...] = ()
    pseudonymised: tuple[AttributePath, ...] = ()
    key: bytes = b""

    def __bool__(self) -> bool:
        return bool(self.dropped or self.pseudonymised)

    def includes(self, names: Collection[str]) -> bool:
        """Whether one of these attributes, or something in it, is redacted."""
        return any(path[0] in names for path in (*self.dropped, *self.pseudonymised))

    def drops(self, keys: Item) -> str:
        """The name of the first of these key attributes that is dropped; empty for none."""
        dropped = (path[0] for path in self.dropped if len(path) == 1)
        return next((name for name in dropped if name in keys), "")

    def except_pseudonyms(self, paths: Collection[AttributePath]) -> "Redaction":
        """The same for a record in which the values at these paths are pseudonyms already."""
        if not paths:
            return self
        left = tuple(path for path in self.pseudonymised if path not in paths)
        return replace(self, pseudonymised=left)

    def image(self, item: Item) -> Item:
        """An item without dropped attributes and with pseudonyms.

        Raises:
            UndecodableValueError: a value on one of the paths is not one of DynamoDB's, so that
                what is to be redacted may be anywhere in it.
            RecursionError: so is one that is nested thousands of levels deep.
        """
        for path in self.dropped:
            item = _edited(item, path, _nothing)
        return self.keys(item)

    def keys(self, keys: Item) -> Item:
        """Key attributes with pseudonyms; they are not dropped, because they identify the item.

        Raises:
            UndecodableValueError: as ``image``.
        """
        for path in self.pseudonymised:
            keys = _edited(keys, path, self._pseudonym)
        return keys

    def _pseudonym(self, value: AttributeValue) -> AttributeValue:
        return pseudonym(value, self.key)


def pseudonym(value: AttributeValue, key: bytes) -> AttributeValue:
    """A value of the same type in place of this one.

    A string becomes 64 hexadecimal digits, a number a positive integer below 2**63, binary 32
    bytes; in sets, lists and maps each element does. A boolean becomes NULL: a pseudonym of one of
    two values would be easy to guess.

    Raises:
        UndecodableValueError: the value is not one of DynamoDB's.
    """
    try:
        [(tag, content)] = value.items()
        if tag == "L":
            return {tag: [pseudonym(element, key) for element in content]}
        if tag == "M":
            return {tag: {name: pseudonym(member, key) for name, member in content.items()}}
        if tag in ("BOOL", "NULL"):
            return {"NULL": True}
        if tag in ("SS", "NS", "BS"):
            return {tag: [_SCALARS[tag[0]](element, key) for element in content]}
        return {tag: _SCALARS[tag](content, key)}
    except (KeyError, ValueError, TypeError, AttributeError, RecursionError) as error:
        raise UndecodableValueError(
            "it cannot be pseudonymised, because it has no type of DynamoDB"
        ) from error


def _digest(data: bytes, key: bytes) -> bytes:
    return hmac.digest(key, data, hashlib.sha256)


def _string(content: str, key: bytes) -> str:
    return _digest(content.encode("utf-8", "surrogatepass"), key).hex()


def _number(content: str, key: bytes) -> str:
    digest = _digest(content.encode("ascii"), key)
    return str(int.from_bytes(digest[:8], "big") >> (64 - NUMERIC_PSEUDONYM_BITS))


def _binary(content: bytes | str, key: bytes) -> str:
    if isinstance(content, str):
        data = b64decode(content, validate=True)
    elif isinstance(content, (bytes, bytearray)):
        data = bytes(content)
    else:
        raise TypeError("B holds neither bytes nor base64 text")
    return b64encode(_digest(data, key)).decode("ascii")


_SCALARS: Mapping[str, Callable[[Any, bytes], str]] = {"S": _string, "N": _number, "B": _binary}


def _nothing(value: AttributeValue) -> None:
    return None


def _edited(
    members: Item,
    path: AttributePath,
    edit: Callable[[AttributeValue], AttributeValue | None],
) -> Item:
    """The item with the value at a path replaced, or left out if ``edit`` returns None.

    If a value on the path is a list, each map in the list is edited.
    """
    name, *rest = path
    if not isinstance(members, Mapping):
        raise UndecodableValueError("expected an object")
    if name not in members:
        return members
    found = members[name]
    value = _edited_below(found, tuple(rest), edit) if rest else edit(found)
    if value is None:
        return {other: content for other, content in members.items() if other != name}
    return {**members, name: value}


def _edited_below(
    value: AttributeValue,
    path: AttributePath,
    edit: Callable[[AttributeValue], AttributeValue | None],
) -> AttributeValue:
    if isinstance(value, Mapping) and len(value) == 1:
        if isinstance(value.get("M"), Mapping):
            return {"M": _edited(value["M"], path, edit)}
        if isinstance(value.get("L"), (list, tuple)):
            return {"L": [_edited_below(element, path, edit) for element in value["L"]]}
    json_text(value)
    return value
