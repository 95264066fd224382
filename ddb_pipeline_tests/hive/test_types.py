"""Type strings read and printed as Hive 2.3.10 did on a JVM, errors included."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from ddb_pipeline.hive.types import (
    ArrayType,
    CharType,
    DecimalType,
    HiveType,
    HiveTypeError,
    MapType,
    StructType,
    UnionType,
    VarcharType,
    fold,
    parse_type,
    parse_types,
)

VECTORS = Path(__file__).parent.parent / "vectors"
TYPE_STRINGS = [
    json.loads(line) for line in (VECTORS / "typeinfo.jsonl").read_text("ascii").splitlines()
]
KINDS = {"bigint": "long", "smallint": "short", "tinyint": "byte"}


def tree(hive_type: HiveType) -> Any:
    """A type as the vectors write it."""

    def combine(kind: HiveType, inside: tuple[Any, ...]) -> Any:
        match kind:
            case ArrayType():
                return {"kind": "array", "element": inside[0]}
            case MapType():
                return {"kind": "map", "key": inside[0], "value": inside[1]}
            case StructType():
                names = [field.name for field in kind.fields]
                return {
                    "kind": "struct",
                    "fields": [list(f) for f in zip(names, inside, strict=True)],
                }
            case UnionType():
                return {"kind": "uniontype", "members": list(inside)}
            case DecimalType():
                return {"kind": "decimal", "precision": kind.precision, "scale": kind.scale}
            case CharType():
                return {"kind": "char", "length": kind.length}
            case VarcharType():
                return {"kind": "varchar", "length": kind.length}
            case _:
                return {"kind": KINDS.get(str(kind), str(kind))}

    return fold(hive_type, combine)


def answer(read: Callable[[str], Any], text: str) -> Any:
    """What reading gives, or the error's text."""
    try:
        return read(text)
    except HiveTypeError as error:
        return str(error)


@pytest.mark.parametrize("case", TYPE_STRINGS, ids=lambda case: case["id"])
def test_reads_a_type_as_hive_does(case: dict[str, Any]) -> None:
    expected = case["hive_2_3_10"]["one"]
    found = answer(parse_type, case["input"])
    if not expected["ok"]:
        assert found == expected["message"]
        return
    assert str(found) == expected["type_name"]
    if "tree" in expected:
        assert tree(found) == expected["tree"]


@pytest.mark.parametrize("case", TYPE_STRINGS, ids=lambda case: case["id"])
def test_reads_a_list_of_types_as_hive_does(case: dict[str, Any]) -> None:
    expected = case["hive_2_3_10"]["list"]
    found = answer(parse_types, case["input"])
    if not expected["ok"]:
        assert found == expected["message"]
        return
    assert [str(kind) for kind in found] == expected["type_names"]
