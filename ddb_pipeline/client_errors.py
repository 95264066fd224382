"""What botocore's errors say: the service's code and message."""

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
"""A permission is missing, whichever service says so."""


def error_code(error: ClientError) -> str:
    return str(error.response.get("Error", {}).get("Code", ""))


def error_message(error: ClientError) -> str:
    return str(error.response.get("Error", {}).get("Message", ""))
