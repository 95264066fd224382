"""The parsers that are fuzzed: their inputs, and what may come of an input."""

import functools
import json
import random
import tempfile
from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import dataclass
from datetime import datetime, timezone
from pathlib import Path
from typing import Any

import pyarrow as pa

from ddb_pipeline.config.settings import ConfigError, load_settings
from ddb_pipeline.conversion.convert import convert
from ddb_pipeline.dynamodb.decided_items import DecidedItems
from ddb_pipeline.dynamodb.values import item_json
from ddb_pipeline.embedded.services.firehose.prefix import (
    PrefixError,
    evaluate_prefix,
    validate_prefixes,
)
from ddb_pipeline.embedded.services.glue.partition_expression import (
    ExpressionError,
    parse_expression,
)
from ddb_pipeline.export.ion import ion_as_json
from ddb_pipeline.export.layout import md5_text
from ddb_pipeline.export.lines import Lines
from ddb_pipeline.export.manifest import ExportError, read_export
from ddb_pipeline.export.rows.changes import ChangeInference, ChangeReader
from ddb_pipeline.export.rows.inference import ExportInference
from ddb_pipeline.export.rows.reader import ExportReader
from ddb_pipeline.firehose.error_objects import FailedRecord, read_error_object
from ddb_pipeline.hive.decided_columns import decided_columns
from ddb_pipeline.hive.dialects import read_type
from ddb_pipeline.hive.infer import inferred_schema
from ddb_pipeline.hive.normalize import normalize_columns
from ddb_pipeline.hive.type_decisions import (
    Decision,
    TypeDecisionError,
    TypeDecisions,
    read_decisions,
)
from ddb_pipeline.hive.types import HiveTypeError, parse_crawled_type, parse_type
from ddb_pipeline.hive.undecodable import UndecodableValueError
from ddb_pipeline.parquet.partition_by import (
    PartitionError,
    parse_partition_by,
    partitions,
    unnameable,
)
from ddb_pipeline_tests.soak.mutation import mutated_bytes, mutated_document
from ddb_pipeline_tests.support.export_bucket import FOLDER, Objects, numbered_items, written
from ddb_pipeline_tests.support.random_items import random_columns, random_line, random_type
from ddb_pipeline_tests.support.stream_events import Function, stream_record

Input = Callable[[random.Random], Any]

