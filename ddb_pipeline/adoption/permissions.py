"""Which actions of a policy a role is denied, as IAM's policy simulator says."""

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any

from botocore.exceptions import ClientError

from ddb_pipeline.adoption.policy import Statement
from ddb_pipeline.client_errors import error_code, error_message


@dataclass(frozen=True, slots=True)
class Denied:
    """The actions of a statement that are denied on its resources.

    Attributes:
        missing: the statement that would allow them, and nothing else.
        explicitly: whether a policy denies one of them, so that no other can allow it.
    """

    missing: Statement
    explicitly: bool


class SimulationError(Exception):
    """IAM's policy simulator cannot be used; the message says why."""


def role_of(caller_arn: str) -> str:
    """The ARN to simulate for a caller: of the role behind an assumed one.

    >>> role_of("arn:aws:sts::123456789012:assumed-role/dagster/session")
    'arn:aws:iam::123456789012:role/dagster'
    """
    head, found, rest = caller_arn.partition(":assumed-role/")
    if not found:
        return caller_arn
    return f"{head.replace(':sts:', ':iam:')}:role/{rest.partition('/')[0]}"


def is_root(arn: str) -> bool:
    """Whether an ARN is the account's root user, who may do everything."""
    return arn.endswith(":root")


def denied_statements(iam: Any, role: str, statements: Iterable[Statement]) -> Iterator[Denied]:
    """What a role is denied of these statements.

    Raises:
        SimulationError: the simulator may not be used, or does not know the role.
    """
    for statement in statements:
        found = [
            (action, resource, decision)
            for resource in statement.resources
            for action, decision in _decisions(iam, role, statement, resource)
            if decision != "allowed"
        ]
        if found:
            actions = tuple(dict.fromkeys(action for action, _, _ in found))
            resources = tuple(dict.fromkeys(resource for _, resource, _ in found))
            missing = Statement(statement.sid, actions, resources, statement.condition)
            yield Denied(missing, any(decision == "explicitDeny" for _, _, decision in found))


def _decisions(iam: Any, role: str, statement: Statement, resource: str) -> list[tuple[str, str]]:
    request: dict[str, Any] = {
        "PolicySourceArn": role,
        "ActionNames": list(statement.actions),
        "ResourceArns": [resource],
        "ContextEntries": context_entries(statement),
    }
    try:
        pages = iam.get_paginator("simulate_principal_policy").paginate(**request)
        return [
            (each["EvalActionName"], each["EvalDecision"])
            for page in pages
            for each in page["EvaluationResults"]
        ]
    except ClientError as error:
        raise SimulationError(f"{error_code(error)}: {error_message(error)}") from error


def context_entries(statement: Statement) -> list[dict[str, Any]]:
    """The context in which the statement's condition holds."""
    conditions: Sequence[Any] = list(statement.document().get("Condition", {}).values())
    return [
        {"ContextKeyName": key, "ContextKeyValues": [value], "ContextKeyType": "string"}
        for keys in conditions
        for key, value in keys.items()
    ]
