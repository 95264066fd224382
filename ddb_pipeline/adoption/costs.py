"""What a pipeline costs a month: quantities from its table and settings, times prices of a file."""

import json
import math
from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache
from importlib.resources import files
from typing import Any

from ddb_pipeline.config.choices import CrawlWith, CurrentView, ExportWith, StreamReader
from ddb_pipeline.config.pipeline import PipelineConfig

DAYS = 30.4
"""Days of a month."""
SECONDS = DAYS * 86_400
GB = 2.0**30
BILLED_RECORD = 5 * 1024
"""Firehose bills each record in steps of 5 KB (Firehose's price page, whose examples have GB of
1,048,576 KB)."""
PACKED_RECORD = 65_536
"""PACK_BYTES of the streaming function, in the template."""
BATCH = 500
READ_RECORDS = 1000
READ_BYTES = 1e6
"""Of a GetRecords response, at most (DynamoDB Streams API reference)."""
MEMORY_GB = 0.25
FUNCTION_SECONDS_PER_ITEM = 0.0002
"""Of the streaming function with 256 MB: estimated, 5,000 items a second."""
INVOCATION_SECONDS = 0.05
"""Of each invocation besides its items, estimated."""
PARQUET_SHARE = 0.25
"""Bytes of Parquet to bytes of JSON, estimated."""
OBJECT_BYTES = 64e6
"""JSON in one object of the delivery stream (BufferMegabytes), when the interval is long enough."""
CRAWL_DPU_HOURS = 10 / 60 * 2
"""A crawl's least time, with two DPUs (estimated)."""
READ_UNIT_BYTES = 8192
SENSOR_LISTS_A_DAY = 2_880 * 5
"""LIST requests of all sensors of an idle pipeline, with ticks of 30 seconds: OPERATIONS.md."""


@dataclass(frozen=True, slots=True)
class Load:
    """What a pipeline has to do.

    Attributes:
        items_a_day: changes of the table.
        item_bytes: average size of an item.
        table_bytes: size of the table.
        source: where the numbers are from.
    """

    items_a_day: float
    item_bytes: float
    table_bytes: float
    source: str


@dataclass(frozen=True, slots=True)
class CostLine:
    """A part of the cost.

    Attributes:
        name: key of the price in the file.
        quantity: units a month.
        formula: how the quantity is computed.
        dollars: a month.
    """

    name: str
    quantity: float
    unit: str
    formula: str
    price: float

    @property
    def dollars(self) -> float:
        """The part's cost a month."""
        return self.quantity * self.price


@lru_cache(maxsize=1)
def prices() -> dict[str, Any]:
    """The content of the file of prices."""
    text = files("ddb_pipeline.adoption").joinpath("prices.json").read_text("utf-8")
    found: dict[str, Any] = json.loads(text)
    return found


def monthly_cost(pipeline: PipelineConfig, load: Load, crawls_a_day: float) -> list[CostLine]:
    """The parts of a pipeline's cost a month, the largest first. Dagster's machine is not in it."""
    parts = [
        *_delivery(pipeline, load),
        *_storage(pipeline, load),
        *_crawls(pipeline, load, crawls_a_day),
        *_exports(pipeline, load),
    ]
    known = prices()["prices"]
    lines = [
        CostLine(name, quantity, known[name]["unit"], formula, known[name]["price"])
        for name, quantity, formula in parts
    ]
    return sorted((each for each in lines if each.quantity > 0), key=lambda each: -each.dollars)


Part = tuple[str, float, str]
"""Name of the price, quantity a month, formula."""


def _delivery(pipeline: PipelineConfig, load: Load) -> list[Part]:
    changes = load.items_a_day * DAYS
    size = load.item_bytes
    # A change is at least its document; several are packed into one record of the limit.
    seconds_between = 86_400 / load.items_a_day if load.items_a_day else math.inf
    together = max(1.0, min(BATCH, 1.0 / seconds_between, PACKED_RECORD / max(size, 1)))
    record = together * size
    billed = changes / together * math.ceil(record / BILLED_RECORD) * BILLED_RECORD / GB
    how = f"{changes:,.0f} changes in records of {record:,.0f} B, in steps of 5 KB"
    parts: list[Part] = [
        ("firehose_ingested_gb", billed, how),
        ("firehose_converted_gb", billed, how),
    ]
    readers = 1 if pipeline.stream_reader is StreamReader.LAMBDA else 2
    reads = readers * changes / max(1.0, min(READ_RECORDS, READ_BYTES / max(size, 1)))
    parts.append(("dynamodb_streams_read", reads, "the check nothing_lost reads each change once"))
    if pipeline.stream_reader is StreamReader.LAMBDA:
        invocations = changes / max(1.0, min(BATCH, 1.0 / seconds_between))
        used = invocations * INVOCATION_SECONDS + changes * FUNCTION_SECONDS_PER_ITEM
        parts += [
            ("lambda_request", invocations, "batches of 500 changes, or of one second"),
            (
                "lambda_gb_second",
                used * MEMORY_GB,
                f"{used:,.0f} s with 256 MB: 0.05 s an invocation, 0.2 ms a change",
            ),
        ]
    return parts


def objects_a_month(pipeline: PipelineConfig, load: Load) -> float:
    """Objects that the delivery stream writes: by interval, or by size on a busy table."""
    changes = load.items_a_day * DAYS
    by_interval = min(changes, SECONDS / max(pipeline.buffer_seconds, 1))
    return max(by_interval, changes * load.item_bytes / OBJECT_BYTES)


def _storage(pipeline: PipelineConfig, load: Load) -> list[Part]:
    changes = load.items_a_day * DAYS
    objects = objects_a_month(pipeline, load)
    stored = changes * load.item_bytes * PARQUET_SHARE / GB
    lists = SENSOR_LISTS_A_DAY * DAYS
    return [
        ("s3_gb_month", stored, "the month's changes as Parquet, a quarter of their JSON"),
        ("s3_put", objects + lists, f"{objects:,.0f} objects; {lists:,.0f} LIST of the sensors"),
        ("s3_get", objects * 4, "each object read by the check and by compaction"),
        ("eventbridge_event", objects, "an event for each object"),
        ("sqs_request", SECONDS / 30 * 3 + objects / 5, "three queues, each 30 seconds"),
    ]


def _crawls(pipeline: PipelineConfig, load: Load, crawls_a_day: float) -> list[Part]:
    crawls = crawls_a_day * DAYS
    units = crawls * load.table_bytes / READ_UNIT_BYTES
    read: Part = (
        "dynamodb_read_request_unit",
        units,
        f"{crawls:,.0f} crawls of the whole table, 8 KB a unit",
    )
    if pipeline.crawl_with is CrawlWith.BUILTIN:
        return [read]
    return [read, ("glue_dpu_hour", crawls * CRAWL_DPU_HOURS, "2 DPU for 10 minutes a crawl")]


def _exports(pipeline: PipelineConfig, load: Load) -> list[Part]:
    table = load.table_bytes / GB
    if pipeline.export_with is ExportWith.SCAN:
        return []
    parts: list[Part] = [
        ("dynamodb_recovery_gb_month", table, "point-in-time recovery of the table"),
        ("dynamodb_export_gb", table, "one full export a month; each more costs the same"),
    ]
    if pipeline.current is CurrentView.EXPORTS:
        changes = load.items_a_day * DAYS * load.item_bytes / GB
        parts.append(("dynamodb_export_gb", changes, "incremental exports of the changes"))
    return parts


def total(lines: Sequence[CostLine]) -> float:
    """Dollars a month."""
    return sum(each.dollars for each in lines)
