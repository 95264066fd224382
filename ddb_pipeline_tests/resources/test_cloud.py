"""The options of ``CloudResource`` are those of dagster-aws."""

from typing import Any

import dagster as dg
from dagster_aws.utils import ResourceWithBoto3Configuration

from ddb_pipeline.resources.cloud import BotoOptions


def options(resource: type[dg.ConfigurableResource[Any]]) -> dict[str, tuple[Any, Any]]:
    """The fields of a resource: the type and the default of each."""
    fields = resource.model_fields
    return {name: (field.annotation, field.default) for name, field in fields.items()}


def test_the_options_are_those_of_dagster_aws() -> None:
    assert options(BotoOptions) == options(ResourceWithBoto3Configuration)
