"""Random columns, and random items of which most fit the columns."""

import json
import random
from base64 import b64encode
from collections.abc import Callable
from typing import Any

from ddb_pipeline.hive.types import (
    ArrayType,
    Column,
    DecimalType,
    HiveType,
    MapType,
    StructType,
    parse_type,
)

SCALARS = (
    *("string", "bigint", "double", "boolean", "int", "smallint", "tinyint", "float", "binary"),
    *("decimal(38,6)", "decimal(20,0)", "decimal(9,2)", "varchar(5)", "date", "timestamp"),
)
COMMON = ("string", "string", "bigint", "bigint", "double", "boolean")
NAMES = ("id", "S", "M", "L", "NULL", "user", "tags", "n_1", "größe", "Ünder", "x y", "N", "key")
ATTRIBUTES = tuple(f"attr{number}" for number in range(30))
TEXTS = (
    *(
        "",
        "a",
        "Zürich 東京 🗼",
        'quo"te \\ back\nslash',
        '{"S":"x"}',
        "2026-11-24",
        "12",
        "\u2028",
    ),
    *("2026-11-24T10:00:00.5Z", "a\x00b", "}\n{", "true", "x" * 300),
)
NUMBERS = (
    *("0", "-0", "1", "-1", "127", "128", "-32769", "2147483648", "9007199254740993", "1E+2"),
    *("9223372036854775807", "9223372036854775808", "-9223372036854775808", "1.5", "0.1", "12.50"),
    *("0.1234567890123456", "0.12345678901234567", "123456789012345678.5", "1e-7", "+5", ".5"),
    *("12345678901234567890123456789012345678", "1E-130", "9.9E+125", "007", "100.0", "0x10", ""),
    *(" 1", "1_000", "NaN", "Infinity", "-", "1.2.3", "١٢"),
)


def random_columns(rng: random.Random) -> list[Column]:
    names = rng.sample(ATTRIBUTES, rng.randint(1, 8))
    return [Column(name, random_type(rng, 3)) for name in names]


def random_type(rng: random.Random, depth: int) -> str:
    choice = rng.random()
    if depth == 0 or choice < 0.5:
        return rng.choice(COMMON if rng.random() < 0.7 else SCALARS)
    if choice < 0.75:
        return f"array<{random_type(rng, depth - 1)}>"
    if choice < 0.85:
        return f"map<string,{random_type(rng, depth - 1)}>"
    fields = (f"f{i}:{random_type(rng, depth - 1)}" for i in range(rng.randint(1, 3)))
    return f"struct<{','.join(fields)}>"


def random_item(rng: random.Random, columns: list[Column], misfits: float) -> dict[str, Any]:
    """An item in DynamoDB's typed form; ``misfits`` is the chance that a value fits no column."""
    item: dict[str, Any] = {}
    for column in columns:
        if rng.random() < 0.85:
            name = column.name.upper() if rng.random() < misfits / 4 else column.name
            item[name] = _fitting(rng, parse_type(column.type), misfits)
    if rng.random() < misfits:
        item[rng.choice(NAMES)] = random_value(rng, 2)
    return item


def random_line(rng: random.Random, columns: list[Column], misfits: float) -> bytes:
    """An item as a line of an export; rarely, a line that is not an item."""
    if rng.random() < misfits / 20:
        return rng.choice(
            (
                b"not json",
                b'{"Item":{"a":{"S":"x"}',
                b'{"Keys":{}}',
                b"[1]",
                b'{"Item":null}',
                b'{"Item":{"attr1":{"S":"\xff"}}}',
                b'{"Item":{"attr1":{"S":"\\ud800"}}}',
                b'{"Item":{"attr1":{"S":"a"},"attr1":{"S":"b"}}}',
                b'{"Item":{"attr1":{"S":5}}}',
                b'{"Item":{"attr1":{"S":null}}}',
                b'{"Item":{"attr1":{}}}',
                b'{"Item":{"attr1":{"S":"a","N":"1"}}}',
                b'{"Item":{"attr1":{"L":[null]}}}',
                b'{"Item":{"attr1":{"NULL":"x"}}}',
                b'{"Item":{}}{"Item":{}}',
                b'{"Item":{"attr1":{"X":"x"}}}',
            )
        )
    document = {"Item": random_item(rng, columns, misfits)}
    spaced = rng.random() < 0.05
    text = json.dumps(
        document,
        separators=None if spaced else (",", ":"),
        ensure_ascii=rng.random() < 0.1,
    )
    return text.encode("utf-8")


