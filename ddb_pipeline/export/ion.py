"""Data files of exports in Amazon Ion: each line, an Ion text document, as a line of DynamoDB JSON.

Types in Ion (Amazon DynamoDB developer guide, "DynamoDB table export output format"): sets are
lists with the annotation ``$dynamodb_SS``, ``$dynamodb_NS`` or ``$dynamodb_BS``, numbers are
decimals. Each line is ``$ion_1_0`` and one struct. The rest of Ion (binary Ion, comments, long
strings, timestamps, symbols as values, floats) is refused, because DynamoDB does not write it.
Grammar: Amazon Ion 1.0 specification, "Text".
"""

import json
import re
from collections.abc import Callable
from decimal import Decimal, InvalidOperation
from typing import Any, Final

from ddb_pipeline.dynamodb.scalars import binary_text
from ddb_pipeline.export.lines import Lines, RejectedLine, check_marks
from ddb_pipeline.hive.undecodable import UndecodableValueError

BINARY_MARKER: Final = b"\xe0\x01\x00\xea"
"""The first bytes of binary Ion."""
SETS: Final = {"$dynamodb_SS": "SS", "$dynamodb_NS": "NS", "$dynamodb_BS": "BS"}
RECORD: Final = "Record"
MAX_LEVELS: Final = 64
"""Nesting of structs and lists that is read; DynamoDB's items nest 32 levels."""
MAX_EXPONENT: Final = 200
"""Numbers of DynamoDB have at most 38 digits, between 1E-130 and 1E+126."""

Typed = tuple[str, Any]
"""A value's type tag and content in DynamoDB JSON."""

_VERSION: Final = re.compile(r"\s*(?:\$ion_1_0(?![\w$]))?")
_SPACE: Final = re.compile(r"[ \t\r\n]*")
_TOKEN: Final = re.compile(
    r"(?P<symbol>[A-Za-z_$][A-Za-z0-9_$]*)"
    r"|(?P<number>-?(?:0|[1-9][0-9]*)(?:\.[0-9]*)?(?:[dD][+-]?[0-9]+)?)(?=[,\]}\s]|\Z)"
    r"|(?P<mark>\{\{|::|[{}\[\],:\"'])"
)
_BLOB: Final = re.compile(r"([A-Za-z0-9+/= \t]*)\}\}")
_TEXT: Final = re.compile(r"([^\"'\\\x00-\x1f]*)([\"'\\\x00-\x1f]|\Z)")
_ESCAPE: Final = re.compile(r"[0abtnfrv\"'?\\/]|x[0-9A-Fa-f]{2}|u[0-9A-Fa-f]{4}|U[0-9A-Fa-f]{8}")
_ESCAPES: Final = dict(zip("0abtnfrv", "\0\a\b\t\n\f\r\v", strict=True))
_SYMBOL_ID: Final = re.compile(r"\$[0-9]+\Z")
_KEYWORDS: Final = frozenset(("null", "true", "false", "nan"))


def ion_as_json(lines: Lines) -> Lines:
    """The lines of an Ion data file as lines of DynamoDB JSON; others are rejected individually."""
    rejected = list(lines.rejected)
    documents = []
    for line in lines.block.split(b"\n"):
        if not line.strip():
            continue
        try:
            documents.append(json_line(line))
        except UndecodableValueError as error:
            rejected.append(RejectedLine(line, error.path, error.reason))
    return Lines(b"".join(documents), tuple(rejected))


def json_line(line: bytes) -> bytes:
    """A line of Ion text as a line of DynamoDB JSON, its newline included.

    Raises:
        UndecodableValueError: the line is not Ion, or DynamoDB does not write such a value.
    """
    check_marks(line)
    try:
        document = _Reader(line.decode()).document()
        text = json.dumps(document, ensure_ascii=False, separators=(",", ":"))
        return text.encode() + b"\n"
    except UnicodeDecodeError:
        raise UndecodableValueError("the line is not UTF-8") from None
    except UnicodeEncodeError:
        raise UndecodableValueError("the text is not Unicode (half a surrogate pair)") from None


def _not_ion(position: int, reason: str) -> UndecodableValueError:
    return UndecodableValueError(f"the line is not DynamoDB's Ion: {reason} (column {position})")


