"""Rows of incremental exports: the fast path equals the exact path, line by line."""

import json
import random
from collections import Counter
from datetime import datetime, timedelta
from typing import Any

import pyarrow as pa
import pytest

from ddb_pipeline.dynamodb.stream import StreamRecord, change_document
from ddb_pipeline.export.rows.change_lines import _cut, change_of_line
from ddb_pipeline.export.rows.changes import (
    CHANGE_COLUMNS,
    ChangeInference,
    ChangeReader,
    KeyedItemReader,
)
from ddb_pipeline.export.rows.exact import ExactRows
from ddb_pipeline.export.rows.inference import ExportInference
from ddb_pipeline.export.rows.key_texts import KeyTexts, key_text
from ddb_pipeline.hive.types import Column
from ddb_pipeline.hive.undecodable import UndecodableValueError
from ddb_pipeline_tests.support.random_items import random_columns, random_item
from ddb_pipeline_tests.support.scale import scaled

EPOCH = datetime(1970, 1, 1)
KEY_TEXTS = (
    "a",
    "",
    "Zürich 東京 🗼",
    'quo"te \\ back\nslash',
    '},"NewImage":{"x":{"S":"y"}}',
    "\x00",
)
KEY_NAMES = ("pk", "Sort-Key", "größe", 'q"', "NewImage", "M")
KEY_COLUMNS = [Column("pk", "string"), Column("sk", "string")]


def random_key(rng: random.Random) -> dict[str, Any]:
    values = (
        lambda: {"S": rng.choice(KEY_TEXTS)},
        lambda: {"N": rng.choice(("1", "-0.5", "1E+2", "12345678901234567890123456789012345678"))},
        lambda: {"B": rng.choice(("AAE=", "", "////"))},
    )
    names = ("pk", "sk") if rng.random() < 0.8 else rng.sample(KEY_NAMES, rng.randint(1, 2))
    return {name: rng.choice(values)() for name in names[: rng.randint(1, 2)]}


def random_change(rng: random.Random, columns: list[Column], misfits: float) -> bytes:
    """A line as DynamoDB writes it; sometimes in another form, or no change at all."""
    if rng.random() < misfits / 10:
        return rng.choice(BROKEN)
    keys = random_key(rng)
    document: dict[str, Any] = {
        "Metadata": {"WriteTimestampMicros": {"N": str(rng.randrange(10**16))}},
        "Keys": keys,
    }
    images: dict[str, Any] = {
        name: {**keys, **random_item(rng, columns, misfits)}
        for name in ("OldImage", "NewImage")
        if rng.random() < 0.7
    }
    if rng.random() < 0.1 and images:
        hostile = rng.choice(({"NewImage": {"S": "x"}}, {"OldImage": {"N": "1"}}))
        images[rng.choice(list(images))]["m"] = {"M": {"z": {"NULL": True}, **hostile}}
    if rng.random() < 0.05:
        images.setdefault("NewImage", None)
    names = rng.sample(list(images), len(images)) if rng.random() < 0.2 else list(images)
    document |= {name: images[name] for name in names}
    if rng.random() < 0.05:
        document = dict(rng.sample(list(document.items()), len(document)))
    compact = rng.random() < 0.95
    separators = (",", ":") if compact else None
    return json.dumps(document, separators=separators, ensure_ascii=rng.random() < 0.1).encode()


TIME = b'"Metadata":{"WriteTimestampMicros":{"N":"5"}}'
KEYS = b'"Keys":{"pk":{"S":"a"}}'
BROKEN = (
    b"not json",
    b"[]",
    b'{"Item":{"pk":{"S":"a"}}}',
    b"{%s}" % TIME,
    b"{%s}" % KEYS,
    b'{%s,"Keys":{}}' % TIME,
    b'{%s,"Keys":{"pk":{"BOOL":true}}}' % TIME,
    b'{%s,%s,"NewImage":[]}' % (TIME, KEYS),
    b'{%s,%s,"NewImage":{"pk":{"S":"a"}}' % (TIME, KEYS),
    b'{%s,%s,"NewImage":{"pk":{"S":"a"}}}}' % (TIME, KEYS),
    b"{%s,%s}x" % (TIME, KEYS),
    b'{"Metadata":{"WriteTimestampMicros":{"N":"-5"}},%s}' % KEYS,
    b'{"Metadata":{"WriteTimestampMicros":{"N":"99999999999999999999"}},%s}' % KEYS,
    b'{%s,%s,"NewImage":{"pk":{"S":"a"}},"NewImage":{"pk":{"S":"a"}}}' % (TIME, KEYS),
    b'{%s,"Keys":{"pk":{"S":"\\ud800"}}}' % TIME,
    b'{%s,"Keys":{"pk":{"S":"\xff"}}}' % TIME,
)


