"""The region of a table that a command line names."""

from collections.abc import Callable

from ddb_pipeline.config.pipeline import PipelineConfig
from ddb_pipeline.config.settings import Settings
from ddb_pipeline.glue.catalog import TableReference
from ddb_pipeline.resources.cloud import CloudResource


def cloud_of_table(settings: Settings, dynamodb_table: str) -> CloudResource:
    """The AWS as the pipeline of a DynamoDB table uses it; that of the settings without one."""
    return _cloud(settings, lambda each: each.dynamodb_table == dynamodb_table)


def cloud_of_catalog_table(settings: Settings, table: TableReference) -> CloudResource:
    """The AWS as the pipelines of a Glue database use it; that of the settings without one."""
    return _cloud(settings, lambda each: each.database == table.database)


def _cloud(settings: Settings, uses: Callable[[PipelineConfig], bool]) -> CloudResource:
    cloud = CloudResource.of(settings)
    found = [each for each in settings.pipelines if uses(each)]
    here = [each for each in found if each.region == settings.region]
    return cloud.for_pipeline((here or found)[0]) if found else cloud
