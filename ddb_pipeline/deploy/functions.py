"""Deployed Lambda functions, as Lambda describes them."""

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from mypy_boto3_lambda.client import LambdaClient


def function_environment(lambda_: "LambdaClient", name: str) -> dict[str, str]:
    """The environment variables of a deployed function."""
    configuration = lambda_.get_function_configuration(FunctionName=name)
    return dict(configuration.get("Environment", {}).get("Variables", {}))
