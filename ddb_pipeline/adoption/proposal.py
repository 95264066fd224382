"""The configuration that suits a table as it is, and the decisions that are left to its owner."""

import re
from collections.abc import Collection, Iterable, Sequence
from dataclasses import dataclass
from datetime import datetime
from hashlib import sha256
from typing import Any

from ddb_pipeline.adoption.tables import READERS_OF_A_STREAM, LookedAt, TableFacts
from ddb_pipeline.config.names import CATALOG_SUFFIXES, default_names, resource_stem
from ddb_pipeline.config.type_conflicts import suggested_line
from ddb_pipeline.glue.crawled_table import catalog_table_name
from ddb_pipeline.hive.infer import (
    InferenceOptions,
    InferredSchema,
    TooManyAttributesError,
    inferred_schema,
)

LONGEST_NAME = 40
LONGEST_BUCKET = 63
DAILY_CRAWL_BYTES = 50e9
SPARK_BYTES = 100e9
"""Sizes of a table above which a crawl each day, and a conversion of exports on one machine, take
long and cost much."""
DAILY_CRAWL = "30 2 * * *"
WEEKLY_CRAWL = "30 2 * * 0"
READ_UNIT_BYTES = 8192
"""An eventually consistent read of 8 KB consumes one unit (DynamoDB developer guide)."""
SHOWN_PATHS = 5
SHOWN_CONFLICTS = 20


@dataclass(frozen=True, slots=True)
class Place:
    """Where the lake is to be.

    Attributes:
        account: the account's id, which makes proposed bucket names unique.
        bucket: an existing bucket for all pipelines; empty: each pipeline gets its own.
        prefix: what the keys of all objects in it begin with.
        database: the Glue database of all pipelines; empty: each pipeline has its own.
        databases: the databases that exist.
        catalog_tables: names of the tables that exist in ``database``.
        region: the region, where it is another one than the configuration's.
    """

    account: str
    bucket: str = ""
    prefix: str = ""
    database: str = ""
    databases: frozenset[str] = frozenset()
    catalog_tables: frozenset[str] = frozenset()
    region: str = ""


@dataclass(frozen=True, slots=True)
class Setting:
    """A key of the configuration, with its value and why it has it.

    Attributes:
        decide: whether the owner of the table is to decide; ``why`` then says about what.
    """

    key: str
    value: Any
    why: str = ""
    decide: bool = False


@dataclass(frozen=True, slots=True)
class Note:
    """What the table's owner should know, or, with ``decide``, decide; no value changes by it."""

    text: str
    decide: bool = False


@dataclass(frozen=True, slots=True)
class Proposal:
    """The configuration of one pipeline.

    Attributes:
        header: what the table is.
        off: why there is no pipeline for the table as it is; the settings are then comments.
    """

    header: tuple[str, ...]
    settings: tuple[Setting, ...]
    notes: tuple[Note, ...] = ()
    off: str = ""

    @property
    def name(self) -> str:
        """The pipeline's name."""
        return str(next(each.value for each in self.settings if each.key == "name"))

    @property
    def decisions(self) -> int:
        """How many decisions are left to the table's owner."""
        settings = sum(each.decide for each in self.settings)
        return settings + sum(each.decide for each in self.notes) + bool(self.off)


def propose(
    tables: Sequence[LookedAt], place: Place, start: datetime, taken: Iterable[str] = ()
) -> list[Proposal]:
    """The configuration of a pipeline for each table.

    Args:
        tables: the tables.
        place: where the lake is to be.
        start: the first hour of the lake's partitions.
        taken: names of pipelines that are configured already.
    """
    names = set(taken)
    catalog_tables = set(place.catalog_tables)
    proposals = []
    for table in tables:
        name = pipeline_name(table.facts.name, names)
        names.add(name)
        prefix = table_prefix(table.facts.name, catalog_tables) if place.database else ""
        catalog_tables |= derived_tables(table.facts.name, prefix)
        proposals.append(_proposal(table, place, name, prefix, start))
    return proposals


