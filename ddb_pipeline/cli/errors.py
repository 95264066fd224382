"""The errors that a user of the command line gets as one line."""

from ddb_pipeline.cli.demo import DemoError
from ddb_pipeline.cli.sensor_loop import RunFailedError
from ddb_pipeline.config import ConfigError
from ddb_pipeline.deploy.bundle import BundleError
from ddb_pipeline.deploy.stack import DeployError
from ddb_pipeline.embedded.process import EmbeddedError
from ddb_pipeline.glue.catalog import CatalogError
from ddb_pipeline.glue.crawler import CrawlError

PRODUCT_ERRORS = (
    BundleError,
    CatalogError,
    ConfigError,
    CrawlError,
    DemoError,
    DeployError,
    EmbeddedError,
    RunFailedError,
)
