"""Simulated search logs with known relevance, as Parquet of the lake: for tests and a benchmark.

A ranker shows results with some error. A user looks at a position with a probability that falls
with the position, and clicks a result by its relevance or by mistake. The logs contain only what
was shown and clicked.
"""

import math
import random
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from datetime import datetime, timezone
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

FIRST_HOUR = 1_790_000_000 // 3600
"""The hour of the first logs, since the epoch."""
FIRST_DOCUMENT = 2**53 + 1

RESULT = pa.struct([("document", pa.int64()), ("position", pa.int64()), ("score", pa.float64())])
CLICK = pa.struct([("document", pa.int64()), ("position", pa.int64()), ("dwell_ms", pa.int64())])
SCHEMA = pa.schema(
    [
        ("log_id", pa.string()),
        ("user", pa.string()),
        ("query", pa.string()),
        ("searched_at", pa.int64()),
        ("results", pa.list_(RESULT)),
        ("clicks", pa.list_(CLICK)),
    ]
)
Row = dict[str, Any]


@dataclass(frozen=True)
class Planted:
    """The simulation's parameters and its true relevance.

    Attributes:
        bias: a user looks at a position with the probability ``1 / position ** bias``.
        noise: probability that a user who looks clicks regardless of relevance.
        ranker_error: standard deviation of the ranker's lasting error about a document.
        ranker_noise: standard deviation of its error in a single search.
        pinned: number of documents of each query that are shown first, relevant or not.
        pinned_share: share of the searches in which they are.
        popularity: exponent of Zipf's law over queries.
        truth: the relevance of each pair, from 0 to 1.
        believed: the relevance that the ranker assumes.
    """

    seed: int
    bias: float = 1.2
    noise: float = 0.05
    ranker_error: float = 0.3
    ranker_noise: float = 0.3
    pinned: int = 2
    pinned_share: float = 0.8
    queries: int = 60
    documents: int = 40
    shown: int = 10
    users: int = 4000
    popularity: float = 0.8
    hours: int = 24
    truth: dict[tuple[int, int], float] = field(default_factory=dict, repr=False)
    believed: dict[tuple[int, int], float] = field(default_factory=dict, repr=False)

    def __post_init__(self) -> None:
        rng = random.Random(f"truth {self.seed}")
        for query in range(self.queries):
            for document in range(self.documents):
                true = rng.random() ** 2
                self.truth[query, document] = true
                self.believed[query, document] = true + rng.gauss(0, self.ranker_error)

    def examination(self, position: int) -> float:
        """Return the probability that a user looks at a position."""
        return float(1 / position**self.bias)

    def document_id(self, query: int, document: int) -> int:
        """Return a document's identifier in the logs."""
        return FIRST_DOCUMENT + 1000 * query + document

    def query_text(self, query: int) -> str:
        """Return a query's text in the logs."""
        return f"query {query}"

    def rows(self, count: int) -> Iterator[tuple[int, Row]]:
        """Simulate ``count`` searches; yield each with its hour since the epoch."""
        rng = random.Random(f"searches {self.seed}")
        weights = [1 / (1 + query) ** self.popularity for query in range(self.queries)]
        chosen = rng.choices(range(self.queries), weights, k=count)
        for index, query in enumerate(chosen):
            hour = FIRST_HOUR + index * self.hours // count
            yield hour, self._row(rng, index, query, hour)

    def _row(self, rng: random.Random, index: int, query: int, hour: int) -> Row:
        shown = self._ranking(rng, query)
        clicks = []
        for position, document in enumerate(shown, start=1):
            true = self.truth[query, document]
            attraction = self.noise + (1 - self.noise) * true
            if rng.random() < self.examination(position) and rng.random() < attraction:
                dwell = int(1000 * math.exp(rng.gauss(1.2 + 2.2 * true, 0.6)))
                clicks.append(
                    {
                        "document": self.document_id(query, document),
                        "position": position,
                        "dwell_ms": dwell,
                    }
                )
        return {
            "log_id": f"{self.seed}-{index:08d}",
            "user": f"{rng.randrange(self.users):024x}",
            "query": self.query_text(query),
            "searched_at": 3_600_000 * hour + rng.randrange(3_600_000),
            "results": [
                {
                    "document": self.document_id(query, document),
                    "position": position,
                    "score": self.truth[query, document],
                }
                for position, document in enumerate(shown, start=1)
            ],
            "clicks": clicks,
        }

    def _ranking(self, rng: random.Random, query: int) -> list[int]:
        believed = {
            d: self.believed[query, d] + rng.gauss(0, self.ranker_noise)
            for d in range(self.documents)
        }
        first = list(range(self.pinned if rng.random() < self.pinned_share else 0))
        # The order of pinned documents varies, as in rotating campaigns.
        rng.shuffle(first)
        others = sorted(believed.keys() - set(first), key=lambda d: -believed[d])
        return [*first, *others][: self.shown]


def hour_folder(stream: Path, hour: int) -> Path:
    """Return the folder of an hour since the epoch."""
    moment = datetime.fromtimestamp(hour * 3600, tz=timezone.utc)
    return stream / f"delivery_date={moment:%Y-%m-%d}" / f"delivery_hour={moment:%H}"


def write_hour(
    stream: Path,
    hour: int,
    rows: Sequence[Row],
    name: str = "part-0",
    schema: pa.Schema = SCHEMA,
) -> Path:
    """Write rows as one Parquet file of an hour since the epoch."""
    folder = hour_folder(stream, hour)
    folder.mkdir(parents=True, exist_ok=True)
    path = folder / f"{name}.parquet"
    pq.write_table(pa.Table.from_pylist(list(rows), schema), path)
    return path


def write_logs(stream: Path, planted: Planted, count: int) -> None:
    """Write ``count`` simulated searches, one file an hour."""
    by_hour: dict[int, list[Row]] = {}
    for hour, row in planted.rows(count):
        by_hour.setdefault(hour, []).append(row)
    for hour, rows in by_hour.items():
        write_hour(stream, hour, rows)