def expected(
    columns: list[Column], lines: list[bytes]
) -> tuple[Counter[str], Counter[bytes], list[bytes]]:
    exact = ExactRows(columns)
    rows: list[str] = []
    rejected, items = [], []
    schema = ChangeReader(columns).schema
    for line in lines:
        try:
            change = change_of_line(line)
            keys = json.loads(change.keys)
            item = b'{"Item":%s}' % (change.keys if change.image is None else change.image)
            items.append(item)
            text = key_text(keys)
            row = exact.line(item)
        except UndecodableValueError:
            rejected.append(line)
            continue
        row |= {
            "ddb_keys": text,
            "ddb_event_name": "REMOVE" if change.image is None else "UPSERT",
            "ddb_write_time": EPOCH + timedelta(microseconds=change.micros),
        }
        rows += map(repr, pa.Table.from_pylist([row], schema).to_pylist())
    return Counter(rows), Counter(rejected), items


def test_random_changes_equal_the_exact_path() -> None:
    rng = random.Random(3)
    for _ in range(scaled(20)):
        columns = [c for c in random_columns(rng) if "map<" not in c.type] + KEY_COLUMNS
        misfits = rng.choice((0.0, 0.001, 0.02, 0.2))
        reader, inference, observed = ChangeReader(columns), ChangeInference(), ExportInference()
        for size in (1, 40, 400):
            lines = [random_change(rng, columns, misfits) for _ in range(size)]
            block = b"\n".join(lines) + b"\n"
            rows = reader.rows(block)
            rows.table.validate(full=True)
            found, rejected, items = expected(columns, lines)
            assert Counter(map(repr, rows.table.to_pylist())) == found
            assert Counter(line.line for line in rows.rejected) == rejected
            assert sorted([*rows.numbers, *rows.rejected_numbers]) == list(range(size))
            assert [lines[n] for n in rows.rejected_numbers] == [r.line for r in rows.rejected]
            inference.add(block)
            observed.add(b"\n".join(items))
        assert inference.inference == observed.inference


def test_lines_of_dynamodb_are_cut_without_being_parsed() -> None:
    image = '{"pk":{"S":"a"},"t":{"S":"x\\"},\\"NewImage\\":{"},"m":{"M":{"k":{"L":[{"N":"1"}]}}}}'
    head = '{"Metadata":{"WriteTimestampMicros":{"N":"1680109764000000"}},"Keys":{"pk":{"S":"a"}}'
    for tail, expected_image in (
        ("}", None),
        (f',"OldImage":{image}}}', None),
        (f',"NewImage":{image}}}', image),
        (f',"OldImage":{image},"NewImage":{image}}}', image),
        (f',"NewImage":{image},"OldImage":{image}}}', image),
    ):
        line = (head + tail).encode()
        cut = _cut(line)
        assert cut is not None
        assert cut.image == (expected_image.encode() if expected_image else None)
        exact = change_of_line(line)
        assert (cut.keys, cut.micros) == (exact.keys, exact.micros)
        assert cut.image is None or json.loads(cut.image) == json.loads(exact.image or b"")


@pytest.mark.parametrize("seed", range(20))
def test_keys_have_the_text_that_change_documents_have(seed: int) -> None:
    rng = random.Random(seed)
    keys = [random_key(rng) for _ in range(30)]
    texts, errors = KeyTexts().texts([json.dumps(key).encode() for key in keys])
    assert not errors
    for key, text in zip(keys, texts.to_pylist(), strict=True):
        record = StreamRecord("e", "REMOVE", "1", 0, "", False, key, None, None)
        document = json.loads(change_document(record) or b"")
        assert text == document["ddb_keys"]


def test_items_of_full_exports_as_changes() -> None:
    rng = random.Random(8)
    columns = [c for c in random_columns(rng) if "map<" not in c.type] + KEY_COLUMNS
    items = []
    for number in range(300):
        item = {**random_item(rng, columns, 0.02), "pk": {"S": f"k{number}"}, "sk": {"N": "1.50"}}
        if number % 7 == 0:
            item["m"] = {"M": {"pk": {"S": "other"}}}
        items.append(item)
    lines = [
        json.dumps({"Item": i}, separators=(",", ":") if n % 9 else None).encode()
        for n, i in enumerate(items)
    ]
    lines += [b"broken", b'{"Item":{"pk":{"S":"alone"}}}']
    rows = KeyedItemReader(columns, ("pk", "sk"), 7).rows(b"\n".join(lines))
    assert rows.table.schema.names[-3:] == [column.name for column in CHANGE_COLUMNS]
    assert len(rows.table) + len(rows.rejected) == len(lines)
    for number, row in zip(rows.numbers, rows.table.to_pylist(), strict=True):
        assert row["ddb_event_name"] == "UPSERT"
        assert row["ddb_write_time"] == EPOCH + timedelta(microseconds=7)
        if number < len(items):
            assert row["ddb_keys"] == key_text({n: items[number][n] for n in ("pk", "sk")})
