"""boto3 clients and the lake's file system, for the embedded AWS or a real account.

No other module distinguishes the two.
"""

import json
import threading
from functools import lru_cache
from typing import TYPE_CHECKING, Any, NamedTuple

import boto3
import dagster as dg
import pyarrow.fs
from botocore.config import Config
from botocore.exceptions import BotoCoreError
from pydantic import Field, PrivateAttr

from ddb_pipeline.client_errors import access_error
from ddb_pipeline.config.names import shared_table_arn
from ddb_pipeline.config.pipeline import PipelineConfig
from ddb_pipeline.config.settings import Settings, Target
from ddb_pipeline.dynamodb.tables import name_by_arn
from ddb_pipeline.errors import DdbPipelineError
from ddb_pipeline.glue.catalog import use_catalog
from ddb_pipeline.resources.filesystem import s3_filesystem

if TYPE_CHECKING:
    from mypy_boto3_dynamodb.client import DynamoDBClient
    from mypy_boto3_dynamodbstreams.client import DynamoDBStreamsClient
    from mypy_boto3_firehose.client import FirehoseClient
    from mypy_boto3_glue.client import GlueClient
    from mypy_boto3_s3.client import S3Client
    from mypy_boto3_sqs.client import SQSClient

_CLIENT_LOCK = threading.Lock()


class AwsAccessError(DdbPipelineError):
    """AWS cannot be used as configured; the message says what is wrong and what to do."""


@lru_cache(maxsize=4)
def _embedded_arguments(settings_json: str, deploys: bool) -> dict[str, Any]:
    from ddb_pipeline.embedded.clients import client_arguments
    from ddb_pipeline.embedded.process import connect
    from ddb_pipeline.embedded.stacks import connect_with_stacks

    settings = Settings.model_validate_json(settings_json)
    if deploys:
        return client_arguments(connect_with_stacks(settings))
    return client_arguments(connect(settings.home / "embedded"))


class Place(NamedTuple):
    """What distinguishes the clients of two pipelines of one AWS.

    Attributes:
        region: their region.
        catalog_id: the account of the Data Catalog; empty for the credentials'.
        shared_table: name and ARN of a DynamoDB table that another account shares.
    """

    region: str
    catalog_id: str
    shared_table: tuple[str, str] = ("", "")


class BotoOptions(dg.ConfigurableResource[Any]):
    """The options of boto3 clients, by the names that the resources of dagster-aws have.

    Its base class is not used because importing dagster-aws takes a second.
    """

    region_name: str | None = Field(default=None, description="AWS region of the clients.")
    max_attempts: int = Field(
        default=5, description="Times that a request is made at most, the first one included."
    )
    profile_name: str | None = Field(default=None, description="Profile of the credentials.")
    use_ssl: bool = Field(default=True, description="Whether TLS is used.")
    endpoint_url: str | None = Field(default=None, description="Endpoint of all services.")
    verify: bool | None = Field(default=True, description="Whether certificates are verified.")
    aws_access_key_id: str | None = Field(default=None, description="Access key id.")
    aws_secret_access_key: str | None = Field(default=None, description="Secret access key.")
    aws_session_token: str | None = Field(default=None, description="Session token.")