def pipeline_name(table: str, taken: Collection[str]) -> str:
    """A pipeline's name for a table: its own in lower case, with a hash where it needs one."""
    text = re.sub(r"[^a-z0-9]+", "_", table.lower()).strip("_")
    if not re.match(r"[a-z]", text):
        text = f"t_{text}".rstrip("_")
    if len(text) < 3:
        text = f"{text}_{_hash(table)}"
    if len(text) > LONGEST_NAME or text in taken:
        text = f"{text[: LONGEST_NAME - 7].rstrip('_')}_{_hash(table)}"
    return text


def _hash(table: str) -> str:
    return sha256(table.encode()).hexdigest()[:6]


def derived_tables(table: str, prefix: str) -> set[str]:
    """The names of all catalog tables that a pipeline of this table writes."""
    return {catalog_table_name(table, prefix) + suffix for suffix in CATALOG_SUFFIXES}


def table_prefix(table: str, existing: Collection[str]) -> str:
    """A prefix with which the pipeline's catalog tables are none of the existing ones."""
    taken = set(existing)
    candidates = ("", f"t{_hash(table)}_")
    return next((each for each in candidates if not derived_tables(table, each) & taken), "")


def _proposal(
    looked_at: LookedAt, place: Place, name: str, prefix: str, start: datetime
) -> Proposal:
    facts = looked_at.facts
    settings = (
        Setting("name", name),
        *([Setting("region", place.region)] if place.region else []),
        Setting("dynamodb_table", facts.name),
        Setting("existing_table", True, "The stack does not create it; deploy finds its stream."),
        *_bucket(facts, place, name),
        *_database(place, name, prefix),
        Setting("start", f"{start:%Y-%m-%dT%H:00:00Z}", "First hour of the lake's partitions."),
        *_exports(facts),
        *_crawls(facts),
    )
    off = "" if facts.streams_whole_items else _stream_missing(facts)
    return Proposal(_header(facts), settings, tuple(_notes(looked_at)), off)


def _header(facts: TableFacts) -> tuple[str, ...]:
    keys = ", ".join(f"{name} ({tag})" for name, tag in facts.keys)
    recovery = {True: "on", False: "off", None: "not readable"}[facts.recovery]
    return (
        f"{facts.name}: key {keys}; {facts.items:,} items, {_size(facts.size_bytes)}",
        f"stream {facts.stream_view or 'off'}, point-in-time recovery {recovery}",
    )


def _size(size: float) -> str:
    for unit in ("bytes", "KB", "MB", "GB"):
        if size < 1000:
            return f"{size:,.0f} {unit}"
        size /= 1000
    return f"{size:,.1f} TB"


def _stream_missing(facts: TableFacts) -> str:
    command = f"ddb-pipeline enable-stream {facts.name}"
    if not facts.stream_arn:
        return (
            f"The table has no stream. Turn it on, then remove the # before the lines:\n{command}"
        )
    return (
        f"The stream has {facts.stream_view} and no old or no new images. A stream's view cannot "
        "be changed: replace it when its readers allow it, then remove the # before the lines:\n"
        f"{command} --replace"
    )


def _bucket(facts: TableFacts, place: Place, name: str) -> tuple[Setting, ...]:
    if place.bucket:
        folder = "/".join(part for part in (place.prefix.strip("/"), name) if part)
        return (
            Setting("bucket", place.bucket),
            Setting("existing_bucket", True, "The stack does not create it."),
            Setting("lake_prefix", folder, "What the keys of all objects begin with."),
        )
    stem = resource_stem(name)
    bucket = f"{stem[: LONGEST_BUCKET - 6 - len(place.account)].rstrip('-')}-lake-{place.account}"
    return (Setting("bucket", bucket, "The stack creates it."),)


def _database(place: Place, name: str, prefix: str) -> tuple[Setting, ...]:
    database = place.database or default_names(name)["database"]
    exists = database in place.databases
    if not exists and not place.database:
        return ()
    why = "It exists; the stack does not create it." if exists else "The first stack creates it."
    settings = [Setting("database", database), Setting("existing_database", exists, why)]
    if prefix:
        why = "Without it, a catalog table of the pipeline would have the name of another one."
        settings.append(Setting("table_prefix", prefix, why))
    return tuple(settings)


