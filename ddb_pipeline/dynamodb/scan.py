"""Parallel scan of a table within a budget of read capacity."""

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
"""The default read quota of an on-demand table, units a second (DynamoDB service quotas)."""
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
    """How a table is read.

    Attributes:
        segments: parallel segments, at most one page of 1 MB in flight for each.
        read_units_per_second: consumption the whole scan keeps under.
        pages_per_segment: pages read from each segment; None reads all of it.
    """

    segments: int
    read_units_per_second: float
    pages_per_segment: int | None = None


class ReadBudget:
    """Paces readers so that together they consume at most so many units a second."""

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
        """Account for units just consumed and wait until the budget has room again."""
        with self._lock:
            now = self._clock()
            self._free_at = max(self._free_at, now) + units / self._rate
            wait = self._free_at - now
        if wait > 0:
            self._sleep(wait)


def plan_scan(
    description: Mapping[str, Any], *, scan_all: bool, scan_rate: float | None
) -> ScanPlan:
    """Segments and budget for a table, from DescribeTable's ``Table``.

    ``scan_rate`` is the share of the table's read capacity to use, as a Glue crawler's
    (``DynamoDBTarget.scanRate``, 0.1 to 1.5; without it half of provisioned capacity, a quarter
    of an on-demand table's maximum: AWS Glue API reference). A sample (``scan_all`` false)
    reads the first page of each segment.
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
    """The table's items, page by page in no order, read by the plan's segments side by side.

    At most two pages a segment are held at once. An error in any segment ends the scan with it.
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
        answer = _page(dynamodb, request)
        pages += 1
        yield answer["Items"]
        if "LastEvaluatedKey" not in answer:
            return
        request["ExclusiveStartKey"] = answer["LastEvaluatedKey"]
        budget.spend(float(answer.get("ConsumedCapacity", {}).get("CapacityUnits", 0.0)))


def _page(
    dynamodb: "DynamoDBClient",
    request: Mapping[str, Any],
    sleep: Callable[[float], None] = time.sleep,
    draw: Callable[[], float] = random.random,
) -> Mapping[str, Any]:
    """One page, asked for again with full jitter while the table is throttled.

    boto3's own retries are over after a second or two; a table that others use may take longer.
    """
    for attempt in range(MAX_ATTEMPTS):
        try:
            answer: Mapping[str, Any] = dynamodb.scan(**request)
            return answer
        except ClientError as error:
            if error_code(error) not in THROTTLED or attempt == MAX_ATTEMPTS - 1:
                raise
            sleep(draw() * min(MAX_PAUSE_SECONDS, 0.5 * 2**attempt))
    raise AssertionError("the last attempt raises or returns")
