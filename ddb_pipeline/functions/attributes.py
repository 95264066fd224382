"""Rules on an item's attributes: find by path, filter, drop, pseudonymise."""

import hashlib
import hmac
from base64 import b64decode, b64encode
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from ddb_pipeline.dynamodb.values import AttributeValue, Item
from ddb_pipeline.hive.undecodable import UndecodableValueError

AttributePath = tuple[str, ...]
"""An attribute's name, then the names within the maps below it."""

AttributeFilter = Sequence[tuple[AttributePath, frozenset[str]]]
"""Paths, each with the values wanted there."""

NUMERIC_PSEUDONYM_BITS = 63
"""A number's pseudonym is a number, so that it fits the column's type: at most a bigint."""


def parse_path(text: str) -> AttributePath:
    """``user.address.city`` as a path; a name that itself has a dot is escaped: ``a\\.b``."""
    names = [name.replace("\0", ".") for name in text.replace("\\.", "\0").split(".")]
    if not all(names):
        raise ValueError(f"{text!r} is not an attribute path such as user.address.city")
    return tuple(names)


def attribute_at(item: Item, path: AttributePath) -> AttributeValue | None:
    """The value at a path, None where there is none or something else than a map on the way."""
    value: Any = {"M": item}
    for name in path:
        members = value.get("M") if isinstance(value, Mapping) else None
        value = members.get(name) if isinstance(members, Mapping) else None
    return value if isinstance(value, Mapping) else None


def scalar_at(item: Item, path: AttributePath) -> str | None:
    """The text of the string, number or boolean at a path, to compare with settings."""
    value = attribute_at(item, path) or {}
    if "BOOL" in value:
        return "true" if value["BOOL"] is True else "false"
    text = value.get("S", value.get("N"))
    return text if isinstance(text, str) else None


def matches(item: Item, wanted: AttributeFilter) -> bool:
    """Whether every path holds one of its wanted values."""
    return all(scalar_at(item, path) in values for path, values in wanted)


@dataclass(frozen=True, slots=True)
class Redaction:
    """What never leaves the function as it is.

    Attributes:
        dropped: paths left out.
        pseudonymised: paths whose values are replaced by keyed hashes (HMAC-SHA256): equal values
            stay equal, nobody without the key can tell or try them.
        key: the secret key, never empty where something is pseudonymised.
    """

    dropped: tuple[AttributePath, ...] = ()
    pseudonymised: tuple[AttributePath, ...] = ()
    key: bytes = b""

    def __bool__(self) -> bool:
        return bool(self.dropped or self.pseudonymised)

    def drops(self, keys: Item) -> str:
        """The first of these attributes that would be left out whole, empty for none."""
        dropped = (path[0] for path in self.dropped if len(path) == 1)
        return next((name for name in dropped if name in keys), "")

    def image(self, item: Item) -> Item:
        """An item without what is dropped and with pseudonyms.

        Raises:
            UndecodableValueError: a value to pseudonymise is not one of DynamoDB's.
        """
        for path in self.dropped:
            item = _edited(item, path, _nothing)
        return self.keys(item)

    def keys(self, keys: Item) -> Item:
        """Key attributes with pseudonyms; keys are not dropped, they tell items apart."""
        for path in self.pseudonymised:
            keys = _edited(keys, path, self._pseudonym)
        return keys

    def _pseudonym(self, value: AttributeValue) -> AttributeValue:
        return pseudonym(value, self.key)


def pseudonym(value: AttributeValue, key: bytes) -> AttributeValue:
    """A value of the same type that stands for this one.

    Strings become 64 hexadecimal digits, numbers a positive integer below 2**63, binary 32 bytes;
    sets, lists and maps keep their shape. A boolean becomes NULL: two values have no pseudonym.

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
        raise UndecodableValueError("it cannot be pseudonymised, its form is unknown") from error


def _digest(data: bytes, key: bytes) -> bytes:
    return hmac.digest(key, data, hashlib.sha256)


def _string(content: str, key: bytes) -> str:
    return _digest(content.encode("utf-8", "surrogatepass"), key).hex()


def _number(content: str, key: bytes) -> str:
    digest = _digest(content.encode("ascii"), key)
    return str(int.from_bytes(digest[:8], "big") >> (64 - NUMERIC_PSEUDONYM_BITS))


def _binary(content: bytes | str, key: bytes) -> str:
    data = b64decode(content, validate=True) if isinstance(content, str) else bytes(content)
    return b64encode(_digest(data, key)).decode("ascii")


_SCALARS: Mapping[str, Callable[[Any, bytes], str]] = {"S": _string, "N": _number, "B": _binary}


def _nothing(value: AttributeValue) -> None:
    return None


def _edited(
    members: Item,
    path: AttributePath,
    edit: Callable[[AttributeValue], AttributeValue | None],
) -> Item:
    """The item with the value at a path replaced, or left out where ``edit`` answers None.

    A list on the way is entered: the rule holds for each of its maps.
    """
    name, *rest = path
    if not isinstance(members, Mapping) or name not in members:
        return members
    found = members[name]
    value = _edited_below(found, tuple(rest), edit) if rest else edit(found)
    if value is None:
        return {other: kept for other, kept in members.items() if other != name}
    return {**members, name: value}


def _edited_below(
    value: AttributeValue,
    path: AttributePath,
    edit: Callable[[AttributeValue], AttributeValue | None],
) -> AttributeValue:
    if not isinstance(value, Mapping):
        return value
    if isinstance(value.get("M"), Mapping):
        return {"M": _edited(value["M"], path, edit)}
    if isinstance(value.get("L"), (list, tuple)):
        return {"L": [_edited_below(element, path, edit) for element in value["L"]]}
    return value
