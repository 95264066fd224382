"""The tokens of a Hive type string, and Hive's messages for tokens that it did not expect."""

import re
import unicodedata
from functools import lru_cache
from typing import Final

# Letters of the BMP newer than Unicode 13, the version of Java 17; Python 3.11 and later have them.
_LETTERS_AFTER_UNICODE_13: Final = (
    (0x0870, 0x088F),
    (0x08B5, 0x08B5),
    (0x08C8, 0x08C9),
    (0x0C5D, 0x0C5D),
    (0x0CDD, 0x0CDD),
    (0x170D, 0x170D),
    (0x171F, 0x171F),
    (0x1B4C, 0x1B4C),
    (0x1C89, 0x1C8A),
    (0x2C2F, 0x2C2F),
    (0x2C5F, 0x2C5F),
    (0x9FFD, 0x9FFF),
    (0xA7C0, 0xA7C1),
    (0xA7CB, 0xA7DC),
    (0xA7F1, 0xA7F4),
)


@lru_cache(maxsize=4096)
def is_name_character(character: str) -> bool:
    """Whether one character can be part of a name: ``_``, ``.``, ``$``, a space, or a letter or
    decimal digit of the Basic Multilingual Plane in Unicode 13."""
    if character.isascii():
        return character.isalnum() or character in "_. $"
    point = ord(character)
    if point > 0xFFFF:
        return False
    category = unicodedata.category(character)
    if category[0] != "L" and category != "Nd":
        return False
    return not any(first <= point <= last for first, last in _LETTERS_AFTER_UNICODE_13)


class _CharacterClasses(dict[int, str]):
    """A table for str.translate: name characters become ``a``, all others ``-``."""

    def __missing__(self, point: int) -> str:
        found = self[point] = "a" if is_name_character(chr(point)) else "-"
        return found


_ASCII_TOKENS: Final = re.compile(r"[A-Za-z0-9_.$ ]+|[^A-Za-z0-9_.$ ]")
_CLASS_TOKENS: Final = re.compile("a+|-")


def _units(text: str) -> str:
    """The text with each UTF-16 code unit as one character, as Java counts them."""
    if text.isascii() or max(text) <= "\uffff":
        return text
    data = text.encode("utf-16-le", "surrogatepass")
    return "".join([chr(data[i] | data[i + 1] << 8) for i in range(0, len(data), 2)])


def _joined(units: str) -> str:
    """The reverse of :func:`_units`: surrogate pairs become single characters."""
    return units.encode("utf-16-le", "surrogatepass").decode("utf-16-le", "surrogatepass")


class TokenReader:
    """Reads the tokens of a text in order.

    A token is a run of name characters, or one other UTF-16 code unit. Positions count UTF-16 code
    units, as in Java.

    Attributes:
        text: the text.
        index: the index of the next token.
    """

    __slots__ = ("_tokens", "_units", "index", "text")

    def __init__(self, text: str) -> None:
        self.index = 0
        self._units = _units(text)
        self.text = text if text.isascii() else _joined(self._units)
        self._tokens = _tokens(self._units)

    def peek(self, ahead: int = 0) -> str | None:
        """The next token, or one further on; None at the end."""
        index = self.index + ahead
        return self._tokens[index] if index < len(self._tokens) else None

    def take(self, *tokens: str | None) -> str | None:
        """Read the next token if it is one of these."""
        token = self.peek()
        if token is None or token not in tokens:
            return None
        self.index += 1
        return token

    def take_name(self) -> str | None:
        """Read the next token if it is a name."""
        token = self.peek()
        if token is None or not is_name_character(token[0]):
            return None
        self.index += 1
        return token

    def text_since(self, start: int) -> str:
        """The text from the token at index ``start`` up to the next token."""
        return _joined("".join(self._tokens[start : self.index]))

    def positions(self) -> list[int]:
        """Where each token starts."""
        positions, end = [], 0
        for token in self._tokens:
            positions.append(end)
            end += len(token)
        return positions

    def expected(self, item: str) -> str:
        """Hive's message if the next token is not ``item``."""
        token = self.peek()
        if token is None:
            return f"Error: {item} expected at the end of '{self.text}'"
        return _joined(
            f"Error: {item} expected at the position {self.positions()[self.index]} "
            f"of '{self._units}' but '{token}' is found."
        )

    def wrong_separator(self) -> str:
        """Hive's message if the next token does not separate two types."""
        positions = self.positions()
        listed = ", ".join(map("{}:{}".format, positions, self._tokens))
        return _joined(
            f"Error: ',', ':', or ';' expected at position {positions[self.index]} "
            f"from '{self._units}' [{listed}]"
        )

    def internal_error(self) -> str:
        """Hive's message if the last token is a type name that Hive cannot make a type of."""
        position = self.positions()[self.index - 1]
        return f"Internal error parsing position {position} of '{self.text}'"


def _tokens(units: str) -> list[str]:
    if units.isascii():
        return _ASCII_TOKENS.findall(units)
    classes = units.translate(_CharacterClasses())
    return [units[found.start() : found.end()] for found in _CLASS_TOKENS.finditer(classes)]
