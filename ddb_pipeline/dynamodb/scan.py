"""Scans a table in parallel, within a budget of read capacity."""

import random
import threading
import time
from collections.abc import Callable, Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from queue import Queue
from typing import TYPE_CHECKING, Any

from botocore.exceptions import ClientError

from ddb_pipeline.client_errors import error_code
from ddb_pipeline.dynamodb.values import Item

if TYPE_CHECKING:
    from mypy_boto3_dynamodb.client import DynamoDBClient

ON_DEMAND_READ_UNITS = 40_000
"""The default read quota of an on-demand table, units per second (DynamoDB service quotas)."""
MAX_SEGMENTS = 8
MAX_ATTEMPTS = 12
MAX_PAUSE_SECONDS = 30.0
THROTTLED = (
    "ProvisionedThroughputExceededException",
    "RequestLimitExceeded",
    "ThrottlingException",
    "InternalServerError",
)
BYTES_PER_SEGMENT = 64 * 1024 * 1024


@dataclass(frozen=True, slots=True)
class ScanPlan:
    """How to read a table.

    Attributes:
        segments: number of parallel segments, each with at most one request of 1 MB at a time.
        read_units_per_second: the whole scan's limit of consumption.
        pages_per_segment: number of pages to read from each segment; None reads all.
    """

    segments: int
    read_units_per_second: float
    pages_per_segment: int | None = None


class ReadBudget:
    """Limits the read units that all readers together consume per second."""

    def __init__(
        self,
        units_per_second: float,
        *,
        clock: Callable[[], float] = time.monotonic,
        sleep: Callable[[float], None] = time.sleep,
    ) -> None:
        self._rate = units_per_second
        self._clock = clock
        self._sleep = sleep
        self._free_at = clock()
        self._lock = threading.Lock()

    def spend(self, units: float) -> None:
        """Account for units just consumed, and wait until the average is within the budget."""
        with self._lock:
            now = self._clock()
            self._free_at = max(self._free_at, now) + units / self._rate
            wait = self._free_at - now
        if wait > 0:
            self._sleep(wait)


def plan_scan(
    description: Mapping[str, Any], *, scan_all: bool, scan_rate: float | None
) -> ScanPlan:
    """Choose the segments and the budget for a table.

    Args:
        description: DescribeTable's ``Table``.
        scan_all: whether to read all items; otherwise only the first page of each segment.
        scan_rate: the share of the table's read capacity to use, as a Glue crawler's
            ``DynamoDBTarget.scanRate``, 0.1 to 1.5. None uses half of provisioned capacity, or a
            quarter of an on-demand table's maximum (AWS Glue API reference).
    """
    provisioned = (description.get("ProvisionedThroughput") or {}).get("ReadCapacityUnits") or 0
    maximum = (description.get("OnDemandThroughput") or {}).get("MaxReadRequestUnits") or 0
    if provisioned:
        units = provisioned * (scan_rate or 0.5)
    else:
        units = (maximum if maximum > 0 else ON_DEMAND_READ_UNITS) * (scan_rate or 0.25)
    size = int(description.get("TableSizeBytes") or 0)
    segments = min(MAX_SEGMENTS, 1 + size // BYTES_PER_SEGMENT)
    return ScanPlan(
        segments=MAX_SEGMENTS if not scan_all else segments,
        read_units_per_second=max(units, 1.0),
        pages_per_segment=None if scan_all else 1,
    )


def scan_pages(dynamodb: "DynamoDBClient", table: str, plan: ScanPlan) -> Iterator[list[Item]]:
    """The table's items, page by page in no order; the plan's segments are read in parallel.

    At most two pages per segment are in memory. An error in a segment ends the scan and is raised.
    """
    budget = ReadBudget(plan.read_units_per_second)
    pages: Queue[list[Item] | None] = Queue(maxsize=2 * plan.segments)
    stopped = threading.Event()

    def read(segment: int) -> None:
        try:
            for page in _segment_pages(dynamodb, table, segment, plan, budget):
                pages.put(page)
                if stopped.is_set():
                    return
        finally:
            pages.put(None)

    with ThreadPoolExecutor(plan.segments, thread_name_prefix="scan") as pool:
        segments = [pool.submit(read, segment) for segment in range(plan.segments)]
        running = len(segments)
        try:
            while running:
                page = pages.get()
                if page is None:
                    running -= 1
                else:
                    yield page
        finally:
            stopped.set()
            while running:
                running -= pages.get() is None
        for segment in segments:
            segment.result()


def _segment_pages(
    dynamodb: "DynamoDBClient", table: str, segment: int, plan: ScanPlan, budget: ReadBudget
) -> Iterator[list[Item]]:
    request: dict[str, Any] = {
        "TableName": table,
        "Segment": segment,
        "TotalSegments": plan.segments,
        "ReturnConsumedCapacity": "TOTAL",
    }
    pages = 0
    while plan.pages_per_segment is None or pages < plan.pages_per_segment:
        page = _page(dynamodb, request)
        pages += 1
        yield page["Items"]
        if "LastEvaluatedKey" not in page:
            return
        request["ExclusiveStartKey"] = page["LastEvaluatedKey"]
        budget.spend(float(page.get("ConsumedCapacity", {}).get("CapacityUnits", 0.0)))


def _page(
    dynamodb: "DynamoDBClient",
    request: Mapping[str, Any],
    sleep: Callable[[float], None] = time.sleep,
    draw: Callable[[], float] = random.random,
) -> Mapping[str, Any]:
    """Read one page, with retries and full jitter while the table is throttled.

    boto3's own retries end after a second or two; on a table with other readers, throttling may
    last longer.
    """
    for attempt in range(MAX_ATTEMPTS):
        try:
            page: Mapping[str, Any] = dynamodb.scan(**request)
            return page
        except ClientError as error:
            if error_code(error) not in THROTTLED or attempt == MAX_ATTEMPTS - 1:
                raise
            sleep(draw() * min(MAX_PAUSE_SECONDS, 0.5 * 2**attempt))
    raise AssertionError("the last attempt raises or returns")
