"""Mutations of valid inputs: of their bytes, and of the values in a JSON document."""

import random
from collections.abc import Sequence
from copy import deepcopy
from typing import Any

TOKENS: Sequence[bytes] = (
    *(b"null", b"true", b"false", b"NaN", b"Infinity", b"-", b"--5", b"0", b"-0", b"1E+2"),
    *(b"1e999999999", b"9" * 400, b"1" * 5000, b"9223372036854775808", b"0x10", b"1_000"),
    *(b"\x00", b"\xff", b"\xc3", b"\xed\xa0\x80", b"\xef\xbb\xbf", b"\xe2\x80\xa8", b"\r", b"\n"),
    *(b"{", b"}", b"[", b"]", b"(", b")", b"<", b">", b'"', b"'", b",", b":", b"::", b"\\", b" "),
    *(b'{"S":"x"}', b'{"N":"1"}', b'{"L":[', b'{"M":{"a":', b'"Item":', b"\\ud800", b"\\u0000"),
    *(b"array<", b"struct<a:", b"map<string,", b"decimal(", b"uniontype<", b"!{timestamp:", b"%"),
    *(b"hash(", b"date(", b" AND ", b" LIKE ", b" IN (", b"$ion_1_0", b"'''", b"{{", b"}}", b"/*"),
    *(b"2024-05-01T10:00:00.123456789Z", b"0001-01-01T00:00:00+14:00", b"\xe0\x01\x00\xea"),
)
"""Pieces that parsers treat in a particular way."""

VALUES: Sequence[Any] = (
    *(None, True, False, 0, -1, 0.5, 1e308, float("inf"), float("nan"), 2**63, 10**400, "", "x"),
    *("\ud800", "\x00", "é", "1e999999999", "9" * 5000, "NaN", "Infinity", "--5", "2024-05-01"),
    *([], {}, [[]], [None], {"": None}, {"S": 1}, {"N": "x"}, {"N": "1"}, {"S": "a", "N": "1"}),
    *({"L": [{"S": "a"}, None]}, {"M": {"A": {"S": "a"}, "a": {"S": "b"}}}, {"NS": ["1", "1"]}),
    *({"S": "0001-01-01T00:00:00+14:00"}, {"S": "9999-12-31T23:59:59.9-23:59"}, {"N": "1E+400"}),
    *({"B": "?"}, {"BOOL": "true"}, {"NULL": False}, {"M": []}, {"L": {}}, {"SS": [1]}, "x" * 9999),
)


def mutated_bytes(rng: random.Random, data: bytes) -> bytes:
    """The data after one to four random changes; rarely very deep or long."""
    for _ in range(rng.choice((1, 1, 1, 2, 4))):
        at = rng.randrange(len(data) + 1)
        end = min(len(data), at + rng.choice((1, 1, 2, 8, 64)))
        change = rng.randrange(7)
        if change == 0:
            data = data[:at] + data[end:]
        elif change == 1:
            data = data[:at] + bytes([rng.randrange(256)]) + data[at + 1 :]
        elif change == 2:
            data = data[:at] + rng.choice(TOKENS) + data[at:]
        elif change == 3:
            data = data[:at] + rng.choice(TOKENS) + data[end:]
        elif change == 4:
            data = data[:end] + data[at:]
        elif change == 5:
            data = data[:at]
        elif rng.random() < 0.05:
            token = rng.choice(TOKENS)
            data = data[:at] + token * rng.choice((10, 100, 3000)) + data[at:]
    return data


def mutated_document(rng: random.Random, document: Any) -> Any:
    """A copy of a JSON document in which one to three values were replaced, or nested deep."""
    document = deepcopy(document)
    for _ in range(rng.choice((1, 1, 2, 3))):
        holders = list(_holders(document))
        if not holders:
            return deepcopy(rng.choice(VALUES))
        holder, key = rng.choice(holders)
        change = rng.randrange(5)
        if change == 0:
            del holder[key]
        elif change == 1:
            other, name = rng.choice(holders)
            holder[key] = deepcopy(other[name])
        elif change == 2 and rng.random() < 0.1:
            holder[key] = _nested(rng, rng.choice((31, 33, 70, 130)))
        elif isinstance(holder, dict) and change == 3:
            holder[str(rng.choice(VALUES))] = holder.pop(key)
        else:
            holder[key] = deepcopy(rng.choice(VALUES))
    return document


def _holders(document: Any) -> "list[tuple[Any, Any]]":
    """Each place of a value in a document: the object or array that has it, and the key."""
    found: list[tuple[Any, Any]] = []
    pending = [document]
    while pending:
        value = pending.pop()
        if isinstance(value, dict):
            found += [(value, key) for key in value]
            pending += value.values()
        elif isinstance(value, list):
            found += [(value, position) for position in range(len(value))]
            pending += value
    return found


def _nested(rng: random.Random, levels: int) -> Any:
    value: Any = {"S": "deep"}
    for _ in range(levels):
        value = rng.choice(({"L": [value]}, {"M": {"a": value}}, [value]))
    return value