class _Reader:
    """Reads one line. Each method reads at the position and moves it."""

    def __init__(self, text: str) -> None:
        self._text = text
        self._position = 0
        self._levels = 0

    def document(self) -> dict[str, Any]:
        """``Item``, or the members of an incremental export; None for an image that is null.

        A changed item may be wrapped in ``Record``, as in the developer guide's sample.
        """
        version = _VERSION.match(self._text)
        self._position = version.end() if version else 0
        self._expect("{")
        members = self._members()
        self._skip_space()
        if self._position < len(self._text):
            raise _not_ion(self._position, "something follows the struct")
        if list(members) == [RECORD] and members[RECORD][0] == "M":
            members = {name: (*typed.items(),)[0] for name, typed in members[RECORD][1].items()}
        for name, (tag, _) in members.items():
            if tag not in ("M", "NULL"):
                raise UndecodableValueError("it is not a struct", name)
        return {name: content if tag == "M" else None for name, (tag, content) in members.items()}

    def _value(self) -> Typed:
        kind, token = self._token()
        if kind == "number":
            return "N", self._number(token)
        if kind == "symbol":
            return self._keyword_or_set(token)
        if token == '"':
            return "S", self._string('"')
        if token == "{":
            return "M", {name: dict([value]) for name, value in self._members().items()}
        if token == "[":
            return "L", [dict([value]) for value in self._elements()]
        if token == "{{":
            return "B", self._blob()
        raise _not_ion(self._position, f"{token!r} begins no value")

    def _keyword_or_set(self, symbol: str) -> Typed:
        if symbol == "null":
            return "NULL", True
        if symbol in ("true", "false"):
            return "BOOL", symbol == "true"
        if symbol not in SETS:
            raise _not_ion(self._position, "DynamoDB has no values of the Ion type SYMBOL")
        self._expect("::")
        self._expect("[")
        tag = SETS[symbol]
        elements = self._elements()
        if any(inside != tag[0] for inside, _ in elements):
            raise UndecodableValueError(f"an element of {symbol} is of another type")
        return tag, [content for _, content in elements]

    def _members(self) -> dict[str, Typed]:
        members: dict[str, Typed] = {}

        def member() -> None:
            name = self._name()
            self._expect(":")
            if name in members:
                raise _not_ion(self._position, "a name comes twice in one struct")
            try:
                members[name] = self._value()
            except UndecodableValueError as error:
                raise error.within(name) from None

        self._separated("}", member)
        return members

    def _elements(self) -> list[Typed]:
        elements: list[Typed] = []

        def element() -> None:
            try:
                elements.append(self._value())
            except UndecodableValueError as error:
                raise error.within("[]") from None

        self._separated("]", element)
        return elements

    def _separated(self, end: str, read: Callable[[], None]) -> None:
        """Read what commas separate, up to ``end``."""
        self._levels += 1
        if self._levels > MAX_LEVELS:
            raise UndecodableValueError("nested deeper than DynamoDB allows (32 levels)")
        while not self._found(end):
            read()
            if self._found(end):
                break
            self._expect(",")
        self._levels -= 1

    def _name(self) -> str:
        kind, token = self._token()
        if token in ('"', "'"):
            return self._string(token)
        if kind != "symbol" or token in _KEYWORDS or _SYMBOL_ID.match(token):
            raise _not_ion(self._position, f"{token!r} is not a field's name")
        return token

    def _number(self, text: str) -> str:
        """The digits without exponent, as in DynamoDB JSON."""
        try:
            number = Decimal(text.replace("d", "E").replace("D", "E"))
        except InvalidOperation:
            number = Decimal("Infinity")
        if not number.is_finite() or abs(number.as_tuple().exponent) > MAX_EXPONENT:  # type: ignore[arg-type]
            raise UndecodableValueError("the number is outside of DynamoDB's range")
        return format(number, "f")

    def _blob(self) -> str:
        match = _BLOB.match(self._text, self._position)
        if match is None:
            raise _not_ion(self._position, "a blob without end")
        self._position = match.end()
        return binary_text(match[1].replace(" ", "").replace("\t", "")).strip('"')

    def _string(self, quote: str) -> str:
        """The rest of a text that begins with ``quote``."""
        parts: list[str] = []
        while True:
            match = _TEXT.match(self._text, self._position)
            content, mark = match.groups() if match else ("", "")
            self._position += len(content) + len(mark)
            parts.append(content)
            if mark == quote:
                return _joined(parts)
            if mark == "\\":
                parts.append(self._escaped())
            elif mark in ("", "\n", "\r") or mark < " ":
                raise _not_ion(self._position, "a text without end")
            else:
                parts.append(mark)

    def _escaped(self) -> str:
        match = _ESCAPE.match(self._text, self._position)
        if match is None:
            raise _not_ion(self._position, "an unknown escape in a text")
        self._position = match.end()
        found = match.group()
        if found[0] not in "xuU":
            return _ESCAPES.get(found, found)
        code = int(found[1:], 16)
        if code > 0x10FFFF:
            raise _not_ion(self._position, "an escape past Unicode")
        return chr(code)

    def _token(self) -> tuple[str, str]:
        self._skip_space()
        match = _TOKEN.match(self._text, self._position)
        if match is None:
            found = "its end" if self._position >= len(self._text) else "an unknown token"
            raise _not_ion(self._position, found)
        self._position = match.end()
        return str(match.lastgroup), match.group()

    def _expect(self, mark: str) -> None:
        if not self._found(mark):
            raise _not_ion(self._position, f"{mark!r} is missing")

    def _found(self, mark: str) -> bool:
        self._skip_space()
        if not self._text.startswith(mark, self._position):
            return False
        self._position += len(mark)
        return True

    def _skip_space(self) -> None:
        match = _SPACE.match(self._text, self._position)
        self._position = match.end() if match else self._position


def _joined(parts: list[str]) -> str:
    """The text; two escapes that are a surrogate pair become one character."""
    text = "".join(parts)
    return text.encode("utf-16", "surrogatepass").decode("utf-16", "surrogatepass")
