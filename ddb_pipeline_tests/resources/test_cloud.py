"""The cloud resource: its options are those of dagster-aws, and it has a part in each region."""

from typing import Any

import dagster as dg
import pytest
from dagster_aws.utils import ResourceWithBoto3Configuration

from ddb_pipeline.config.pipeline import PipelineConfig
from ddb_pipeline.embedded.regions import embedded_region
from ddb_pipeline.resources.cloud import BotoOptions, CloudResource
from ddb_pipeline.resources.filesystem import s3_environment
from ddb_pipeline.resources.iceberg import io_properties


def options(resource: type[dg.ConfigurableResource[Any]]) -> dict[str, tuple[Any, Any]]:
    """The fields of a resource: the type and the default of each."""
    fields = resource.model_fields
    return {name: (field.annotation, field.default) for name, field in fields.items()}


def test_the_options_are_those_of_dagster_aws() -> None:
    assert options(BotoOptions) == options(ResourceWithBoto3Configuration)


def cloud_in(region: str) -> CloudResource:
    """The resource of a real account in a region, with credentials of nobody."""
    return CloudResource(
        region_name=region, aws_access_key_id="nobody", aws_secret_access_key="nothing"
    )


@pytest.mark.parametrize("region", ["", "eu-west-1"])
def test_a_pipeline_of_the_same_region_uses_the_resource_itself(region: str) -> None:
    cloud = cloud_in("eu-west-1")
    assert cloud.for_pipeline(PipelineConfig(name="logs", region=region)) is cloud


def test_everything_of_a_pipeline_goes_to_its_region() -> None:
    cloud, pipeline = cloud_in("eu-west-1"), PipelineConfig(name="logs", region="ap-south-1")
    there = cloud.for_pipeline(pipeline)
    assert there is cloud.for_pipeline(pipeline)
    assert there.for_pipeline(pipeline) is there
    for service in ("dynamodb", "dynamodbstreams", "glue", "firehose", "lambda", "s3", "sqs"):
        assert there.client(service).meta.region_name == "ap-south-1"
        assert cloud.client(service).meta.region_name == "eu-west-1"
    assert there.filesystem().region == "ap-south-1"
    arguments = there.client_arguments()
    assert arguments["aws_access_key_id"] == "nobody"
    assert io_properties(arguments)["s3.region"] == "ap-south-1"
    assert s3_environment(arguments)["AWS_REGION"] == "ap-south-1"


@pytest.mark.parametrize(
    ("region", "home", "embedded"),
    [
        ("", "eu-west-1", "us-east-1"),
        ("eu-west-1", "eu-west-1", "us-east-1"),
        ("us-east-1", "eu-west-1", "eu-west-1"),
        ("ap-south-1", "eu-west-1", "ap-south-1"),
        ("us-east-1", "us-east-1", "us-east-1"),
    ],
)
def test_the_settings_region_stays_where_the_embedded_aws_has_it(
    region: str, home: str, embedded: str
) -> None:
    assert embedded_region(region, home) == embedded
