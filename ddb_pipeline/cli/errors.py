"""The errors that a user of the command line gets as one line."""

from ddb_pipeline.cli.demo import DemoError
from ddb_pipeline.cli.sensor_loop import RunFailedError
from ddb_pipeline.config import ConfigError
from ddb_pipeline.deploy.bundle import BundleError
from ddb_pipeline.deploy.stack import DeployError
from ddb_pipeline.dynamodb.export_read import ExportError
from ddb_pipeline.dynamodb.export_request import ExportRequestError
from ddb_pipeline.embedded.process import EmbeddedError
from ddb_pipeline.glue.catalog import CatalogError
from ddb_pipeline.glue.crawler import CrawlError
from ddb_pipeline.lake.convert_export import ConversionFailedError
from ddb_pipeline.lake.partition_by import PartitionError
from ddb_pipeline.lake.publish import PublishError

PRODUCT_ERRORS = (
    BundleError,
    CatalogError,
    ConfigError,
    ConversionFailedError,
    CrawlError,
    DemoError,
    DeployError,
    EmbeddedError,
    ExportError,
    ExportRequestError,
    PartitionError,
    PublishError,
    RunFailedError,
)
