"""One structured log line for an invocation, with its CloudWatch metrics embedded.

The line follows the CloudWatch embedded metric format specification. It contains counts, names of
tables and streams, and error texts of services; never a value of an item.
"""

import json
from dataclasses import dataclass, field
from typing import Any

from ddb_pipeline.firehose.delivery import Delivery

NAMESPACE = "DdbPipeline"
METRICS = (
    ("RecordsReceived", "Count"),
    ("RecordsFiltered", "Count"),
    ("DocumentsDelivered", "Count"),
    ("RecordsPacked", "Count"),
    ("BilledUnits", "Count"),
    ("RecordsRetried", "Count"),
    ("DeadLetters", "Count"),
    ("DocumentsHeld", "Count"),
    ("RecordsNotDelivered", "Count"),
    ("OldestRecordAge", "Milliseconds"),
)


@dataclass(slots=True)
class Report:
    """What one invocation did; each step adds to it."""

    received: int = 0
    filtered: int = 0
    delivered: int = 0
    packed: int = 0
    billed_units: int = 0
    retried: int = 0
    dead_lettered: int = 0
    held: int = 0
    not_delivered: int = 0
    oldest_age_seconds: float = 0.0
    dead_letter_key: str = ""
    checkpoint: str = ""
    errors: list[str] = field(default_factory=list)

    def add_delivery(self, delivery: Delivery) -> None:
        """Add the counts of the delivery to one delivery stream."""
        self.delivered += delivery.delivered
        self.packed += delivery.records
        self.billed_units += delivery.billed_units
        self.retried += delivery.retried

    def log_line(self, context: Any, timestamp: float) -> str:
        """The line for an invocation that ended at ``timestamp`` (epoch seconds)."""
        values = (
            self.received,
            self.filtered,
            self.delivered,
            self.packed,
            self.billed_units,
            self.retried,
            self.dead_lettered,
            self.held,
            self.not_delivered,
            round(self.oldest_age_seconds * 1000),
        )
        line: dict[str, Any] = {
            "level": "ERROR" if self.errors else "INFO",
            "message": self._message(),
            "request_id": getattr(context, "aws_request_id", ""),
            "FunctionName": getattr(context, "function_name", "unknown"),
        }
        line |= {name: value for (name, _), value in zip(METRICS, values, strict=True)}
        if self.checkpoint:
            line["checkpoint"] = self.checkpoint
        if self.dead_letter_key:
            line["dead_letter_key"] = self.dead_letter_key
        if self.errors:
            line["errors"] = self.errors
        line["_aws"] = {
            "Timestamp": int(timestamp * 1000),
            "CloudWatchMetrics": [
                {
                    "Namespace": NAMESPACE,
                    "Dimensions": [["FunctionName"]],
                    "Metrics": [{"Name": name, "Unit": unit} for name, unit in METRICS],
                }
            ],
        }
        return json.dumps(line, separators=(",", ":"))

    def _message(self) -> str:
        if self.checkpoint:
            return "batch delivered in part"
        return "batch failed" if self.errors else "batch delivered"