COLUMNS = (
    *(("id", "string"), ("n", "bigint"), ("x", "double"), ("total", "decimal(12,2)")),
    *(
        ("tags", "array<string>"),
        ("m", "map<string,bigint>"),
        ("ok", "boolean"),
        ("at", "timestamp"),
    ),
    *(("day", "date"), ("raw", "binary"), ("code", "varchar(5)"), ("f", "float")),
    ("inner", "struct<a:string,l:array<struct<b:int>>>"),
)
ITEM = {
    "id": {"S": "k1"},
    "n": {"N": "42"},
    "x": {"N": "0.25"},
    "total": {"N": "12.50"},
    "tags": {"SS": ["a", "b"]},
    "m": {"M": {"2024-01-01": {"N": "1"}, "User-1": {"N": "2"}}},
    "ok": {"BOOL": True},
    "at": {"S": "2024-05-01T10:00:00.5Z"},
    "day": {"S": "2024-05-01"},
    "raw": {"B": "AAE="},
    "code": {"S": "abc"},
    "f": {"N": "0.5"},
    "inner": {"M": {"a": {"NULL": True}, "l": {"L": [{"M": {"b": {"N": "1"}}}]}}},
}
CHANGE = {
    "Metadata": {"WriteTimestampMicros": {"N": "1700000000000000"}},
    "Keys": {"id": ITEM["id"], "n": ITEM["n"]},
    "OldImage": ITEM,
    "NewImage": ITEM,
}
ION_LINE = (
    b'$ion_1_0 {Item:{id:"k\\u00e9\\n1",n:42.,x:2.5d-1,total:12.50,tags:$dynamodb_SS::["a","b"],'
    b"m:{'2024-01-01':1.,'User-1':2d0},ok:true,at:\"2024-05-01T10:00:00.5Z\",raw:{{AAE=}},"
    b"none:null,inner:{a:null,l:[{b:1.},[],$dynamodb_NS::[1.,2.]]}}}"
)
DECISIONS = read_decisions(
    {
        "id": "text",
        "n": "refuse",
        "x": "wider",
        "tags[]": "text",
        "m{}": "wider",
        "ok": "refuse",
        "f": "split",
        "inner.a": "text",
        "inner.l.b": "split",
    }
)
DECIDED_COLUMNS = (
    *(column for column in COLUMNS if column[0] not in ("f", "inner")),
    *(("f__n", "double"), ("f__s", "string")),
    ("inner", "struct<a:string,l:array<struct<b__n:bigint,b__s:string>>>"),
)
FIREHOSE_COLUMNS = [(name, kind) for name, kind in COLUMNS if name not in ("raw", "total")]
DOCUMENT = {
    "id": "k1",
    "n": 42,
    "x": 0.25,
    "tags": ["a", None],
    "m": {"A": 1},
    "ok": True,
    "at": "2024-05-01T10:00:00Z",
    "day": "2024-05-01",
    "code": "abc",
    "f": 1.5,
    "inner": {"a": "x", "l": [{"b": 1}]},
}
GOOD_LINE = json.dumps({"Item": ITEM}).encode()
LINES_OF_BLOCK = 25
TYPES = (
    *("array<struct<a:int,b:decimal(10,2)>>", "map<string,array<map<string,varchar(10)>>>"),
    *("set<string>", "uniontype<int,string>", "struct<`a b`:set<bigint>,c-d:char(3)>", "timestamp"),
)
CONFIGURATION = b"""home = ".state"
region = "eu-central-1"
sensors = "group"
[lake]
name = "estate"
bucket = "some-bucket"
prefix = "tables"
tags = { owner = "search" }
[lake.alarms]
freshness_seconds = 900
[[pipelines]]
name = "search_logs"
dynamodb_table = "search-logs"
start = 2026-01-01T00:00:00Z
export_prefix = "exports"
crawl_schedule = "0 * * * *"
buffer_seconds = 60
current = "exports"
current_every = "2h"
shapes = { "orders[].lines" = "json" }
[pipelines.function_settings]
DROP_ATTRIBUTES = "email,meta.ip"
ATTRIBUTE_FILTER = '{"kind": ["click", "view"]}'
[pipelines.type_conflicts]
"meta.score" = "split"
"lines[]" = "text"
[pipelines.compaction]
file_mb = 64
[pipelines.retention]
schedule = "30 4 * * 1-5"
[pipelines.relevance]
[pipelines.spark]
emr_serverless = false
"""
PREFIX = "data/!{timestamp:yyyy/MM/dd}/x=!{timestamp:'hour='HH}/!{firehose:random-string}/"
ERROR_PREFIX = "errors/!{firehose:error-output-type}/!{timestamp:yyyy-MM-dd'T'HH}/"
EXPRESSION = "(year = '2024' AND month >= 5) OR day IN ('1','2') AND NOT name LIKE 'a_%'"


@dataclass(frozen=True)
class Parser:
    """A parser.

    Attributes:
        make: an input of a random number generator.
        run: parses it, and checks what comes of it.
        errors: the typed errors that an input may raise.
        inputs: how many inputs ``make`` puts together.
    """

    make: Input
    run: Callable[[Any], object]
    errors: tuple[type[Exception], ...] = ()
    inputs: int = 1

    def check(self, seed: object, number: int) -> None:
        """Make and parse one input. Raises what is no typed error."""
        with suppress(*self.errors):
            self.run(self.make(random.Random(f"{seed}:{number}")))


def _bytes_of(*seeds: bytes) -> Input:
    return lambda rng: mutated_bytes(rng, rng.choice(seeds))


def _text_of(*seeds: str) -> Input:
    """Mutated texts; bytes that are no UTF-8 become lone surrogates."""
    encoded = tuple(seed.encode() for seed in seeds)
    return lambda rng: mutated_bytes(rng, rng.choice(encoded)).decode("utf-8", "surrogateescape")


def _json(value: Any) -> bytes:
    return json.dumps(value).encode()


def _export_line(rng: random.Random) -> bytes:
    if rng.random() < 0.4:
        return _json({"Item": mutated_document(rng, ITEM)})
    if rng.random() < 0.5:
        line = random_line(rng, random_columns(rng), 0.2)
        return line if rng.random() < 0.5 else mutated_bytes(rng, line)
    return mutated_bytes(rng, _json({"Item": ITEM}))


def _export_block(rng: random.Random) -> bytes:
    """Mutated lines, some of them among good ones, so that each path reads some."""
    good = rng.choice((0.0, 0.0, 0.5, 0.95))
    lines = [GOOD_LINE if rng.random() < good else _export_line(rng) for _ in range(LINES_OF_BLOCK)]
    return rng.choice((b"\n", b"\n", b"\r\n", b"\n\n")).join(lines)


