"""What the relevance job is asked to do: parsed from a command line and written to one."""

import argparse
import json
import re
from collections.abc import Sequence
from dataclasses import asdict, dataclass, field, fields
from datetime import datetime, timezone
from hashlib import sha256

STATISTICS_FORMAT = 1
"""Raised whenever an hour's statistics mean something else than before."""
DEFAULT_SCORER = "ddb_pipeline.spark.scoring:smoothed_relevance"
_FUNCTION = re.compile(r"[A-Za-z_][\w.]*:[A-Za-z_]\w*")


class RelevanceError(Exception):
    """The job cannot do what it is asked; the message says why and what to do."""


@dataclass(frozen=True, slots=True)
class LogColumns:
    """Where a search log keeps what the job needs; the defaults fit the demo's logs.

    Attributes:
        key: the columns that name a log, by commas. The latest image of a log counts.
        results, clicks: arrays of structs, arrays of document identifiers, or JSON text of either.
        result_document, click_document: the field with the document; empty where the elements
            are the documents themselves.
        result_position: the field with the position, from 1; empty for the order in the array.
        click_position: the field with the clicked position; empty where a document is enough.
        click_dwell_ms: the field with the milliseconds spent on the document; empty for none.
        searched_at: epoch seconds or milliseconds, a timestamp or its text; read of the history
            only, stream rows count in the hour of their delivery.
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
                raise RelevanceError(f"The column mapping names no {name} column.")

    @property
    def keys(self) -> tuple[str, ...]:
        return tuple(name.strip() for name in self.key.split(",") if name.strip())


@dataclass(frozen=True, slots=True)
class RelevanceArguments:
    """One run of the job.

    Attributes:
        stream: URI of the folder with ``delivery_date=.../delivery_hour=.../`` directories.
        output: URI of the folder for statistics, scores and the manifest that names the valid ones.
        history: URI of a snapshot's Parquet, for logs from before the stream; empty for none.
        half_life_days: after so many days a search counts half.
        window_days: older hours do not count at all.
        min_users: pairs shown to fewer distinct users never leave the job (k-anonymity).
        max_position: deeper results count as shown here.
        satisfied_seconds: a click with this dwell time counts fully (Fox et al., 2005: 30 s).
        short_click_weight: what a click with no dwell time at all counts.
        unknown_dwell_weight: what a click counts whose dwell time is missing.
        scorer: ``module:function`` from evidence to scores; see ``spark.scoring``.
        as_of: ISO time up to which searches count; empty for the end of the newest hour.
        drop_expired: take logs out that time to live has removed from the table.
    """

    stream: str
    output: str
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
                f"Not usable: {', '.join(wrong)}. Counts and times are positive, weights lie "
                "between 0 and 1, a scorer is module:function."
            )
        if self.as_of:
            self.as_of_hour()

    def as_of_hour(self) -> int | None:
        """``as_of`` in hours since the epoch, rounded up; None where it is not given."""
        if not self.as_of:
            return None
        try:
            moment = datetime.fromisoformat(self.as_of.replace("Z", "+00:00"))
        except ValueError:
            raise RelevanceError(f"--as-of {self.as_of!r} is not an ISO time.") from None
        moment = moment if moment.tzinfo else moment.replace(tzinfo=timezone.utc)
        return -int(-moment.timestamp() // 3600)

    def statistics_digest(self) -> str:
        """Changes whenever an hour's statistics have to be computed anew."""
        names = ("history", "max_position", "min_users", "satisfied_seconds")
        weights = ("short_click_weight", "unknown_dwell_weight", "drop_expired")
        chosen = {name: getattr(self, name) for name in (*names, *weights)}
        return _digest([STATISTICS_FORMAT, asdict(self.columns), chosen])

    def scores_digest(self) -> str:
        """Changes whenever the same statistics give other scores."""
        names = ("half_life_days", "window_days", "min_users", "scorer", "as_of")
        return _digest([self.statistics_digest(), [getattr(self, name) for name in names]])

    def command_line(self) -> list[str]:
        """The arguments that :func:`parse` reads this from; what is as by default is left out."""
        words: list[str] = []
        for flag, value, default in _flags(self):
            if value == default:
                continue
            words += [flag] if value is True else [flag, str(value)]
        return words


def parse(argv: Sequence[str]) -> RelevanceArguments:
    """Read a command line.

    Raises:
        RelevanceError: a value is not usable.
        SystemExit: an argument is unknown or missing; argparse has said which.
    """
    parser = argparse.ArgumentParser(
        prog="relevance", description="Relevance of documents to queries from search logs."
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
