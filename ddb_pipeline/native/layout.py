"""What a scan fills: a tree of nodes, and which names lead from one node to another.

Node 0 is the line; its children are the members of the line's object, such as ``Item``. A node has
a place for each of its parent's places, or, under a list or a map, one for each element.
"""

from dataclasses import dataclass, field

from ddb_pipeline.native.library import Kind


@dataclass(slots=True)
class Node:
    """A node.

    Attributes:
        parent: the number of the node above it.
        element: of a list or a map: the node of its elements; of a split value: the node of
            everything but numbers; -1 otherwise.
        key: of a map: the node of its keys; of a split value: the node of numbers; -1 otherwise.
        digits: bits of integers, precision of decimals, most characters of texts (0: any).
        scale: of decimals.
    """

    kind: Kind
    parent: int
    element: int = -1
    key: int = -1
    digits: int = 0
    scale: int = 0


@dataclass(slots=True)
class Layout:
    """Nodes, parents before their children. A scan may add more."""

    nodes: list[Node] = field(default_factory=lambda: [Node(Kind.STRUCT, 0)])

    def add(self, kind: Kind, parent: int, *, digits: int = 0, scale: int = 0) -> int:
        """Add a node and return its number; it becomes the element of a list or a map."""
        number = len(self.nodes)
        self.nodes.append(Node(kind, parent, digits=digits, scale=scale))
        above = self.nodes[parent]
        if above.kind == Kind.LIST or above.kind == Kind.MAP:
            above.element = number
        return number

    def add_split(self, parent: int, numbers: int, others: int) -> int:
        """Add a node whose values go to one of two other nodes under the same parent."""
        number = self.add(Kind.SPLIT, parent)
        self.nodes[number].key, self.nodes[number].element = numbers, others
        return number

    def add_map(self, parent: int, *, key_characters: int = 0) -> int:
        """Add a node of maps whose keys are data, with the node of the keys."""
        number = self.add(Kind.MAP, parent)
        key = self.add(Kind.STRING, number, digits=key_characters)
        self.nodes[number].key, self.nodes[number].element = key, -1
        return number