def _read_export_block(block: bytes) -> None:
    lines = sum(bool(line.strip()) for line in block.split(b"\n"))
    rows = ExportReader(COLUMNS).rows(block)
    rows.table.validate(full=True)
    assert rows.lines == lines, (rows.lines, lines)
    inference = ExportInference()
    refused = inference.add(block)
    assert inference.inference.items + refused == lines
    schema = inferred_schema(inference.inference)
    if schema.columns:
        ExportReader([(c.name, c.type.replace("set<", "array<")) for c in schema.columns]).rows(
            block
        )


def _read_decided_block(block: bytes) -> None:
    lines = sum(bool(line.strip()) for line in block.split(b"\n"))
    rows = ExportReader(DECIDED_COLUMNS, decisions=DECISIONS).rows(block)
    rows.table.validate(full=True)
    assert rows.lines == lines, (rows.lines, lines)


def _decided_item(rng: random.Random) -> tuple[Any, TypeDecisions]:
    """A mutated item, and random decisions about its attributes and what is in them."""
    paths = ("id", "n", "x", "tags", "tags[]", "m", "m{}", "f", "inner.a", "inner.l", "inner.l.b")
    chosen = {path: rng.choice(tuple(Decision)).value for path in rng.sample(paths, 3)}
    try:
        return mutated_document(rng, ITEM), read_decisions(chosen)
    except TypeDecisionError:
        return mutated_document(rng, ITEM), DECISIONS


def _decide(decided: tuple[Any, TypeDecisions]) -> None:
    """Decide about an item for its columns: the decided ones are the same if decided again."""
    item, decisions = decided
    columns, _ = decided_columns(COLUMNS, decisions)
    items = DecidedItems(decisions, columns)
    found = items.item(item)
    item_json(found)
    assert items.item(found) == found


def _changes_block(rng: random.Random) -> bytes:
    """Lines of an incremental export, most of them mutated."""
    lines = []
    for _ in range(LINES_OF_BLOCK):
        document = CHANGE if rng.random() < 0.5 else mutated_document(rng, CHANGE)
        line = json.dumps(document, separators=(",", ":")).encode()
        lines.append(line if rng.random() < 0.5 else mutated_bytes(rng, line))
    return b"\n".join(lines)


def _read_changes(block: bytes) -> None:
    lines = sum(bool(line.strip()) for line in block.split(b"\n"))
    rows = ChangeReader(COLUMNS).rows(block)
    rows.table.validate(full=True)
    assert sorted([*rows.numbers, *rows.rejected_numbers]) == list(range(lines))
    inference = ChangeInference()
    assert inference.add(block) + inference.inference.items == lines


def _read_ion(block: bytes) -> None:
    lines = sum(bool(line.strip()) for line in block.split(b"\n"))
    converted = ion_as_json(Lines(block))
    assert len(converted.block.splitlines()) + len(converted.rejected) >= lines
    ExportReader(COLUMNS).rows(converted.block)


def _run_function(record: Any) -> None:
    """Whatever a record holds, it becomes a row or a dead letter, or its number is returned."""
    function = Function()
    function([record, stream_record(2)])
    documents = [line for data in function.firehose.accepted["s"] for line in data.splitlines()]
    assert len(documents) + len(function.s3.letters()) == 2


def _error_object(rng: random.Random) -> bytes:
    line = FailedRecord(
        raw_data=_json(DOCUMENT),
        error_code="DataFormatConversion.MalformedData",
        error_message="no",
        arrival_timestamp=1_700_000_000_000,
        sequence_number="49",
        sub_sequence_number=0,
    ).to_line()
    if rng.random() < 0.5:
        return mutated_bytes(rng, line)
    return _json(mutated_document(rng, json.loads(line)))


def _read_error_object(body: bytes) -> None:
    content = read_error_object(body)
    for record in content.records:
        assert read_error_object(record.to_line()).records == (record,)


def _firehose_record(rng: random.Random) -> bytes:
    if rng.random() < 0.5:
        return mutated_bytes(rng, _json(DOCUMENT))
    return _json(mutated_document(rng, DOCUMENT))


def _convert(records: list[bytes]) -> None:
    """The records after good ones; each is a row, several or a failure."""
    good = [_json(DOCUMENT)] * 2
    batch = convert([*good, *records], FIREHOSE_COLUMNS)
    failed = {failure.index for failure in batch.failures if failure.code}
    assert len(failed) == len(batch.failures)
    assert failed.isdisjoint(range(len(good)))
    assert batch.rows >= len(good) + len(records) - len(failed)


