"""The states of a catalog table of each pipeline, in the catalog that has it."""

from collections import defaultdict
from collections.abc import Callable, Sequence

from ddb_pipeline.config.pipeline import PipelineConfig
from ddb_pipeline.glue.catalog import TableReference
from ddb_pipeline.glue.watch import TableState, TableStates
from ddb_pipeline.hive.type_decisions import TypeDecisions
from ddb_pipeline.resources.cloud import CloudResource

Catalog = tuple[str, str]
"""Region and account; the account is empty for the own."""


class CatalogStates:
    """The states of tables, by one listing of each database in each catalog."""

    def __init__(
        self,
        cloud: CloudResource,
        pipelines: Sequence[PipelineConfig],
        table_of: Callable[[PipelineConfig], TableReference],
    ) -> None:
        self._cloud = cloud
        self._table_of = table_of
        self._decisions: dict[Catalog, dict[TableReference, TypeDecisions]] = defaultdict(dict)
        for each in pipelines:
            self._decisions[catalog_of(each)][table_of(each)] = each.type_decisions
        self._states: dict[Catalog, TableStates] = {}

    def find(self, pipeline: PipelineConfig) -> TableState | None:
        """The state of a pipeline's table; None where it does not exist.

        Raises:
            CatalogError: ``glue:GetTables`` is denied or fails.
        """
        place = catalog_of(pipeline)
        if place not in self._states:
            glue, decisions = self._cloud.for_pipeline(pipeline).glue, self._decisions[place]
            self._states[place] = TableStates(glue, decisions)
        return self._states[place].find(self._table_of(pipeline))


def catalog_of(pipeline: PipelineConfig) -> Catalog:
    """The region and the account of a pipeline's catalog, of which each has one."""
    return pipeline.region, pipeline.catalog_id
