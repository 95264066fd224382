"""Where two types of a column differ."""

from collections.abc import Iterable, Iterator
from dataclasses import dataclass

from ddb_pipeline.hive.dialects import read_type
from ddb_pipeline.hive.types import (
    ArrayType,
    Column,
    HiveType,
    HiveTypeError,
    MapType,
    SetType,
    StructType,
)


@dataclass(frozen=True, slots=True)
class TypeChange:
    """A difference: the path of a column or field, and its types; empty where it does not exist."""

    path: str
    before: str
    after: str


def type_changes(path: str, before: str, after: str) -> Iterator[TypeChange]:
    """The innermost differences of two types; a text that is no type is one as a whole.

    Args:
        path: the column's name. Fields follow a dot, ``[]`` names elements, ``{}`` values of a map.
        before, after: the types' texts; empty where there is no column.
    """
    if before == after:
        return
    try:
        yield from _changes(path, read_type(before), read_type(after))
    except HiveTypeError:
        yield TypeChange(path, before, after)


def column_changes(
    before: Iterable[Column | tuple[str, str]], after: Iterable[Column | tuple[str, str]]
) -> Iterator[TypeChange]:
    """The differences of two tables' columns, those of the table before first."""
    old, new = dict(before), dict(after)
    for name in {**old, **new}:
        yield from type_changes(name, old.get(name, ""), new.get(name, ""))


def _changes(path: str, before: HiveType, after: HiveType) -> Iterator[TypeChange]:
    match before, after:
        case StructType(), StructType():
            old, new = dict(before.fields), dict(after.fields)
            for name in {**old, **new}:
                inner = f"{path}.{name}"
                if name not in old:
                    yield TypeChange(inner, "", str(new[name]))
                elif name not in new:
                    yield TypeChange(inner, str(old[name]), "")
                else:
                    yield from _changes(inner, old[name], new[name])
        case (ArrayType(element), ArrayType(other)) | (SetType(element), SetType(other)):
            yield from _changes(f"{path}[]", element, other)
        case (MapType(), MapType()) if before.key == after.key:
            yield from _changes(f"{path}{{}}", before.value, after.value)
        case _ if before != after:
            yield TypeChange(path, str(before), str(after))
