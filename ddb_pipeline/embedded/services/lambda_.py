"""Lambda: event source mappings of DynamoDB streams, with partial batches, retries and bisection.

ministack skips the failures that a function reports, which loses the records, and retries after an
exception for ever.
"""

import logging
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from ddb_pipeline.embedded.services.ministack import (
    Document,
    LambdaModule,
    request_scope,
)
from ddb_pipeline.embedded.services.ministack_dynamodb import DynamoDBModule

logger = logging.getLogger("ddb_pipeline.embedded.lambda")

FIRST_PAUSE_SECONDS = 0.5
LONGEST_PAUSE_SECONDS = 30.0


@dataclass(slots=True)
class ShardState:
    """A mapping's state on the one shard of its stream, beside the position that ministack stores.

    Attributes:
        attempts: failed invocations with the same first record.
        batch_limit: records of the next batch, after a bisection; 0 for the mapping's own size.
        paused_until: when the next batch may be read, in seconds of the Unix epoch.
    """

    attempts: int = 0
    batch_limit: int = 0
    paused_until: float = 0.0


class Lambda:
    """Invokes functions for the records of DynamoDB streams."""

    def __init__(self) -> None:
        self._ministack = LambdaModule()
        self._dynamodb = DynamoDBModule()
        self._shards: dict[str, ShardState] = {}

    def install(self) -> None:
        """Poll the streams in place of ministack."""
        self._ministack.replace_stream_poll(self.poll)

    def poll(self) -> bool:
        """Invoke the function of each mapping that has records; return whether any advanced."""
        advanced = False
        for account, region, mapping in self._ministack.scoped_mappings():
            with request_scope(account, region):
                advanced = self._poll_mapping(mapping) or advanced
        return advanced

    def _poll_mapping(self, mapping: Document) -> bool:
        table = self._table(mapping)
        function = self._ministack.function(mapping)
        shard = self._shards.setdefault(mapping["UUID"], ShardState())
        if table is None or function is None or shard.paused_until > time.time():
            return False
        position = self._position(mapping, table)
        limit = shard.batch_limit or int(mapping.get("BatchSize", 100))
        read = self._dynamodb.stream_records(table, position, limit)
        if not read:
            return False
        matching = self._ministack.matching(list(read), mapping)
        result = self._ministack.invoke(function, matching) if matching else {}
        partial = "ReportBatchItemFailures" in (mapping.get("FunctionResponseTypes") or ())
        processed = processed_count(matching, result, partial)
        if processed == len(matching):
            self._shards[mapping["UUID"]] = ShardState()
            self._ministack.set_position(mapping["UUID"], position + len(read))
            mapping["LastProcessingResult"] = f"OK - {len(read)} records"
            return True
        # Records that the filter rejected, before the first failed one, count as processed.
        count = next(i for i, record in enumerate(read) if record is matching[processed])
        self._ministack.set_position(mapping["UUID"], position + count)
        shard.attempts = 1 if count else shard.attempts + 1
        discarded = self._retry_or_discard(mapping, function, read[count:], result)
        if discarded:
            self._ministack.set_position(mapping["UUID"], position + len(read))
        return discarded or count > 0

    def _table(self, mapping: Mapping[str, Any]) -> str | None:
        """Return the table of the mapping's stream; None where there is nothing to poll."""
        arn = mapping.get("EventSourceArn", "")
        table: str = arn.partition(":table/")[2].partition("/stream/")[0]
        if ":dynamodb:" not in arn or not mapping.get("Enabled", True):
            return None
        newest = self._dynamodb.tables.get(table, {}).get("LatestStreamArn")
        return table if newest == arn else None

    def _position(self, mapping: Mapping[str, Any], table: str) -> int:
        oldest, end = self._dynamodb.stream_positions(table)
        from_oldest = mapping.get("StartingPosition", "LATEST") == "TRIM_HORIZON"
        initial = oldest if from_oldest else end
        return max(self._ministack.position(mapping["UUID"], initial), oldest)

    def _retry_or_discard(
        self,
        mapping: Document,
        function: Document,
        records: list[Document],
        result: Mapping[str, Any],
    ) -> bool:
        """Pause before the failed records are tried again; return True if they are discarded."""
        shard = self._shards[mapping["UUID"]]
        mapping["LastProcessingResult"] = "PROBLEM: Function call failed"
        logger.warning("%s failed: %s", mapping["FunctionName"], str(result.get("body"))[:2000])
        condition = discard_condition(mapping, shard.attempts, records, time.time())
        if condition:
            self._ministack.send_to_failure_destination(
                mapping, function, records, result, condition
            )
            self._shards[mapping["UUID"]] = ShardState()
            return True
        if mapping.get("BisectBatchOnFunctionError") and result.get("error"):
            shard.batch_limit = max(1, (len(records) + 1) // 2)
        pause = FIRST_PAUSE_SECONDS * 2.0 ** min(shard.attempts - 1, 10)
        shard.paused_until = time.time() + min(LONGEST_PAUSE_SECONDS, pause)
        return False


def processed_count(
    records: Sequence[Mapping[str, Any]], result: Mapping[str, Any], partial: bool
) -> int:
    """Return how many records, from the first on, an invocation has processed.

    With ``partial`` the next batch begins at the lowest sequence number that the function reports
    as failed; an unknown or empty one fails the whole batch (AWS Lambda developer guide,
    "Reporting batch item failures").
    """
    if result.get("error"):
        return 0
    body = result.get("body")
    if not partial or not isinstance(body, Mapping):
        return len(records)
    positions = {record["dynamodb"]["SequenceNumber"]: i for i, record in enumerate(records)}
    failed = [
        failure.get("itemIdentifier") if isinstance(failure, Mapping) else None
        for failure in body.get("batchItemFailures") or ()
    ]
    return min((positions.get(identifier, 0) for identifier in failed), default=len(records))


def discard_condition(
    mapping: Mapping[str, Any], attempts: int, records: Sequence[Mapping[str, Any]], now: float
) -> str:
    """Return why the mapping discards a batch, as its failure destination names it; else ""."""
    retries = int(mapping.get("MaximumRetryAttempts", -1))
    if retries >= 0 and attempts > retries:
        return "RetryAttemptsExhausted"
    age = int(mapping.get("MaximumRecordAgeInSeconds", -1))
    created = float(records[0]["dynamodb"].get("ApproximateCreationDateTime", now))
    return "RecordAgeExceeded" if 0 <= age < now - created else ""
