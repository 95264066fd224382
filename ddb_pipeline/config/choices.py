"""The values that a pipeline's settings choose from."""

from enum import Enum


class DeliverySchema(Enum):
    """Which catalog table Firehose reads its column types from."""

    LAKE = "lake"
    CRAWLED = "crawled"


class SchemaFix(Enum):
    """What repairs the crawled table when it changes."""

    LAMBDA = "lambda"
    DAGSTER = "dagster"
    BOTH = "both"


class StreamReader(Enum):
    """What reads the table's stream."""

    LAMBDA = "lambda"
    CONSUMER = "consumer"


class CrawlWith(Enum):
    """What crawls the DynamoDB table."""

    GLUE = "glue"
    BUILTIN = "builtin"


class ExportWith(Enum):
    """How a snapshot of the whole table is written to S3."""

    EXPORT = "export"
    SCAN = "scan"


class KeyType(Enum):
    """The types that a key attribute of a DynamoDB table can have."""

    STRING = "S"
    NUMBER = "N"
    BINARY = "B"


class CurrentView(Enum):
    """What the current view of the table is made of."""

    STREAM = "stream"
    EXPORTS = "exports"
    OFF = "off"


class GapPolicy(Enum):
    """What is done about a time of which the stream has lost changes."""

    HEAL = "heal"
    REPORT = "report"


class FunctionSetting(Enum):
    """Settings of the streaming function that the template passes on (``stream_settings``)."""

    EVENT_NAMES = "EVENT_NAMES"
    IMAGES = "IMAGES"
    ATTRIBUTE_FILTER = "ATTRIBUTE_FILTER"
    TABLE_ROUTES = "TABLE_ROUTES"
    ROUTE_ATTRIBUTE = "ROUTE_ATTRIBUTE"
    ATTRIBUTE_ROUTES = "ATTRIBUTE_ROUTES"
    DROP_ATTRIBUTES = "DROP_ATTRIBUTES"
    PSEUDONYMISE_ATTRIBUTES = "PSEUDONYMISE_ATTRIBUTES"
    PSEUDONYM_KEY_SECRET_ARN = "PSEUDONYM_KEY_SECRET_ARN"
    TRANSFORMER = "TRANSFORMER"

    @property
    def parameter(self) -> str:
        """The template's parameter for it."""
        return "".join(word.capitalize() for word in self.value.split("_"))


CHANGES_WHAT_IS_DELIVERED = frozenset(FunctionSetting) - {FunctionSetting.PSEUDONYM_KEY_SECRET_ARN}
"""Settings with which not every change is delivered as it was made."""
