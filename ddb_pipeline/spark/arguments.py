"""The relevance job's arguments: parsed from a command line and converted to one."""

import argparse
import json
import re
from collections.abc import Sequence
from dataclasses import asdict, dataclass, field, fields
from datetime import datetime, timezone
from hashlib import sha256

STATISTICS_FORMAT = 1
"""Version of the meaning of an hour's statistics; a new version computes all hours again."""
DEFAULT_SCORER = "ddb_pipeline.spark.scoring:smoothed_relevance"
_FUNCTION = re.compile(r"[A-Za-z_][\w.]*:[A-Za-z_]\w*")


class RelevanceError(Exception):
    """The job cannot run with these arguments or data; the message says why and what to do."""


@dataclass(frozen=True, slots=True)
class LogColumns:
    """The columns of the search logs that the job reads; the defaults fit the demo's logs.

    Attributes:
        key: names, separated by commas, of the columns that identify a log.
        user: the column with the user's identifier or pseudonym.
        query: the column with the query's text.
        searched_at: the column with the time of the search: epoch seconds or milliseconds, a
            timestamp or its text. Only logs of the history need it; rows of the stream count in
            the hour of their delivery.
        results, clicks: the columns with the results shown and the clicks: arrays of structs,
            arrays of document identifiers, or JSON text of either.
        result_document, click_document: the struct's field with the document's identifier; empty
            if the array's elements are the identifiers.
        result_position: the field with the position, counted from 1; empty if the array's order is
            the order of the results.
        click_position: the field with the position clicked; empty if the document identifies the
            result.
        click_dwell_ms: the field with the milliseconds spent on the document; empty for none.
    """

    key: str = "log_id"
    user: str = "user"
    query: str = "query"
    searched_at: str = "searched_at"
    results: str = "results"
    result_document: str = "document"
    result_position: str = "position"
    clicks: str = "clicks"
    click_document: str = "document"
    click_position: str = "position"
    click_dwell_ms: str = "dwell_ms"

    def __post_init__(self) -> None:
        for name in ("key", "user", "query", "searched_at", "results", "clicks"):
            if not getattr(self, name).strip():
                raise RelevanceError(f"The column mapping has no {name} column.")

    @property
    def keys(self) -> tuple[str, ...]:
        """The names of the columns that identify a log."""
        return tuple(name.strip() for name in self.key.split(",") if name.strip())


