"""Simulated, anonymised logs of searches, as items that the demo writes to DynamoDB.

The items have what makes real tables hard to bring into a lake: sets, numbers that a double cannot
represent, attributes that only some items have, and types that a crawler cannot know.
"""

import hashlib
import hmac
import math
import os
import random
import secrets
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from ddb_pipeline.dynamodb.values import AttributeValue, Item
from ddb_pipeline.errors import DdbPipelineError

TOPICS = (
    "running shoes,trail running shoes,marathon shoes,shoes women,waterproof boots",
    "espresso machine,coffee grinder,milk frother,coffee beans,moka pot",
    "standing desk,office chair,monitor arm,desk lamp,ergonomic keyboard",
    "rain jacket,down jacket,softshell,winter coat,wool socks",
    "board games,puzzle 1000,chess set,card games,dice",
    "road bike,bike helmet,bike lights,tubeless tyres,cargo bike",
)
QUERIES = tuple(query for topic in TOPICS for query in topic.split(","))
FILTERS = ("in-stock", "free-delivery", "new", "sale", "rated-4-up", "local", "refurbished")
DEVICES = (("phone", "android"), ("phone", "ios"), ("desktop", "linux"), ("desktop", "windows"))
LANGUAGES = ("en", "de", "fr", "es", "pt", "ja", "ar")
DOCUMENTS_PER_QUERY = 24
RESULTS_SHOWN = 10
RESULTS_ON_PHONES = 5
SUGGESTIONS_SHARE = 0.5
"""Share of the items that log suggestions shown while a user typed; they have no results."""
FIRST_DOCUMENT_ID = 9_007_199_254_740_993
"""2^53 + 1: the first integer that a double cannot hold."""
POSITION_BIAS = 0.9
"""A user looks at a position with the probability ``1 / (position ** POSITION_BIAS)``."""
PSEUDONYM_KEY_FILE = "demo-pseudonym.key"
PSEUDONYM_KEY_BYTES = 32


@dataclass(frozen=True, slots=True)
class Visitor:
    """The user who searched. Items contain pseudonyms of these values only."""

    account: str
    address: str


def pseudonym(key: bytes, kind: str, identifier: str) -> str:
    """Return a keyed hash (HMAC-SHA256) of an identifier.

    Equal identifiers of one kind have equal pseudonyms; without the key nobody can compute which
    identifier belongs to a pseudonym.
    """
    message = f"{kind}\0{identifier}".encode()
    return hmac.new(key, message, hashlib.sha256).hexdigest()[:24]


def demo_pseudonym_key(home: Path) -> bytes:
    """Read the demo's secret key from the pipelines' home folder.

    The first call creates the key in a file that only its owner can read. A shorter file is not a
    key and is replaced.

    Raises:
        DdbPipelineError: the file cannot be read or written.
    """
    path = home / PSEUDONYM_KEY_FILE
    try:
        home.mkdir(mode=0o700, parents=True, exist_ok=True)
        if not path.exists() or path.stat().st_size < PSEUDONYM_KEY_BYTES:
            path.unlink(missing_ok=True)
            _create_key(path)
        path.chmod(0o600)
        return path.read_bytes()
    except OSError as error:
        raise DdbPipelineError(
            f"{path} cannot be read and written ({error.strerror}). Make it so, or set "
            "DDB_PIPELINE_HOME to another folder."
        ) from error