class CloudResource(BotoOptions):
    """The AWS that the pipelines use: the embedded one or a real account, as ``settings`` state.

    In embedded mode the first client starts the embedded AWS and deploys the pipelines' stacks;
    the user's own AWS configuration is not read. Otherwise the boto3 options of this resource
    apply as in every other dagster-aws resource.
    """

    settings: dict[str, Any] = Field(
        default={}, description="The embedded AWS's settings; empty for a real account."
    )
    deploys: bool = Field(
        default=True, description="Whether the embedded AWS deploys the pipelines' stacks."
    )
    catalog_id: str = Field(
        default="", description="Account of the Glue Data Catalog; by default the credentials'."
    )
    _clients: dict[str, Any] = PrivateAttr(default_factory=dict)
    _elsewhere: dict["Place", "CloudResource"] = PrivateAttr(default_factory=dict)
    _home: "CloudResource | None" = PrivateAttr(default=None)
    _shared_table: tuple[str, str] = PrivateAttr(default=("", ""))

    @classmethod
    def of(cls, settings: Settings, *, deploys: bool = True) -> "CloudResource":
        """Build the resource for these settings, in their region.

        Dagster stores a resource's configuration in the snapshot of every job. Only the embedded
        AWS, which deploys the pipelines' stacks, needs them there. With ``deploys`` off it deploys
        none, for commands that look at the account before a deployment.
        """
        embedded = settings.target is Target.EMBEDDED
        return cls(
            settings=settings.model_dump(mode="json", exclude_none=True) if embedded else {},
            region_name=settings.region,
            deploys=deploys,
        )

    @property
    def embedded(self) -> bool:
        """Whether the clients connect to the embedded AWS."""
        return bool(self.settings)

    def for_pipeline(self, pipeline: PipelineConfig) -> "CloudResource":
        """This AWS as a pipeline uses it: its region, its catalog, and its table's account."""
        home, arn = self._home or self, shared_table_arn(pipeline)
        place = Place(
            pipeline.region or home.region_name or "",
            pipeline.catalog_id or home.catalog_id,
            (pipeline.dynamodb_table, arn) if arn else ("", ""),
        )
        return home._at(place)

    def in_region(self, region: str, catalog_id: str = "") -> "CloudResource":
        """This AWS in a region, and with an account's catalog; without them as it is."""
        place = Place(region or self.region_name or "", catalog_id or self.catalog_id)
        return (self._home or self)._at(place)

    def _at(self, place: "Place") -> "CloudResource":
        """This resource itself, or the one that it has for another place."""
        if place == Place(self.region_name or "", self.catalog_id):
            return self
        if place not in self._elsewhere:
            options = {name: getattr(self, name) for name in type(self).model_fields}
            options |= {"region_name": place.region, "catalog_id": place.catalog_id}
            there = type(self)(**options)
            there._home, there._shared_table = self, place.shared_table
            self._elsewhere[place] = there
        return self._elsewhere[place]

    def client_arguments(self) -> dict[str, Any]:
        """Return the keyword arguments for ``boto3.client``."""
        if self.embedded:
            return self._arguments_of_the_embedded_aws()
        return {
            "region_name": self.region_name,
            "endpoint_url": self.endpoint_url,
            "use_ssl": self.use_ssl,
            "verify": self.verify,
            "aws_access_key_id": self.aws_access_key_id,
            "aws_secret_access_key": self.aws_secret_access_key,
            "aws_session_token": self.aws_session_token,
            "config": Config(retries={"mode": "standard", "max_attempts": self.max_attempts}),
        }

    def _arguments_of_the_embedded_aws(self) -> dict[str, Any]:
        from ddb_pipeline.embedded.regions import embedded_region

        with _CLIENT_LOCK:
            arguments = _embedded_arguments(json.dumps(self.settings), self.deploys)
        region = embedded_region(self.region_name or "", self.settings["region"])
        return {**arguments, "region_name": region}

    def client(self, service: str) -> Any:
        """A boto3 client of this AWS for a service; the same one for each use of this resource.

        Raises:
            AwsAccessError: the profile, the region or the credentials are not usable.
        """
        if service in self._clients:
            return self._clients[service]
        arguments = self.client_arguments()
        # Clients are thread-safe, creating them is not (boto3 documentation, "Clients").
        with _CLIENT_LOCK:
            if service not in self._clients:
                profile = None if self.embedded else self.profile_name
                try:
                    create: Any = boto3.session.Session(profile_name=profile).client
                    client = create(service, **arguments)
                    self._address(service, client)
                    self._clients[service] = client
                except (BotoCoreError, ValueError) as error:
                    raise AwsAccessError(access_error(error) or f"AWS: {error}") from error
            return self._clients[service]

    def _address(self, service: str, client: Any) -> None:
        """Let a new client address what belongs to other accounts.

        The embedded AWS has one account, in which the tables of all are.
        """
        table, arn = self._shared_table
        if service == "glue" and self.catalog_id:
            use_catalog(client, self.catalog_id)
        if service == "dynamodb" and arn and not self.embedded:
            name_by_arn(client, table, arn)

    @property
    def glue(self) -> "GlueClient":
        """A Glue client."""
        return self.client("glue")  # type: ignore[no-any-return]

    @property
    def dynamodb(self) -> "DynamoDBClient":
        """A DynamoDB client."""
        return self.client("dynamodb")  # type: ignore[no-any-return]

    @property
    def dynamodb_streams(self) -> "DynamoDBStreamsClient":
        """A DynamoDB Streams client."""
        return self.client("dynamodbstreams")  # type: ignore[no-any-return]

    @property
    def firehose(self) -> "FirehoseClient":
        """A Firehose client."""
        return self.client("firehose")  # type: ignore[no-any-return]

    @property
    def s3(self) -> "S3Client":
        """An S3 client."""
        return self.client("s3")  # type: ignore[no-any-return]

    @property
    def sqs(self) -> "SQSClient":
        """An SQS client."""
        return self.client("sqs")  # type: ignore[no-any-return]

    def filesystem(self) -> pyarrow.fs.FileSystem:
        """Return the lake's object store for pyarrow; paths are ``bucket/key``."""
        return s3_filesystem(self.client_arguments())
