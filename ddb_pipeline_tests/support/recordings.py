"""Recorded output of real programs, and rows in the form of the recordings."""

import json
import math
from collections.abc import Callable, Mapping, Sequence
from datetime import date, datetime
from decimal import Decimal
from pathlib import Path
from typing import Any

from ddb_pipeline.conversion.serde import ConversionError
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


def outcome(
    deserialize: Callable[[bytes], Mapping[str, Any]],
    columns: Sequence[tuple[str, str]],
    text: str,
) -> dict[str, Any]:
    """The row or the error of a document, in the form of serde.jsonl."""
    try:
        row = deserialize(text.encode("utf-8", "surrogatepass"))
    except ConversionError as error:
        return {"ok": False, "message": error.message}
    return {"ok": True, "row": {name: recorded(row[name], parse_type(t)) for name, t in columns}}


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
