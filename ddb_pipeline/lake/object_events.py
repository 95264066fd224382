"""Events of the lake's bucket, as EventBridge puts them into a queue."""

import json
from typing import Any


def object_key(body: str) -> str:
    """The key of the object that an event is about; empty for a message of another kind.

    Members: Amazon S3 user guide, "EventBridge event message structure". The key is not encoded.
    """
    try:
        event: Any = json.loads(body)
        key = event["detail"]["object"]["key"]
    except (ValueError, TypeError, KeyError, RecursionError):
        return ""
    return key if isinstance(key, str) else ""
