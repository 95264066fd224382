"""Filter expressions on partition keys, as in the Expression of ``GetPartitions``.

They are a subset of SQL: comparisons, ``IN``, ``BETWEEN``, ``LIKE``, ``IS [NOT] NULL``, ``AND``,
``OR``, ``NOT`` and parentheses (AWS Glue API reference, GetPartitions).
"""

import re
from collections.abc import Callable, Mapping, Sequence
from typing import Final

Filter = Callable[[Mapping[str, str]], bool]
"""Returns whether a partition matches, from its values by the names of the partition keys."""

_TOKEN = re.compile(
    r"\s*(?:(?P<text>'(?:[^']|'')*')|(?P<number>-?\d+(?:\.\d+)?)|(?P<name>[A-Za-z_]\w*)"
    r"|(?P<sign><=|>=|<>|!=|=|<|>|\(|\)|,))"
)
_COMPARE: Mapping[str, Callable[[object, object], bool]] = {
    "=": lambda a, b: a == b,
    "<>": lambda a, b: a != b,
    "!=": lambda a, b: a != b,
    "<": lambda a, b: a < b,  # type: ignore[operator]
    ">": lambda a, b: a > b,  # type: ignore[operator]
    "<=": lambda a, b: a <= b,  # type: ignore[operator]
    ">=": lambda a, b: a >= b,  # type: ignore[operator]
}


MAX_LEVELS: Final = 100
"""Parentheses and NOTs of an expression; the parser makes a few calls for each."""


class ExpressionError(ValueError):
    """Glue does not accept the expression; the message quotes the part at fault."""


def parse_expression(text: str, keys: Sequence[str]) -> Filter:
    """Parse an expression.

    Args:
        text: the expression.
        keys: the names of the partition keys.

    Raises:
        ExpressionError: it is malformed or names something that is no partition key.
    """
    return _Parser(text, keys).parse()


class _Parser:
    """A recursive descent parser with one method for each level of precedence."""

    def __init__(self, text: str, keys: Sequence[str]) -> None:
        self._text = text
        self._keys = {key.lower(): key for key in keys}
        self._tokens = self._split()
        self._next = 0
        opened = sum(token.lower() in ("(", "not") for token in self._tokens)
        if opened > MAX_LEVELS:
            raise ExpressionError(f"More than {MAX_LEVELS} parentheses and NOTs in {text[:200]!r}")

    def _split(self) -> list[str]:
        tokens, position = [], 0
        while position < len(self._text.rstrip()):
            match = _TOKEN.match(self._text, position)
            if match is None:
                raise ExpressionError(f"Unexpected character at {position} of {self._text!r}")
            tokens.append(match.group().strip())
            position = match.end()
        return tokens

    def _peek(self) -> str:
        return self._tokens[self._next] if self._next < len(self._tokens) else ""

    def _accept(self, *tokens: str) -> bool:
        if self._peek().lower() in tokens:
            self._next += 1
            return True
        return False

    def _expect(self, token: str) -> None:
        if not self._accept(token):
            raise ExpressionError(f"{token!r} expected before {self._peek()!r} in {self._text!r}")

    def parse(self) -> Filter:
        parsed = self._disjunction()
        if self._peek():
            raise ExpressionError(f"{self._peek()!r} is unexpected in {self._text!r}")
        return parsed

    def _disjunction(self) -> Filter:
        parts = [self._conjunction()]
        while self._accept("or"):
            parts.append(self._conjunction())
        return lambda values: any(part(values) for part in parts)

    def _conjunction(self) -> Filter:
        parts = [self._negation()]
        while self._accept("and"):
            parts.append(self._negation())
        return lambda values: all(part(values) for part in parts)

    def _negation(self) -> Filter:
        if self._accept("not"):
            inner = self._negation()
            return lambda values: not inner(values)
        if self._accept("("):
            inner = self._disjunction()
            self._expect(")")
            return inner
        return self._condition()

    def _condition(self) -> Filter:
        name = self._peek()
        self._next += 1
        key = self._keys.get(name.lower())
        if key is None:
            raise ExpressionError(f"{name!r} is not a partition key in {self._text!r}")
        negated = self._accept("not")
        condition = self._predicate(key)
        return (lambda values: not condition(values)) if negated else condition

    def _predicate(self, key: str) -> Filter:
        sign = self._peek().lower()
        self._next += 1
        if sign in _COMPARE:
            compare, value = _COMPARE[sign], self._value()
            return lambda values: compare(_comparable(values[key], value), value)
        if sign == "in":
            members = self._list()
            return lambda values: any(_comparable(values[key], v) == v for v in members)
        if sign == "between":
            low = self._value()
            self._expect("and")
            high = self._value()
            return lambda values: low <= _comparable(values[key], low) <= high  # type: ignore[operator]
        if sign == "like":
            pattern = _pattern(str(self._value()))
            return lambda values: pattern.fullmatch(values[key]) is not None
        if sign == "is":
            negated = self._accept("not")
            self._expect("null")
            return lambda values: negated
        raise ExpressionError(f"{sign!r} is not a comparison in {self._text!r}")

    def _list(self) -> list[str | float]:
        self._expect("(")
        members = [self._value()]
        while self._accept(","):
            members.append(self._value())
        self._expect(")")
        return members

    def _value(self) -> str | float:
        token = self._peek()
        self._next += 1
        if token.startswith("'"):
            return token[1:-1].replace("''", "'")
        try:
            return float(token)
        except ValueError:
            raise ExpressionError(f"{token!r} is not a value in {self._text!r}") from None


def _comparable(value: str, other: object) -> str | float:
    """Return a partition's value as a number where it is compared with a number."""
    if not isinstance(other, float):
        return value
    try:
        return float(value)
    except ValueError:
        return float("nan")


def _pattern(like: str) -> re.Pattern[str]:
    parts = [".*" if c == "%" else "." if c == "_" else re.escape(c) for c in like]
    return re.compile("".join(parts), re.DOTALL)
