"""The pipeline of a table that a command line names: its region, catalog and decisions."""

from collections.abc import Callable

from ddb_pipeline.config.names import crawled_table
from ddb_pipeline.config.pipeline import PipelineConfig
from ddb_pipeline.config.settings import Settings
from ddb_pipeline.glue.catalog import TableReference
from ddb_pipeline.hive.type_decisions import NO_DECISIONS, TypeDecisions
from ddb_pipeline.resources.cloud import CloudResource


def cloud_of_table(settings: Settings, dynamodb_table: str) -> CloudResource:
    """The AWS as the pipeline of a DynamoDB table uses it; that of the settings without one."""
    return _cloud(settings, lambda each: each.dynamodb_table == dynamodb_table)


def cloud_of_catalog_table(settings: Settings, table: TableReference) -> CloudResource:
    """The AWS as the pipelines of a Glue database use it; that of the settings without one."""
    return _cloud(settings, lambda each: each.database == table.database)


def decisions_of_catalog_table(settings: Settings, table: TableReference) -> TypeDecisions:
    """What the pipeline that crawls a catalog table has decided about its types."""
    found = _first(settings, lambda each: crawled_table(each) == table)
    return found.type_decisions if found else NO_DECISIONS


def _cloud(settings: Settings, uses: Callable[[PipelineConfig], bool]) -> CloudResource:
    cloud, found = CloudResource.of(settings), _first(settings, uses)
    return cloud.for_pipeline(found) if found else cloud


def _first(settings: Settings, uses: Callable[[PipelineConfig], bool]) -> PipelineConfig | None:
    """The first such pipeline, of those in the settings' region if there are some."""
    found = [each for each in settings.pipelines if uses(each)]
    here = [each for each in found if each.region == settings.region]
    return next(iter(here or found), None)