def _exports(facts: TableFacts) -> tuple[Setting, ...]:
    if facts.recovery is not False:
        return ()
    why = (
        "Without point-in-time recovery a snapshot is a scan, which consumes "
        f"{_read_units(facts):,} read units, and what the stream loses cannot be recovered. To "
        "turn it on, run this command and delete the two lines below it:\n"
        f"aws dynamodb update-continuous-backups --region {facts.arn.split(':')[3]} --table-name "
        f"{facts.name} --point-in-time-recovery-specification PointInTimeRecoveryEnabled=true"
    )
    return (
        Setting("export_with", "scan", why, decide=True),
        Setting("gap_policy", "report"),
    )


def _read_units(facts: TableFacts) -> int:
    return max(1, round(facts.size_bytes / READ_UNIT_BYTES))


def _crawls(facts: TableFacts) -> tuple[Setting, ...]:
    daily = facts.size_bytes <= DAILY_CRAWL_BYTES
    why = (
        "UTC. A crawl is billed for ten minutes at least, and reads the whole table, "
        f"{_read_units(facts):,} read units. A record with an attribute that has no column is held "
        "and starts a crawl by itself."
    )
    return (Setting("crawl_schedule", DAILY_CRAWL if daily else WEEKLY_CRAWL, why),)


def _notes(looked_at: LookedAt) -> Iterable[Note]:
    facts = looked_at.facts
    readers = facts.functions
    if readers is not None and len(readers) >= READERS_OF_A_STREAM:
        yield Note(
            f"{len(readers)} functions read the stream already ({', '.join(readers)}). DynamoDB "
            f"allows {READERS_OF_A_STREAM} readers of a shard; with another one all are throttled.",
            decide=True,
        )
    if facts.size_bytes >= SPARK_BYTES:
        yield Note(
            "The snapshot of a table of this size is converted on one machine, unless "
            "[pipelines.spark] has emr_serverless = true and snapshot_from_gb. See README.",
            decide=True,
        )
    if facts.kms_key:
        yield Note(
            f"The table is encrypted with {facts.kms_key}: Dagster's role and the streaming "
            "function's need kms:Decrypt with it."
        )
    if facts.expires_by:
        yield Note(
            f"Items expire by {printable(facts.expires_by)}. Expired items are deletes with "
            "ddb_expired = true."
        )
    if facts.replicas:
        yield Note(
            f"The table is a global table, with replicas in {', '.join(facts.replicas)}. This "
            "replica's stream has the changes of all; one pipeline is enough."
        )
    yield from _sample_notes(looked_at)


def _sample_notes(looked_at: LookedAt) -> Iterable[Note]:
    if looked_at.problem:
        yield Note(f"No sample was read: {looked_at.problem}")
    items = looked_at.sample.items
    if not items:
        return
    try:
        keys = tuple(name for name, _ in looked_at.facts.keys)
        schema = inferred_schema(looked_at.sample, InferenceOptions(keys))
    except TooManyAttributesError as error:
        yield Note(str(error), decide=True)
        return
    yield Note(f"A sample of {items:,} items has {len(schema.columns):,} columns.")
    yield from _type_notes(schema)


def _type_notes(schema: InferredSchema) -> Iterable[Note]:
    if schema.conflicts:
        lines = (printable(suggested_line(each)) for each in schema.conflicts[:SHOWN_CONFLICTS])
        rest = len(schema.conflicts) - SHOWN_CONFLICTS
        more = f" {rest:,} more have, which the check type_conflicts lists." if rest > 0 else ""
        yield Note(
            "These attributes have values of several types (numbers of values in the sample), and "
            f"become text.{more} To decide otherwise, about some or all, remove the # before the "
            "lines; besides split there are text, wider and refuse (README, Attributes of several "
            "types):\n" + "\n".join(("[pipelines.type_conflicts]", *lines)),
            decide=True,
        )
    if schema.data_key_paths:
        paths = ", ".join(map(printable, schema.data_key_paths[:SHOWN_PATHS]))
        yield Note(f"The keys of these maps look like data, so that they become maps: {paths}")
    if schema.untyped:
        paths = ", ".join(map(printable, schema.untyped[:SHOWN_PATHS]))
        yield Note(f"All values are null or empty, so that there is no column yet: {paths}")


def printable(text: str) -> str:
    """Text from the account's data in one line, without characters that a terminal interprets."""
    return "".join(c if c.isprintable() else c.encode("unicode_escape").decode() for c in text)
