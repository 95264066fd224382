"""A configuration compared with its account: what is read, and which checks decide about it."""

import math
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any

from botocore.exceptions import ClientError

from ddb_pipeline.adoption import checks
from ddb_pipeline.adoption.account import (
    NotReadable,
    bucket_facts,
    database_grants,
    read,
    usages,
    written_units_a_day,
)
from ddb_pipeline.adoption.costs import Load
from ddb_pipeline.adoption.findings import Finding, Level
from ddb_pipeline.adoption.permissions import (
    SimulationError,
    denied_statements,
    is_root,
    role_of,
)
from ddb_pipeline.adoption.policy import dagster_statements
from ddb_pipeline.adoption.tables import TableFacts, look_at
from ddb_pipeline.client_errors import error_code
from ddb_pipeline.config.lake_stack import LakeConfig
from ddb_pipeline.config.names import CATALOG_SUFFIXES, crawled_table
from ddb_pipeline.config.pipeline import PipelineConfig
from ddb_pipeline.deploy.stack import find_stack
from ddb_pipeline.glue.crawled_table import dynamodb_error

ITEM_BYTES = 1_000.0
"""Size of an item where the table has none yet."""
WRITE_UNIT_BYTES = 1024

Clients = Callable[[str], Any]
"""Makes a client of a service."""


@dataclass(frozen=True, slots=True)
class Inspected:
    """A pipeline, its table (None if it does not exist), and what was found."""

    pipeline: PipelineConfig
    table: TableFacts | None
    deployed: bool
    findings: tuple[Finding, ...]


class Inspector:
    """Compares pipelines with an account; what pipelines share is read once."""

    def __init__(self, clients: Clients, region: str, lake: LakeConfig | None = None) -> None:
        self._clients = clients
        self._region = region
        self._lake = lake
        self._read: dict[tuple[str, str], Any] = {}

    def inspect(self, pipeline: PipelineConfig) -> Inspected:
        """Look at all that one pipeline uses.

        Raises:
            CrawlError: its table may not be described.
        """
        clients = self._clients
        deployed = self._has_stack(pipeline.stack)
        shared, shared_deployed = self._shared(pipeline, deployed)
        table = table_or_none(clients, pipeline.dynamodb_table)
        bucket = self._once("bucket", pipeline.bucket, partial(bucket_facts, clients("s3")))
        grants = self._grants(pipeline)
        exists = self._once("database", pipeline.database, self._database_exists)
        findings = [
            *checks.table_findings(pipeline, table, deployed=deployed),
            *checks.bucket_findings(shared, bucket, self._region, deployed=shared_deployed),
            *checks.database_findings(
                shared, exists=exists, deployed=shared_deployed, grants=grants
            ),
            *checks.version_findings(pipeline, self._versions(pipeline)),
        ]
        return Inspected(pipeline, table, deployed, tuple(findings))

    def account(self, new: int) -> list[Finding]:
        """Look at the quotas that ``new`` stacks need."""
        return list(checks.quota_findings(usages(self._clients), new))

    def permissions(
        self, pipelines: Sequence[PipelineConfig], account: str, role: str
    ) -> Iterator[Finding]:
        """Look at what a role is denied of Dagster's policy."""
        if is_root(role):
            yield Finding(Level.OK, "", "permissions", f"{role} is the root user, who may do all.")
            return
        statements = dagster_statements(pipelines, self._region, account)
        principal = role_of(role)
        try:
            denied = list(denied_statements(self._clients("iam"), principal, statements))
        except SimulationError as error:
            text = f"{principal} could not be simulated: {error}"
            fix = "Grant iam:SimulatePrincipalPolicy, or compare with: ddb-pipeline policy"
            yield Finding(Level.UNKNOWN, "", "permissions", text, fix)
            return
        yield from checks.permission_findings(denied)
        if not denied:
            count = len({action for each in statements for action in each.actions})
            text = f"{principal} may do all {count} actions that Dagster needs."
            yield Finding(Level.OK, "", "permissions", text)

    def load(self, inspected: Inspected, rate: float | None, item_bytes: float | None) -> Load:
        """What a pipeline has to do: at a given rate of items a day, or at that of its metrics."""
        table = inspected.table
        items, size = (table.items, table.size_bytes) if table else (0, 0)
        average = item_bytes or (size / items if items else ITEM_BYTES)
        if rate is not None:
            return Load(rate, average, size, "the given rate")
        name = inspected.pipeline.dynamodb_table
        units = read(lambda: written_units_a_day(self._clients("cloudwatch"), name))
        if isinstance(units, NotReadable) or units is None:
            why = "it has no metric" if units is None else units.reason
            return Load(0.0, average, size, f"no rate: {why}; give --items-per-day")
        per_item = math.ceil(average / WRITE_UNIT_BYTES)
        return Load(units / per_item, average, size, "ConsumedWriteCapacityUnits of seven days")

    def _has_stack(self, stack: str) -> bool:
        return find_stack(self._clients("cloudformation"), stack) is not None

    def _shared(self, pipeline: PipelineConfig, deployed: bool) -> tuple[PipelineConfig, bool]:
        """The pipeline as if its stack made what its lake's stack makes, and whether it is made."""
        lake = self._lake
        if lake is None or pipeline.lake_name != lake.name:
            return pipeline, deployed
        made = {
            "existing_bucket": lake.existing_bucket,
            "existing_database": lake.existing_database,
        }
        return pipeline.model_copy(update=made), self._has_stack(lake.stack)

    def _grants(self, pipeline: PipelineConfig) -> Any:
        if pipeline.catalog_id:
            return NotReadable(f"It is that of account {pipeline.catalog_id}")
        call = partial(database_grants, self._clients("lakeformation"))
        return self._once("grants", pipeline.database, call)

    def _once(self, kind: str, name: str, call: Callable[[str], Any]) -> Any:
        if (kind, name) not in self._read:
            self._read[kind, name] = read(partial(call, name))
        return self._read[kind, name]

    def _database_exists(self, name: str) -> bool:
        try:
            self._clients("glue").get_database(Name=name)
        except ClientError as error:
            if error_code(error) == "EntityNotFoundException":
                return False
            raise
        return True

    def _versions(self, pipeline: PipelineConfig) -> Mapping[str, int]:
        glue, found = self._clients("glue"), {}
        crawled = crawled_table(pipeline)
        for name in (crawled.name + suffix for suffix in CATALOG_SUFFIXES[:2]):
            answer = read(partial(glue.get_table, DatabaseName=crawled.database, Name=name))
            if not isinstance(answer, NotReadable):
                version = str(answer["Table"].get("VersionId") or "")
                found[f"{crawled.database}.{name}"] = int(version) if version.isdigit() else 0
        return found


def table_or_none(clients: Clients, name: str) -> TableFacts | None:
    """A table; None if it does not exist.

    Raises:
        CrawlError: it may not be described.
    """
    dynamodb = clients("dynamodb")
    try:
        dynamodb.describe_table(TableName=name)
    except ClientError as error:
        if error_code(error) == "ResourceNotFoundException":
            return None
        raise dynamodb_error(error, name) from error
    return look_at(dynamodb, clients("lambda"), name).facts


def problems(findings: Iterable[Finding]) -> list[Finding]:
    """The findings that are not in order, the worst first."""
    order = [Level.ERROR, Level.WARNING, Level.UNKNOWN]
    found = [each for each in findings if each.level is not Level.OK]
    return sorted(found, key=lambda each: order.index(each.level))
