"""The service's code and message in botocore's errors."""

from botocore.exceptions import ClientError

DENIED_CODES = frozenset(
    (
        "AccessDenied",
        "AccessDeniedException",
        "NotAuthorized",
        "UnauthorizedException",
        "UnauthorizedOperation",
    )
)
"""Codes by which the services report a missing permission."""


def error_code(error: ClientError) -> str:
    """The service's error code, empty where the response has none."""
    return str(error.response.get("Error", {}).get("Code", ""))


def error_message(error: ClientError) -> str:
    """The service's error message, empty where the response has none."""
    return str(error.response.get("Error", {}).get("Message", ""))
