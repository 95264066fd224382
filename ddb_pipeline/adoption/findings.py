"""What a check of a configuration against an account has found."""

from collections.abc import Iterable
from dataclasses import dataclass
from enum import Enum


class Level(Enum):
    """How much a finding matters."""

    ERROR = "error"
    """The pipeline cannot be deployed, or does not work."""
    WARNING = "warning"
    """It works, with a limit that the finding names."""
    UNKNOWN = "unknown"
    """It could not be looked at."""
    OK = "ok"


@dataclass(frozen=True, slots=True)
class Finding:
    """One thing that was looked at.

    Attributes:
        pipeline: the pipeline's name; empty for the account.
        subject: what was looked at: table, stream, bucket, permissions, ...
        text: what was found.
        fix: what to do: a command, a statement of a policy, a key of the configuration.
    """

    level: Level
    pipeline: str
    subject: str
    text: str
    fix: str = ""


def has_errors(findings: Iterable[Finding]) -> bool:
    """Whether a finding says that a pipeline does not work."""
    return any(each.level is Level.ERROR for each in findings)