def _create_key(path: Path) -> None:
    """Create a key file whole in one step, unless another process has done so meanwhile."""
    partial = path.with_name(f"{path.name}.{os.getpid()}")
    partial.unlink(missing_ok=True)
    descriptor = os.open(partial, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    try:
        with open(descriptor, "wb") as file:
            file.write(secrets.token_bytes(PSEUDONYM_KEY_BYTES))
        os.link(partial, path)
    except FileExistsError:
        pass
    finally:
        partial.unlink()


def relevance(query: int, document: int) -> float:
    """Return a document's true relevance to a query, from 0 to 1.

    Users click by it and no item contains it, so that computed scores can be compared with it.
    """
    digest = hashlib.sha256(f"{query}/{document}".encode()).digest()
    return (int.from_bytes(digest[:4], "big") / 2**32) ** 2


def document_id(query: int, document: int) -> int:
    """Return the identifier of the query's document with this number."""
    return FIRST_DOCUMENT_ID + 1000 * query + document


class SearchLogs:
    """Generates log items; two generators with the same arguments generate the same items.

    Args:
        seed: seed of the random numbers.
        key: key of the pseudonyms.
        with_refinements: whether items have ``refinements``, a set attribute that an application
            begins to write later.
        suggestions: share of the items that log suggestions instead of searches.
    """

    def __init__(
        self,
        seed: int,
        key: bytes,
        *,
        with_refinements: bool = False,
        suggestions: float = SUGGESTIONS_SHARE,
    ) -> None:
        self._random = random.Random(seed)
        self._key = key
        self._run = f"{seed:x}"
        self._count = 0
        self.with_refinements = with_refinements
        self._suggestions = suggestions

    def items(self, count: int, now: float) -> Iterator[Item]:
        """Generate ``count`` items of searches at ``now`` (epoch seconds)."""
        for _ in range(count):
            self._count += 1
            yield self._item(now)

    def _item(self, now: float) -> Item:
        rng = self._random
        visitor = _visitor(rng)
        query = min(int(rng.expovariate(0.18)), len(QUERIES) - 1)
        item: dict[str, AttributeValue] = {
            "log_id": {"S": f"{self._run}-{self._count:09d}"},
            "user": {"S": pseudonym(self._key, "user", visitor.account)},
            "session": {
                "S": pseudonym(self._key, "session", f"{visitor.account}/{int(now) // 1800}")
            },
            "searched_at": {"N": str(int(now * 1000))},
            "total_hits": {"N": str(rng.randrange(RESULTS_SHOWN, 20_000))},
            "latency_ms": {"N": f"{rng.lognormvariate(3.2, 0.5):.3f}"},
        }
        if rng.random() < self._suggestions:
            item |= _suggestion(rng, query)
        else:
            item |= _search(rng, query)
            item["network"] = {"S": pseudonym(self._key, "network", visitor.address)}
        if self.with_refinements:
            item["refinements"] = {"SS": sorted(rng.sample(QUERIES, 2))}
        return item


def _suggestion(rng: random.Random, query: int) -> Item:
    """The attributes of a log of suggestions for the first letters of a query."""
    offered = {QUERIES[query], *rng.sample(QUERIES, 2)}
    return {
        "kind": {"S": "suggestion"},
        "query": {"S": QUERIES[query][: rng.randrange(2, 6)]},
        "suggested": {"SS": sorted(offered)},
    }


def _search(rng: random.Random, query: int) -> Item:
    """The attributes of a log of a search."""
    device = _device(rng)
    phone = device["kind"]["S"] == "phone"
    shown = _ranked(rng, query)[: RESULTS_ON_PHONES if phone else RESULTS_SHOWN]
    clicks = _clicks(rng, query, shown)
    item: dict[str, AttributeValue] = {
        "kind": {"S": "search"},
        "query": {"S": QUERIES[query]},
        "index_generation": {"N": str(10**30 + query)},
        "results": {"L": [_result(rng, query, p, d) for p, d in enumerate(shown, start=1)]},
        "clicks": {"L": clicks},
        "device": {"M": device},
        "trace": {"B": rng.randbytes(12)},
        "referrer": {"NULL": True} if rng.random() < 0.4 else {"S": "newsletter"},
    }
    filters = {name for name in FILTERS if rng.random() < 0.2}
    if filters:
        item["filters"] = {"SS": sorted(filters)}
    if clicks:
        item["clicked_documents"] = {"NS": [c["M"]["document"]["N"] for c in clicks]}
    if rng.random() < 0.1:
        item["experiment"] = {"M": _experiment(rng)}
    return item


def _visitor(rng: random.Random) -> Visitor:
    number = min(int(rng.paretovariate(0.6)), 5000)
    return Visitor(f"customer-{number}@example.com", f"198.51.100.{number % 250}")


def _ranked(rng: random.Random, query: int) -> list[int]:
    """The documents shown, best first: ordered by relevance with a normal error."""
    noisy = {d: relevance(query, d) + rng.gauss(0, 0.35) for d in range(DOCUMENTS_PER_QUERY)}
    return sorted(noisy, key=lambda d: -noisy[d])[:RESULTS_SHOWN]


def _result(rng: random.Random, query: int, position: int, document: int) -> AttributeValue:
    return {
        "M": {
            "document": {"N": str(document_id(query, document))},
            "position": {"N": str(position)},
            "score": {"N": f"{relevance(query, document) + rng.random():.12f}"},
        }
    }


def _clicks(rng: random.Random, query: int, shown: list[int]) -> list[AttributeValue]:
    clicks: list[AttributeValue] = []
    for position, document in enumerate(shown, start=1):
        looked_at = rng.random() < 1 / position**POSITION_BIAS
        true = relevance(query, document)
        if looked_at and rng.random() < 0.05 + 0.85 * true:
            dwell = int(1000 * math.exp(rng.gauss(1.2 + 2.2 * true, 0.6)))
            clicks.append(
                {
                    "M": {
                        "document": {"N": str(document_id(query, document))},
                        "position": {"N": str(position)},
                        "dwell_ms": {"N": str(dwell)},
                    }
                }
            )
    return clicks


def _device(rng: random.Random) -> dict[str, AttributeValue]:
    kind, system = rng.choice(DEVICES)
    return {
        "kind": {"S": kind},
        "system": {"S": system},
        "languages": {"SS": sorted(rng.sample(LANGUAGES, rng.randrange(1, 3)))},
        "screen": {
            "M": {
                "width": {"N": str(rng.choice((390, 1280, 1920)))},
                "height": {"N": str(rng.choice((844, 800, 1080)))},
            }
        },
    }


def _experiment(rng: random.Random) -> dict[str, AttributeValue]:
    return {
        "name": {"S": "ranker-v2"},
        "arm": {"S": rng.choice(("control", "treatment"))},
        "buckets": {"NS": [str(bucket) for bucket in sorted(rng.sample(range(100), 3))]},
    }
