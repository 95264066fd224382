"""The service's code and message in botocore's errors, and what to do about them."""

from typing import Final

from botocore.exceptions import (
    BotoCoreError,
    ClientError,
    ConfigNotFound,
    ConfigParseError,
    ConnectionError,
    CredentialRetrievalError,
    EndpointConnectionError,
    HTTPClientError,
    InvalidConfigError,
    InvalidRegionError,
    NoCredentialsError,
    NoRegionError,
    PartialCredentialsError,
    ProfileNotFound,
    RefreshWithMFAUnsupportedError,
    SSOError,
    TokenRetrievalError,
)

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


CREDENTIAL_CODES = frozenset(
    (
        "AuthFailure",
        "ExpiredToken",
        "ExpiredTokenException",
        "InvalidAccessKeyId",
        "InvalidClientTokenId",
        "InvalidSignatureException",
        "InvalidToken",
        "MissingAuthenticationToken",
        "SignatureDoesNotMatch",
        "UnrecognizedClientException",
    )
)
"""Codes by which the services report that they do not accept the caller's credentials."""

_LOG_IN: Final = "Log in again, for example with aws sso login or aws configure."
_NAME_REGION: Final = "Set AWS_REGION or the configuration's region, for example to eu-central-1."
_ADVICE: Final[tuple[tuple[tuple[type[Exception], ...], str], ...]] = (
    (
        (NoCredentialsError, PartialCredentialsError),
        "Log in with aws configure or aws sso login, or set AWS_PROFILE, or both AWS_ACCESS_KEY_ID "
        "and AWS_SECRET_ACCESS_KEY.",
    ),
    (
        (
            CredentialRetrievalError,
            RefreshWithMFAUnsupportedError,
            SSOError,
            TokenRetrievalError,
        ),
        _LOG_IN,
    ),
    (
        (ProfileNotFound, ConfigNotFound, ConfigParseError, InvalidConfigError),
        "Correct AWS_PROFILE, or the profile in ~/.aws/config.",
    ),
    ((NoRegionError, InvalidRegionError), _NAME_REGION),
    (
        (EndpointConnectionError,),
        "Check the network, and that this region exists and has the service.",
    ),
    ((ConnectionError, HTTPClientError), "Check the network, the proxy and the certificates."),
)
"""What to do about botocore's errors that no service sent, the first that matches."""


def access_error(error: Exception, otherwise: str = "") -> str:
    """An error of botocore in one line with what to do; empty for any other error.

    ``otherwise`` is what to do about an error that has no advice of its own.
    """
    if isinstance(error, ClientError):
        text, advice = _service_error(error)
    elif isinstance(error, BotoCoreError):
        text = str(error)
        advice = next((advice for kinds, advice in _ADVICE if isinstance(error, kinds)), "")
    else:
        return ""
    return " ".join(f"AWS: {text.rstrip('. ')}. {advice or otherwise}".split())


def _service_error(error: ClientError) -> tuple[str, str]:
    code = error_code(error)
    text = f"{error.operation_name} failed: {code}: {error_message(error)}"
    if code in CREDENTIAL_CODES:
        return text, _LOG_IN
    if code in DENIED_CODES:
        return text, "Grant this permission to the caller's role."
    if code == "NoSuchBucket":
        return text, "Create the bucket, or correct its name."
    return text, ""


def error_code(error: ClientError) -> str:
    """The service's error code, empty where the response has none."""
    return str(error.response.get("Error", {}).get("Code", ""))


def error_message(error: ClientError) -> str:
    """The service's error message, empty where the response has none."""
    return str(error.response.get("Error", {}).get("Message", ""))