@dataclass(frozen=True, slots=True)
class RelevanceArguments:
    """The arguments of one run of the job.

    Attributes:
        stream: URI of the folder with ``delivery_date=.../delivery_hour=.../`` folders of Parquet.
        output: URI of the folder for statistics, scores and the manifest that names the valid ones.
        compacted: URI of a folder with such folders of compacted hours; empty for none. An hour
            that is there is not read from ``stream``.
        history: URI of a snapshot's Parquet with logs older than the stream; empty for none.
        columns: where the logs have what the job reads.
        half_life_days: a search of this age, in days, has half the weight of a new one.
        window_days: searches older than this many days do not count.
        min_users: the job publishes only pairs shown to this many distinct users (k-anonymity).
        max_position: results at larger positions count as shown at this one.
        satisfied_seconds: dwell time from which a click has the weight 1 (Fox et al., 2005: 30 s).
        short_click_weight: weight of a click without any dwell time.
        unknown_dwell_weight: weight of a click whose dwell time is not known.
        scorer: ``module:function`` that computes scores from evidence; see ``spark.scoring``.
        as_of: ISO time up to which searches count; empty for the end of the newest hour.
        drop_expired: whether logs that time to live removed from the table no longer count.
    """

    stream: str
    output: str
    compacted: str = ""
    history: str = ""
    columns: LogColumns = field(default_factory=LogColumns)
    half_life_days: float = 14.0
    window_days: int = 90
    min_users: int = 5
    max_position: int = 20
    satisfied_seconds: float = 30.0
    short_click_weight: float = 0.2
    unknown_dwell_weight: float = 0.5
    scorer: str = DEFAULT_SCORER
    as_of: str = ""
    drop_expired: bool = False

    def __post_init__(self) -> None:
        checks = {
            "stream": bool(self.stream),
            "output": bool(self.output),
            "half-life-days": self.half_life_days > 0,
            "window-days": self.window_days >= 1,
            "min-users": self.min_users >= 1,
            "max-position": self.max_position >= 2,
            "satisfied-seconds": self.satisfied_seconds > 0,
            "short-click-weight": 0 <= self.short_click_weight <= 1,
            "unknown-dwell-weight": 0 <= self.unknown_dwell_weight <= 1,
            "scorer": _FUNCTION.fullmatch(self.scorer) is not None,
        }
        wrong = [f"--{name}" for name, holds in checks.items() if not holds]
        if wrong:
            raise RelevanceError(
                f"Invalid values: {', '.join(wrong)}. Counts and times must be positive, weights "
                "between 0 and 1, a scorer module:function."
            )
        if self.as_of:
            self.as_of_hour()

    def as_of_hour(self) -> int | None:
        """Return ``as_of`` in hours since the epoch, rounded up; None if it is empty."""
        if not self.as_of:
            return None
        try:
            moment = datetime.fromisoformat(self.as_of.replace("Z", "+00:00"))
        except ValueError:
            raise RelevanceError(f"--as-of {self.as_of!r} is not an ISO time.") from None
        moment = moment if moment.tzinfo else moment.replace(tzinfo=timezone.utc)
        return -int(-moment.timestamp() // 3600)

    def statistics_digest(self) -> str:
        """Return a hash of the arguments on which an hour's statistics depend."""
        names = ("history", "max_position", "min_users", "satisfied_seconds")
        weights = ("short_click_weight", "unknown_dwell_weight", "drop_expired")
        chosen = {name: getattr(self, name) for name in (*names, *weights)}
        return _digest([STATISTICS_FORMAT, asdict(self.columns), chosen])

    def scores_digest(self) -> str:
        """Return a hash of the arguments on which the scores depend."""
        names = ("half_life_days", "window_days", "min_users", "scorer", "as_of")
        return _digest([self.statistics_digest(), [getattr(self, name) for name in names]])

    def command_line(self) -> list[str]:
        """Return the words from which :func:`parse` builds these arguments, without defaults."""
        words: list[str] = []
        for flag, value, default in _flags(self):
            if value == default:
                continue
            words += [flag] if value is True else [flag, str(value)]
        return words


def parse(argv: Sequence[str]) -> RelevanceArguments:
    """Parse a command line.

    Raises:
        RelevanceError: a value is invalid.
        SystemExit: an argument is unknown or missing; argparse has printed which.
    """
    parser = argparse.ArgumentParser(
        prog="relevance", description="Compute documents' relevance to queries from search logs."
    )
    for each in fields(RelevanceArguments):
        if each.name == "columns":
            continue
        flag = _flag(each.name)
        if each.type is bool:
            parser.add_argument(flag, action="store_true")
        elif each.name in ("stream", "output"):
            parser.add_argument(flag, required=True)
        else:
            parser.add_argument(flag, type=each.type, default=each.default)
    for each in fields(LogColumns):
        parser.add_argument(_column_flag(each.name), default=each.default)
    found = vars(parser.parse_args(list(argv)))
    columns = {each.name: found.pop(f"column_{each.name}") for each in fields(LogColumns)}
    return RelevanceArguments(columns=LogColumns(**columns), **found)


def _flags(arguments: RelevanceArguments) -> list[tuple[str, object, object]]:
    """Each argument's flag, value and default."""
    found: list[tuple[str, object, object]] = [
        (_flag(each.name), getattr(arguments, each.name), each.default)
        for each in fields(RelevanceArguments)
        if each.name != "columns"
    ]
    found += [
        (_column_flag(each.name), getattr(arguments.columns, each.name), each.default)
        for each in fields(LogColumns)
    ]
    return found


def _flag(name: str) -> str:
    return "--" + name.replace("_", "-")


def _column_flag(name: str) -> str:
    return "--column-" + name.replace("_", "-")


def _digest(value: object) -> str:
    return sha256(json.dumps(value, sort_keys=True).encode("utf-8")).hexdigest()[:16]
