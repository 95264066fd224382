"""Recorded output of real programs, and rows in the form of the recordings."""

import json
import math
from collections.abc import Callable, Mapping
from datetime import date, datetime
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest

from ddb_pipeline.conversion.serde import ConversionError
from ddb_pipeline.conversion.serde.base import JsonSerDe
from ddb_pipeline.hive.types import (
    ArrayType,
    HiveType,
    MapType,
    StructType,
    UnionType,
    parse_type,
)

VECTORS = Path(__file__).parent.parent / "vectors"


def lines(name: str) -> list[dict[str, Any]]:
    """The recorded cases of a file with one JSON document a line."""
    with open(VECTORS / name, encoding="utf-8") as file:
        return [json.loads(line) for line in file]


def document(name: str) -> dict[str, Any]:
    """The recording of a file with one JSON document."""
    loaded: dict[str, Any] = json.loads((VECTORS / name).read_text(encoding="utf-8"))
    return loaded


def outcome(case: Mapping[str, Any], serde_of: Callable[[Any], JsonSerDe]) -> dict[str, Any]:
    """The row or the error of a case of serde.jsonl, in the form of that file."""
    try:
        row = serde_of(case).deserialize(case["json"].encode("utf-8", "surrogatepass"))
    except ConversionError as error:
        return {"ok": False, "message": error.message}
    types = {name: parse_type(text) for name, text in case["columns"]}
    return {"ok": True, "row": {name: recorded(row[name], types[name]) for name in types}}


def same_outcome(found: Mapping[str, Any], expected: Mapping[str, Any]) -> bool:
    """Whether both are the same row, or both are errors."""
    return found["ok"] == expected["ok"] and found.get("row") == expected.get("row")


def assert_probed(serde: JsonSerDe, case: Mapping[str, Any]) -> None:
    """Check the row or the error of a case of firehose_probed.json."""
    text = case["in"] if isinstance(case["in"], str) else json.dumps(case["in"])
    if "error" in case:
        with pytest.raises(ConversionError) as caught:
            serde.deserialize(text.encode())
        code, message = case["error"]
        assert caught.value.code == code
        if case.get("message_is_prefix"):
            assert caught.value.message.startswith(message)
        elif message is not None:
            assert caught.value.message == message
        return
    row = serde.deserialize(text.encode())
    if isinstance(row.get("ts"), datetime):
        row["ts"] = str(row["ts"])
    expected = case.get("row") or case["row_has"]
    assert {column: row[column] for column in expected} == expected


def recorded(value: Any, hive_type: HiveType) -> Any:
    """A column value in the form of the recordings: maps are sorted pairs, times are text."""
    if value is None:
        return None
    if isinstance(hive_type, ArrayType):
        return [recorded(item, hive_type.element) for item in value]
    if isinstance(hive_type, StructType):
        return {field.name: recorded(value[field.name], field.type) for field in hive_type.fields}
    if isinstance(hive_type, UnionType):
        member = hive_type.members[value["tag"]]
        return {"tag": value["tag"], "value": recorded(value["value"], member)}
    if isinstance(hive_type, MapType):
        pairs = [
            [recorded(key, hive_type.key), recorded(item, hive_type.value)]
            for key, item in value.items()
        ]
        return sorted(pairs, key=lambda pair: pair[0])
    return _scalar(value)


def _scalar(value: Any) -> Any:
    if isinstance(value, float) and not math.isfinite(value):
        return "NaN" if math.isnan(value) else ("Infinity" if value > 0 else "-Infinity")
    if isinstance(value, Decimal):
        text = format(value, "f")
        text = text.rstrip("0").rstrip(".") if "." in text else text
        return "0" if text == "-0" else text
    if isinstance(value, datetime):
        fraction = f"{value.microsecond:06d}".rstrip("0") or "0"
        return f"{value.isoformat(' ')[:19]}.{fraction}"
    if isinstance(value, date):
        return value.isoformat()
    return value
