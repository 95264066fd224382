"""Whether a value of DynamoDB is one of a column's type, and held by it exactly."""

from collections.abc import Collection, Mapping
from decimal import Decimal
from typing import Any, Final

from ddb_pipeline.hive.names import column_names
from ddb_pipeline.hive.numbers import number_range
from ddb_pipeline.hive.types import (
    ArrayType,
    CharType,
    DecimalType,
    HiveType,
    MapType,
    PrimitiveType,
    StructType,
    VarcharType,
)
from ddb_pipeline.hive.undecodable import UndecodableValueError

INTEGER_BITS: Final = {"tinyint": 8, "smallint": 16, "int": 32, "bigint": 64}
SET_ELEMENTS: Final = {"SS": "S", "NS": "N", "BS": "B"}
CONTAINERS: Final = {"M": Mapping, **dict.fromkeys(("L", *SET_ELEMENTS), Collection)}

_TAGS: Final = {
    "string": ("S", "B"),
    "boolean": ("BOOL",),
    "binary": ("B",),
    "date": ("S",),
    "timestamp": ("S", "N"),
}
"""The types of the values that columns of a type hold as such."""


def check_fits(kind: HiveType, tag: str, content: Any) -> None:
    """Check that a column of type ``kind`` holds a value as what it is.

    A list, set or map has to be one; whoever writes its contents finds what is malformed in them.
    Text is not what a number is, although a column of text could hold its digits; inside arrays,
    structs and maps it may.

    Raises:
        UndecodableValueError: the value is of another type, or would change.
    """
    if tag == "NULL":
        return
    if isinstance(kind, PrimitiveType) and kind.name in _TAGS:
        _require(tag in _TAGS[kind.name], tag, kind)
    elif isinstance(kind, CharType | VarcharType):
        _require(tag in _TAGS["string"], tag, kind)
        if isinstance(content, str) and len(content) > kind.length:
            raise UndecodableValueError(f"the text is longer than {kind}")
    elif isinstance(kind, ArrayType):
        _require(tag == "L" or tag in SET_ELEMENTS, tag, kind)
        _check_elements(kind.element, tag, content)
    elif isinstance(kind, StructType | MapType):
        _require(tag == "M", tag, kind)
        _check_members(kind, content)
    else:
        _require(tag == "N", tag, kind)
        _check_number(kind, content)


def _require(fits: bool, tag: str, kind: HiveType) -> None:
    if not fits:
        raise UndecodableValueError(f"a value of type {tag} does not fit a column of type {kind}")


def _check_inside(kind: HiveType | None, value: Any) -> None:
    is_text = isinstance(kind, PrimitiveType) and kind.name == "string"
    if kind is None or is_text or not isinstance(value, Mapping) or len(value) != 1:
        return
    [(tag, content)] = value.items()
    if tag in CONTAINERS and not isinstance(content, CONTAINERS[tag]):
        return
    check_fits(kind, tag, content)


def _check_elements(kind: HiveType, tag: str, content: Any) -> None:
    inside = SET_ELEMENTS.get(tag)
    try:
        for element in content:
            _check_inside(kind, element if inside is None else {inside: element})
    except UndecodableValueError as error:
        raise error.within("[]") from None


def _check_members(kind: StructType | MapType, content: Mapping[str, Any]) -> None:
    fields = dict(kind.fields) if isinstance(kind, StructType) else {}
    for name, column in column_names(content).items():
        try:
            inner = kind.value if isinstance(kind, MapType) else fields.get(column)
            _check_inside(inner, content[name])
        except UndecodableValueError as error:
            raise error.within(name) from None


def _check_number(kind: HiveType, text: Any) -> None:
    if not isinstance(text, str):
        raise UndecodableValueError("N holds something else than the text of a number")
    found = number_range(text)
    if isinstance(kind, DecimalType):
        exact = found.whole_digits <= kind.precision - kind.scale and found.scale <= kind.scale
    elif isinstance(kind, PrimitiveType) and kind.name in INTEGER_BITS:
        limit = 2 ** (INTEGER_BITS[kind.name] - 1)
        exact = found.bigint and -limit <= int(Decimal(text)) < limit
    elif isinstance(kind, PrimitiveType) and kind.name in ("double", "float"):
        exact = found.double
    else:
        raise UndecodableValueError(f"no number can be read as {kind}")
    if not exact:
        raise UndecodableValueError(f"a column of type {kind} does not hold the number exactly")
