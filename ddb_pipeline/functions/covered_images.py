"""Whether columns keep all of an image, told from its shape instead of its parsed document."""

from collections import defaultdict
from collections.abc import Iterable, Mapping
from typing import Any

from ddb_pipeline.dynamodb.values import Item
from ddb_pipeline.hive.coverage import Elements, Fields
from ddb_pipeline.hive.names import column_names

Container = Fields | Elements
Plan = tuple[tuple[str, Container], ...]
"""The attributes of one level whose own members have to be looked at."""

MAX_PLANS = 4096


class CoveredImages:
    """Tells images that a table's columns keep whole, most of them in a few look-ups.

    The answer is on the safe side: an image is not said to be kept unless every attribute in it,
    at every level, has its name declared. ``hive.coverage`` decides about the others.
    """

    def __init__(self, names: Fields) -> None:
        self._names = names
        # By identity of the level's declaration, which `names` keeps alive.
        self._plans: dict[int, dict[tuple[str, ...], Plan | None]] = defaultdict(dict)

    def covers(self, image: Item, columns: Iterable[str] = ()) -> bool:
        """Whether the image and these further columns of its document are declared.

        ``image`` is one that has been written as JSON text, so its values are well formed.
        """
        declared = self._names.by_name
        return all(column in declared for column in columns) and self._members(image, self._names)

    def _members(self, members: Item, level: Fields) -> bool:
        plans = self._plans[id(level)]
        names = tuple(members)
        if names not in plans:
            if len(plans) >= MAX_PLANS:
                plans.clear()
            plans[names] = _plan(names, level)
        plan = plans[names]
        if plan is None:
            return False
        for name, inside in plan:  # noqa: SIM110 - all() over a generator takes twice the time
            if not self._value(members[name], inside):
                return False
        return True

    def _value(self, value: Mapping[str, Any], node: Container) -> bool:
        if isinstance(node, Fields):
            return "M" not in value or self._members(value["M"], node)
        if "M" in value:
            elements: Iterable[Any] = value["M"].values() if node.of_map else (value,)
        else:
            elements = () if node.of_map else value.get("L", ())
        return node.each is None or self._elements(elements, node.each)

    def _elements(self, elements: Iterable[Mapping[str, Any]], each: Container) -> bool:
        for element in elements:  # noqa: SIM110 - as above
            if not self._value(element, each):
                return False
        return True


def _plan(names: tuple[str, ...], level: Fields) -> Plan | None:
    """None where a name is not declared."""
    columns = column_names(names)
    nodes = []
    for name in names:
        column = columns[name].lower()
        if column not in level.by_name:
            return None
        node = level.by_name[column]
        if isinstance(node, Fields) or (isinstance(node, Elements) and node.each is not None):
            nodes.append((name, node))
    return tuple(nodes)
