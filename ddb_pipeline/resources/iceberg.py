"""A pipeline's Iceberg tables in the Glue Data Catalog, of the embedded AWS or a real account.

pyiceberg is imported when a table is asked for, and not before.
"""

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from ddb_pipeline.config.choices import CurrentView
from ddb_pipeline.config.lake import TableFormat
from ddb_pipeline.config.names import (
    current_table,
    iceberg_folder,
    iceberg_table,
    lake_table,
)
from ddb_pipeline.config.pipeline import PipelineConfig
from ddb_pipeline.errors import DdbPipelineError
from ddb_pipeline.glue.catalog import CatalogTable
from ddb_pipeline.resources.cloud import CloudResource

if TYPE_CHECKING:
    from pyarrow.dataset import Dataset
    from pyiceberg.catalog import Catalog

    from ddb_pipeline.glue.catalog import TableReference
    from ddb_pipeline.hive.types import Column
    from ddb_pipeline.lake.iceberg.publish import Target


class IcebergMissingError(DdbPipelineError):
    """pyiceberg is not installed."""


def is_iceberg(pipeline: PipelineConfig) -> bool:
    """Whether a pipeline publishes Iceberg tables."""
    return pipeline.table_format is TableFormat.ICEBERG


def iceberg_catalog(cloud: CloudResource) -> "Catalog":
    """The Glue Data Catalog as pyiceberg uses it, with this AWS's clients.

    Raises:
        IcebergMissingError: pyiceberg is not installed.
    """
    try:
        from pyiceberg.catalog.glue import GlueCatalog
    except ImportError as error:
        raise IcebergMissingError(
            'table_format = "iceberg" needs pyiceberg. Install it: '
            "pip install 'ddb-pipeline[iceberg]'"
        ) from error
    return GlueCatalog("glue", client=cloud.glue, **io_properties(cloud.client_arguments()))


def is_iceberg_table(table: CatalogTable) -> bool:
    """Whether a catalog table is an Iceberg table, whose location has files of many snapshots."""
    parameters = table.definition.get("Parameters") or {}
    return parameters.get("table_type", "").upper() == "ICEBERG"


def catalog_iceberg_dataset(cloud: CloudResource, table: CatalogTable) -> "Dataset":
    """The rows of an Iceberg table of the catalog.

    Raises:
        IcebergMissingError: pyiceberg is not installed.
    """
    catalog = iceberg_catalog(cloud)
    from ddb_pipeline.lake.iceberg.read import iceberg_dataset

    reference = table.reference
    found = catalog.load_table((reference.database, reference.name))
    return iceberg_dataset(cloud.filesystem(), found)


def io_properties(client_arguments: Mapping[str, Any]) -> dict[str, str]:
    """pyiceberg's properties by which it accesses the S3 that boto3 clients access."""
    properties = {
        "s3.endpoint": client_arguments.get("endpoint_url"),
        "s3.region": client_arguments.get("region_name"),
        "s3.access-key-id": client_arguments.get("aws_access_key_id"),
        "s3.secret-access-key": client_arguments.get("aws_secret_access_key"),
        "s3.session-token": client_arguments.get("aws_session_token"),
    }
    return {name: str(value) for name, value in properties.items() if value}


def current_target(cloud: CloudResource, pipeline: PipelineConfig) -> "Target":
    """The Iceberg table of the current view."""
    catalog = iceberg_catalog(cloud)
    from ddb_pipeline.lake.iceberg.tables import CURRENT_PARTITIONS

    return _target(catalog, cloud, pipeline, current_table(pipeline), CURRENT_PARTITIONS)


def stream_target(cloud: CloudResource, pipeline: PipelineConfig) -> "Target":
    """The Iceberg table of the stream's compacted hours."""
    catalog = iceberg_catalog(cloud)
    from ddb_pipeline.lake.iceberg.tables import STREAM_PARTITIONS

    return _target(catalog, cloud, pipeline, lake_table(pipeline), STREAM_PARTITIONS)


def iceberg_targets(cloud: CloudResource, pipeline: PipelineConfig) -> "tuple[Target, ...]":
    """All Iceberg tables of a pipeline."""
    if not is_iceberg(pipeline):
        return ()
    stream = stream_target(cloud, pipeline)
    if pipeline.current is CurrentView.OFF:
        return (stream,)
    return stream, current_target(cloud, pipeline)


def _target(
    catalog: "Catalog",
    cloud: CloudResource,
    pipeline: PipelineConfig,
    table: "TableReference",
    partitions: "tuple[Column, ...]",
) -> "Target":
    from ddb_pipeline.lake.iceberg.publish import Target

    return Target(
        catalog,
        cloud.filesystem(),
        iceberg_table(pipeline, table),
        iceberg_folder(pipeline, table),
        partitions,
    )