def _fitting(rng: random.Random, kind: HiveType, misfits: float) -> dict[str, Any]:
    if rng.random() < misfits:
        return random_value(rng, 2)
    if rng.random() < 0.05:
        return {"NULL": True}
    if isinstance(kind, ArrayType):
        return _fitting_list(rng, kind, misfits)
    if isinstance(kind, StructType):
        fields = [f for f in kind.fields if rng.random() < 0.9]
        return {"M": {f.name: _fitting(rng, f.type, misfits) for f in fields}}
    if isinstance(kind, MapType):
        keys = {f"key {rng.randrange(10**6 if rng.random() < 0.3 else 5)}" for _ in range(3)}
        return {"M": {key: _fitting(rng, kind.value, misfits) for key in keys}}
    if isinstance(kind, DecimalType):
        whole = rng.randrange(10 ** min(6, kind.precision - kind.scale))
        return {"N": f"{whole}.25" if kind.scale > 1 else str(whole)}
    return _scalar(rng, str(kind))


def _scalar(rng: random.Random, name: str) -> dict[str, Any]:
    if name in ("bigint", "int", "smallint", "tinyint"):
        return {"N": str(rng.randrange(-100, 100) * (10**12 if name == "bigint" else 1))}
    if name in ("double", "float"):
        if name == "double" and rng.random() < 0.5:
            return {"N": repr(rng.random())}
        return {"N": str(rng.randrange(-1000, 1000) / 8)}
    if name == "boolean":
        return {"BOOL": rng.random() < 0.5}
    if name == "binary":
        return {"B": b64encode(rng.randbytes(rng.randrange(6))).decode()}
    if name == "date":
        return {"S": "2026-11-24"}
    if name == "timestamp":
        return {"S": rng.choice(("2026-11-24T10:00:00Z", "2026-11-24 10:00:00.123"))}
    if name.startswith("varchar"):
        return {"S": rng.choice(("", "abc", "🗼🗼🗼🗼🗼"))}
    return {"S": rng.choice(TEXTS)} if rng.random() < 0.9 else {"N": "12.50"}


def _fitting_list(rng: random.Random, kind: ArrayType, misfits: float) -> dict[str, Any]:
    count = rng.randrange(4)
    name = str(kind.element)
    if name == "string" and rng.random() < 0.8:
        return {"SS": [rng.choice(TEXTS) for _ in range(count)]}
    if name in ("bigint", "double", "int") and rng.random() < 0.8:
        return {"NS": [_scalar(rng, name)["N"] for _ in range(count)]}
    return {"L": [_fitting(rng, kind.element, misfits) for _ in range(count)]}


def random_value(rng: random.Random, depth: int) -> dict[str, Any]:
    """Any value in DynamoDB's typed form; some numbers are not valid in DynamoDB."""
    tag = rng.choice(("S", "N", "B", "BOOL", "NULL", "SS", "NS", "BS", "L", "M"))
    if tag in ("L", "M") and depth == 0:
        tag = "S"
    contents: dict[str, Callable[[], Any]] = {
        "S": lambda: rng.choice(TEXTS),
        "N": lambda: rng.choice(NUMBERS),
        "B": lambda: rng.choice(("", "AAE=", "not base64!")),
        "BOOL": lambda: rng.random() < 0.5,
        "NULL": lambda: True,
        "SS": lambda: rng.sample(TEXTS, rng.randrange(3)),
        "NS": lambda: rng.sample(NUMBERS, rng.randrange(3)),
        "BS": lambda: ["AAE="],
        "L": lambda: [random_value(rng, depth - 1) for _ in range(rng.randrange(3))],
        "M": lambda: {n: random_value(rng, depth - 1) for n in rng.sample(NAMES, rng.randrange(3))},
    }
    return {tag: contents[tag]()}
