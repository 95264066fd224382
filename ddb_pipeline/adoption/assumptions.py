"""What this project assumes about AWS, each with what a real account has shown: pure values."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from ddb_pipeline.adoption.costs import CRAWL_DPU_HOURS, prices

CRAWLS = 3
LEAST_EXPORT_GB = 0.01
EMR_DOLLARS = 1.0
"""Of one job that ends within ten minutes, with 16 vCPU: estimated."""
SHARD_SPLIT_WRITE_UNITS = 4_000
PROVISIONED_UNIT_HOUR = 0.00065
"""Dollars for a write capacity unit and hour (aws.amazon.com/dynamodb/pricing/provisioned)."""


@dataclass(frozen=True, slots=True)
class Assumption:
    """Something that the design needs to be true.

    Attributes:
        name: its key in the JSON.
        text: what is assumed.
        expected: what an observation is to contain, or how it is to be.
        holds: whether an observation is as expected.
    """

    name: str
    text: str
    expected: str
    holds: Callable[[Any], bool]


@dataclass(frozen=True, slots=True)
class Result:
    """What was found for an assumption; ``found`` is None if it was not looked at.

    Attributes:
        note: why it was not looked at; empty if it was.
    """

    assumption: Assumption
    found: Any = None
    note: str = ""

    @property
    def holds(self) -> bool | None:
        """Whether the assumption holds; None if it was not looked at."""
        return None if self.note else self.assumption.holds(self.found)


def _contains(text: str) -> Callable[[Any], bool]:
    return lambda found: text in str(found)


def _equals(value: Any) -> Callable[[Any], bool]:
    return lambda found: bool(found == value)


ASSUMPTIONS: Mapping[str, Assumption] = {
    each.name: each
    for each in (
        Assumption(
            "crawler_sets",
            "A crawler writes a String Set as set<string>.",
            "set<string>",
            _equals("set<string>"),
        ),
        Assumption(
            "crawler_mixed",
            "A crawler writes an attribute of numbers and texts as string.",
            "string",
            _equals("string"),
        ),
        Assumption(
            "firehose_set_code",
            "Firehose refuses a table with set<> by this code.",
            "DataFormatConversion.InvalidSchema",
            _equals("DataFormatConversion.InvalidSchema"),
        ),
        Assumption(
            "firehose_set_message",
            "Firehose's message says that the schema is invalid.",
            "The schema is invalid.",
            _contains("The schema is invalid."),
        ),
        Assumption(
            "nothing_lost",
            "After the fix each record that failed becomes a row.",
            "0 items without a row",
            _equals(0),
        ),
        Assumption(
            "packed_documents",
            "Several documents in one record become several rows.",
            "2 rows",
            _equals(2),
        ),
        Assumption(
            "packed_bad_document",
            "A malformed document fails its whole record, and only that.",
            "0 rows of the record, 1 error object's record",
            _equals({"rows": 0, "failed": 1}),
        ),
        Assumption(
            "eventbridge_delay",
            "An update of a catalog table reaches a queue within a minute.",
            "60 seconds at most",
            lambda found: isinstance(found, int | float) and found <= 60,
        ),
        Assumption(
            "incremental_export",
            "An incremental export has one state of each changed item.",
            "the items written",
            lambda found: isinstance(found, Mapping) and found["items"] == found["written"],
        ),
        Assumption(
            "shard_split",
            "More write capacity splits shards, and children name their parent.",
            "a shard with a parent",
            lambda found: isinstance(found, int) and found > 0,
        ),
        Assumption(
            "emr_job",
            "The job of the relevance scores runs on EMR Serverless.",
            "a run that succeeds",
            _equals("succeeded"),
        ),
    )
}
"""By name, in the order of the report."""


def estimated_cost(*, shard_split: bool, emr: bool) -> float:
    """Dollars that a verification costs at most, with the prices of the file."""
    known = prices()["prices"]
    cost = CRAWLS * CRAWL_DPU_HOURS * known["glue_dpu_hour"]["price"]
    cost += 3 * LEAST_EXPORT_GB * known["dynamodb_export_gb"]["price"]
    # Requests, delivery and storage of some thousand small items.
    cost += 0.05
    if shard_split:
        cost += SHARD_SPLIT_WRITE_UNITS * PROVISIONED_UNIT_HOUR
    return float(cost + (EMR_DOLLARS if emr else 0.0))


def results(found: Mapping[str, Any], skipped: Mapping[str, str]) -> list[Result]:
    """A result for each assumption, in their order.

    Args:
        found: what was found, by the assumption's name.
        skipped: why others were not looked at.
    """
    return [
        Result(each, found[name])
        if name in found
        else Result(each, note=skipped.get(name, "not reached"))
        for name, each in ASSUMPTIONS.items()
    ]


def members(found: Sequence[Result]) -> list[dict[str, Any]]:
    """The results as JSON."""
    return [
        {
            "name": each.assumption.name,
            "assumption": each.assumption.text,
            "expected": each.assumption.expected,
            "found": each.found,
            "holds": each.holds,
            "note": each.note,
        }
        for each in found
    ]
