"""Durations in the configuration: a number and a unit."""

import re
from typing import Any

SECONDS_IN = {"s": 1, "m": 60, "h": 3600, "d": 86_400}


def seconds_of(value: Any) -> Any:
    """The seconds of a text such as "15m" or "1h"; any other value as it is."""
    match = re.fullmatch(r"([0-9]{1,6})([smhd])", value) if isinstance(value, str) else None
    return value if match is None else int(match[1]) * SECONDS_IN[match[2]]