def _load_configuration(body: bytes) -> None:
    with tempfile.TemporaryDirectory(prefix="fuzz-") as folder:
        path = Path(folder) / "configuration.toml"
        path.write_bytes(body)
        load_settings({"DDB_PIPELINE_CONFIG": str(path)}, Path(folder))


def _hive_type(rng: random.Random) -> str:
    text: str = _text_of(rng.choice(TYPES), random_type(rng, 3))(rng)
    return text


def _parse_types(text: str) -> None:
    read_type(text)
    with suppress(HiveTypeError):
        parse_crawled_type(text)
    with suppress(HiveTypeError):
        normalize_columns([("a", text)])
    kind = parse_type(text)
    assert parse_type(str(kind)) == kind


PARTITIONED = pa.table({name: pa.array([None, "é/="], pa.string()) for name in ("a", "b", "at")})


def _parse_partition_by(text: str) -> None:
    by = parse_partition_by(text, PARTITIONED.schema)
    assert not unnameable(PARTITIONED, by).any()
    assert sum(len(rows) for _, rows in partitions(PARTITIONED, by)) == 2


def _match_expression(text: str) -> None:
    matches = parse_expression(text, ["year", "month", "day", "name"])
    matches({"year": "2024", "month": "5", "day": "1", "name": "abc"})


def _evaluate_prefix(texts: tuple[str, str]) -> None:
    validate_prefixes(*texts)
    now = datetime(2024, 5, 1, tzinfo=timezone.utc)
    for text in texts:
        evaluate_prefix(text, now, error_output_type="e")


@functools.cache
def _manifests() -> dict[str, bytes]:
    objects = Objects()
    written(objects, numbered_items(3), files=2)
    return dict(objects)


def _manifest(rng: random.Random) -> tuple[str, bytes]:
    name = rng.choice(("manifest-summary.json", "manifest-files.json"))
    body = _manifests()[FOLDER + name]
    if rng.random() < 0.5:
        return name, mutated_bytes(rng, body)
    lines = [_json(mutated_document(rng, json.loads(line))) for line in body.splitlines()]
    return name, b"\n".join(lines)


def _read_manifest(changed: tuple[str, bytes]) -> None:
    name, body = changed
    objects = Objects(_manifests())
    objects[FOLDER + name] = body
    objects[FOLDER + name.replace(".json", ".md5")] = md5_text(body).encode()
    export = read_export(objects.open, FOLDER)
    export.summary.to_json()
    for file in export.files:
        file.key.encode()


def _stream_record(rng: random.Random) -> Any:
    return mutated_document(rng, stream_record(1, ITEM))


PARSERS: dict[str, Parser] = {
    "hive-types": Parser(_hive_type, _parse_types, (HiveTypeError,)),
    "export-json": Parser(_export_block, _read_export_block, inputs=LINES_OF_BLOCK),
    "export-decisions": Parser(_export_block, _read_decided_block, inputs=LINES_OF_BLOCK),
    "type-decisions": Parser(_decided_item, _decide, (UndecodableValueError,)),
    "export-changes": Parser(_changes_block, _read_changes, inputs=LINES_OF_BLOCK),
    "export-ion": Parser(
        lambda rng: b"\n".join(mutated_bytes(rng, ION_LINE) for _ in range(LINES_OF_BLOCK)),
        _read_ion,
        inputs=LINES_OF_BLOCK,
    ),
    "stream-records": Parser(_stream_record, _run_function),
    "error-objects": Parser(_error_object, _read_error_object),
    "firehose-documents": Parser(
        lambda rng: [_firehose_record(rng) for _ in range(LINES_OF_BLOCK)],
        _convert,
        inputs=LINES_OF_BLOCK,
    ),
    "configuration": Parser(_bytes_of(CONFIGURATION), _load_configuration, (ConfigError,)),
    "partition-by": Parser(
        _text_of("hash(a,16)", "date(at)", "b"), _parse_partition_by, (PartitionError,)
    ),
    "partition-filters": Parser(_text_of(EXPRESSION), _match_expression, (ExpressionError,)),
    "prefixes": Parser(
        lambda rng: (_text_of(PREFIX)(rng), _text_of(ERROR_PREFIX)(rng)),
        _evaluate_prefix,
        (PrefixError,),
    ),
    "manifests": Parser(_manifest, _read_manifest, (ExportError,)),
}


def names(chosen: Sequence[str]) -> list[str]:
    """The chosen parsers, or all of them."""
    return list(chosen) or list(PARSERS)
