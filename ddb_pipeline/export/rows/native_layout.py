"""The layout of a table's columns for the scanner in C, and where names lead in it."""

from collections.abc import Sequence
from typing import Final

from ddb_pipeline.export.rows.decided import OnlyExact, OnlyText, Part, Unused
from ddb_pipeline.hive.fitting import INTEGER_BITS
from ddb_pipeline.hive.names import column_name
from ddb_pipeline.hive.types import (
    STRING,
    ArrayType,
    CharType,
    DecimalType,
    HiveType,
    MapType,
    PrimitiveType,
    StructType,
    VarcharType,
)
from ddb_pipeline.native.layout import Layout
from ddb_pipeline.native.library import Kind

LINE: Final = 0
"""The node of the line itself, whose members are images."""

MAX_NAMES: Final = 2048
"""Names that are learned under one node. An object with more has keys that are data."""

_PRIMITIVES: Final = {
    "string": Kind.STRING,
    "double": Kind.DOUBLE,
    "float": Kind.FLOAT,
    "boolean": Kind.BOOLEAN,
    "binary": Kind.BINARY,
    "date": Kind.DATE,
    "timestamp": Kind.TIMESTAMP,
}


class ColumnsLayout:
    """Nodes for the columns of an image, such as ``Item``, and the rule for names.

    Attributes:
        layout: the nodes.
        types: the Hive type of each node of a scalar.
        fields: the nodes of a struct's fields, or of the columns, by name and in order.
    """

    def __init__(self, columns: Sequence[tuple[str, HiveType]], image: str) -> None:
        self.layout = Layout()
        self.types: dict[int, HiveType] = {}
        self.fields: dict[int, dict[str, int]] = {}
        self._named: dict[int, dict[str, int]] = {}
        self._learned: dict[int, int] = {}
        self._column_names: set[bytes] = set()
        self._images = {image.encode(): self._struct(columns, LINE)}
        [self.image] = self._images.values()

    def child(self, node: int, name: bytes) -> int | None:
        """The node for a name under a struct; without a column, one that takes no content."""
        if node == LINE:
            return self._images.get(name)
        learned = self._learned.get(node, 0)
        if learned >= MAX_NAMES:
            return None
        self._learned[node] = learned + 1
        named = self._named[node]
        column = column_name(name.decode())
        if column not in named:
            named[column] = self.layout.add(Kind.NOTHING, node)
        return named[column]

    def column_name(self, name: bytes) -> bytes | None:
        """The name of a map's member in JSON text."""
        if len(self._column_names) >= MAX_NAMES:
            return None
        self._column_names.add(name)
        return column_name(name.decode()).encode()

    def _struct(self, members: Sequence[tuple[str, HiveType]], parent: int) -> int:
        node = self.layout.add(Kind.STRUCT, parent)
        fields = {name: self._node(kind, node) for name, kind in members}
        self.fields[node], self._named[node] = fields, dict(fields)
        parts = {name: kind for name, kind in members if isinstance(kind, Part)}
        for name in parts:
            # Attributes of the parts' own names: what to do about them, the exact path decides.
            self._named[node][name] = self.layout.add(Kind.LEFT, node)
        for source in dict.fromkeys(kind.source for kind in parts.values()):
            halves = {k.numbers: fields[name] for name, k in parts.items() if k.source == source}
            numbers, others = (
                halves[half] if half in halves else self.layout.add(Kind.LEFT, node)
                for half in (True, False)
            )
            self._named[node][source] = self.layout.add_split(node, numbers, others)
        return node

    def _node(self, kind: HiveType, parent: int) -> int:
        if isinstance(kind, Part | Unused):
            return self._node(kind.kind, parent)
        if isinstance(kind, StructType):
            return self._struct(kind.fields, parent)
        if isinstance(kind, ArrayType):
            node = self.layout.add(Kind.LIST, parent)
            self._node(kind.element, node)
            return node
        if isinstance(kind, MapType) and kind.key == STRING:
            node = self.layout.add_map(parent)
            self._node(kind.value, node)
            return node
        node = self._scalar(kind, parent)
        self.types[node] = kind
        return node

    def _scalar(self, kind: HiveType, parent: int) -> int:
        if isinstance(kind, OnlyText | OnlyExact):
            only = Kind.ONLY_TEXT if isinstance(kind, OnlyText) else Kind.EXACT_ONLY
            return self.layout.add(only, parent)
        if isinstance(kind, DecimalType):
            return self.layout.add(Kind.DECIMAL, parent, digits=kind.precision, scale=kind.scale)
        if isinstance(kind, CharType | VarcharType):
            return self.layout.add(Kind.STRING, parent, digits=kind.length)
        name = kind.name if isinstance(kind, PrimitiveType) else ""
        if name in INTEGER_BITS:
            return self.layout.add(Kind.INTEGER, parent, digits=INTEGER_BITS[name])
        return self.layout.add(_PRIMITIVES.get(name, Kind.EXACT_ONLY), parent)
