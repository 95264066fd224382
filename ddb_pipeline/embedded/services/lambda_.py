"""Lambda's event source mapping on DynamoDB streams: partial batch responses, retries, bisection.

ministack skips a reported failure, which loses the record, and retries an exception for ever.
"""

import logging
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from ddb_pipeline.embedded.services.request_scope import request_scope

logger = logging.getLogger("ddb_pipeline.embedded.lambda")

FIRST_PAUSE_SECONDS = 0.5
LONGEST_PAUSE_SECONDS = 30.0


@dataclass(slots=True)
class Shard:
    """A mapping's progress on its one shard, beyond the position that ministack keeps."""

    attempts: int = 0
    limit: int = 0
    paused_until: float = 0.0


_shards: dict[str, Shard] = {}


def install() -> None:
    """Put the mapping's real behaviour into ministack's Lambda service."""
    from ministack.services import lambda_svc

    lambda_svc._poll_dynamodb_streams = poll


def done(records: Sequence[Mapping[str, Any]], result: Mapping[str, Any], partial: bool) -> int:
    """How many records from the first on an invocation has dealt with.

    With ``partial`` the lowest sequence number reported is where to go on; an unknown or empty
    one fails the whole batch (AWS Lambda developer guide, "Reporting batch item failures").
    """
    if result.get("error"):
        return 0
    body = result.get("body")
    if not partial or not isinstance(body, Mapping):
        return len(records)
    failures = body.get("batchItemFailures") or ()
    if not failures:
        return len(records)
    positions = {record["dynamodb"]["SequenceNumber"]: i for i, record in enumerate(records)}
    reported = [
        failure.get("itemIdentifier") if isinstance(failure, Mapping) else None
        for failure in failures
    ]
    if any(identifier not in positions for identifier in reported):
        return 0
    return min(positions[str(identifier)] for identifier in reported)


def poll() -> bool:
    """One pass over all mappings of DynamoDB streams; whether any went forward."""
    from ministack.services import lambda_svc

    forward = False
    for account, region, mapping in list(lambda_svc._iter_all_esms()):
        with request_scope(account, region):
            forward = _poll_mapping(lambda_svc, mapping) or forward
    return forward


def _table_of(mapping: Mapping[str, Any]) -> str | None:
    from ministack.services import dynamodb

    arn = mapping.get("EventSourceArn", "")
    table: str = arn.partition(":table/")[2].partition("/stream/")[0]
    if ":dynamodb:" not in arn or not mapping.get("Enabled", True):
        return None
    found = dynamodb._tables.get(table)
    return table if found and found.get("LatestStreamArn") == arn else None


def _poll_mapping(lambda_svc: Any, mapping: dict[str, Any]) -> bool:
    from ministack.services import dynamodb

    table = _table_of(mapping)
    function, _ = lambda_svc._get_func_record_for_qualifier(
        mapping["FunctionName"], mapping.get("Qualifier")
    )
    identity = mapping["UUID"]
    shard = _shards.setdefault(identity, Shard())
    if table is None or function is None or shard.paused_until > time.time():
        return False
    position = _position(lambda_svc, dynamodb, mapping, table)
    size = shard.limit or int(mapping.get("BatchSize", 100))
    read = dynamodb.stream_records_since(table, position, size)
    if not read:
        return False
    wanted = lambda_svc._apply_filter_criteria(list(read), mapping)
    partial = "ReportBatchItemFailures" in (mapping.get("FunctionResponseTypes") or ())
    result: dict[str, Any] = {}
    count = len(read)
    if wanted:
        result = lambda_svc._execute_function(function, {"Records": wanted})
        dealt_with = done(wanted, result, partial)
        count = count if dealt_with == len(wanted) else _index(read, wanted[dealt_with])
    if count == len(read):
        _shards[identity] = Shard()
        _advance(lambda_svc, identity, position + count)
        mapping["LastProcessingResult"] = f"OK - {count} records"
        return True
    return _failed(lambda_svc, mapping, function, read[count:], position + count, count, result)


def _index(read: Sequence[Any], record: Any) -> int:
    return next(i for i, candidate in enumerate(read) if candidate is record)


def _position(lambda_svc: Any, dynamodb: Any, mapping: Mapping[str, Any], table: str) -> int:
    horizon: int = dynamodb.stream_start_position(table)
    with lambda_svc._dynamodb_stream_positions_lock:
        positions = lambda_svc._dynamodb_stream_positions
        if mapping["UUID"] not in positions:
            latest = mapping.get("StartingPosition", "LATEST") != "TRIM_HORIZON"
            positions[mapping["UUID"]] = dynamodb.stream_end_position(table) if latest else horizon
        position: int = max(positions[mapping["UUID"]], horizon)
        return position


def _advance(lambda_svc: Any, identity: str, position: int) -> None:
    with lambda_svc._dynamodb_stream_positions_lock:
        lambda_svc._dynamodb_stream_positions[identity] = position


def _failed(
    lambda_svc: Any,
    mapping: dict[str, Any],
    function: Mapping[str, Any],
    rest: Sequence[Any],
    position: int,
    progress: int,
    result: Mapping[str, Any],
) -> bool:
    """Go on from the first record that failed, or give its batch up as the mapping says."""
    identity = mapping["UUID"]
    shard = _shards[identity]
    _advance(lambda_svc, identity, position)
    shard.attempts = 1 if progress else shard.attempts + 1
    mapping["LastProcessingResult"] = "PROBLEM: Function call failed"
    logger.warning("%s: %s", mapping["FunctionName"], str(result.get("body"))[:2000])
    condition = given_up(mapping, shard.attempts, rest, time.time())
    if condition:
        lambda_svc._send_ddb_stream_failure_record(
            mapping, function, rest, mapping["EventSourceArn"], result, condition
        )
        _advance(lambda_svc, identity, position + len(rest))
        _shards[identity] = Shard()
        return True
    if mapping.get("BisectBatchOnFunctionError") and result.get("error"):
        shard.limit = max(1, (len(rest) + 1) // 2)
    pause = min(LONGEST_PAUSE_SECONDS, FIRST_PAUSE_SECONDS * 2.0 ** min(shard.attempts - 1, 10))
    shard.paused_until = time.time() + pause
    return bool(progress)


def given_up(
    mapping: Mapping[str, Any], attempts: int, records: Sequence[Mapping[str, Any]], now: float
) -> str:
    """Why the mapping gives a batch up, in the words of its destination record; else empty."""
    retries = int(mapping.get("MaximumRetryAttempts", -1))
    if retries >= 0 and attempts > retries:
        return "RetryAttemptsExhausted"
    age = int(mapping.get("MaximumRecordAgeInSeconds", -1))
    created = float(records[0]["dynamodb"].get("ApproximateCreationDateTime", now))
    return "RecordAgeExceeded" if 0 <= age < now - created else ""
