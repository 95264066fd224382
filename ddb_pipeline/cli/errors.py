"""The errors that a user of the command line gets as one line."""

from ddb_pipeline.cli.demo import DemoError
from ddb_pipeline.cli.sensor_loop import RunFailedError
from ddb_pipeline.config.settings import ConfigError
from ddb_pipeline.deploy.bundle import BundleError
from ddb_pipeline.deploy.stack import DeployError
from ddb_pipeline.embedded.process import EmbeddedError
from ddb_pipeline.export.convert import ConversionFailedError
from ddb_pipeline.export.read import ExportError
from ddb_pipeline.export.request import ExportRequestError
from ddb_pipeline.glue.catalog import CatalogError
from ddb_pipeline.glue.crawler import CrawlError
from ddb_pipeline.parquet.partition_by import PartitionError
from ddb_pipeline.parquet.publish import PublishError

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
