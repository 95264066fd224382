"""Paths of attributes in settings: ``user.address.city``."""

from typing import TypeAlias

AttributePath: TypeAlias = tuple[str, ...]
"""An attribute's name, then the names in the maps inside it."""


def parse_path(text: str) -> AttributePath:
    """Parse ``user.address.city``; a dot that is part of a name is escaped: ``a\\.b``.

    Raises:
        ValueError: a name is empty.
    """
    names = [name.replace("\0", ".") for name in text.replace("\\.", "\0").split(".")]
    if not all(names):
        raise ValueError(f"{text!r} is not an attribute path such as user.address.city")
    return tuple(names)
