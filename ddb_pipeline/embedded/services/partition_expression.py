"""Glue's filter expressions on partition keys, as ``GetPartitions`` takes them.

A small SQL: comparisons, ``IN``, ``BETWEEN``, ``LIKE``, ``IS [NOT] NULL``, ``AND``, ``OR``,
``NOT`` and parentheses (AWS Glue API reference, GetPartitions).
"""

import re
from collections.abc import Callable, Mapping, Sequence

Filter = Callable[[Mapping[str, str]], bool]

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


class ExpressionError(ValueError):
    """The expression is not one that Glue takes; the message names the place."""


def parse_expression(text: str, keys: Sequence[str]) -> Filter:
    """The expression as a function of a partition's values by key name.

    Raises:
        ExpressionError: it is malformed or names something that is no partition key.
    """
    parser = _Parser(text, {key.lower(): key for key in keys})
    found = parser.alternatives()
    parser.finish()
    return found


def matches(expression: Filter, values: Mapping[str, str]) -> bool:
    return expression(values)


class _Parser:
    def __init__(self, text: str, keys: Mapping[str, str]) -> None:
        self._text = text
        self._keys = keys
        self._tokens = self._split()
        self._next = 0

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

    def _take(self, *wanted: str) -> bool:
        if self._peek().lower() in wanted:
            self._next += 1
            return True
        return False

    def _expect(self, wanted: str) -> None:
        if not self._take(wanted):
            raise ExpressionError(f"{wanted!r} expected before {self._peek()!r} in {self._text!r}")

    def finish(self) -> None:
        if self._peek():
            raise ExpressionError(f"{self._peek()!r} is unexpected in {self._text!r}")

    def alternatives(self) -> Filter:
        parts = [self._conjunction()]
        while self._take("or"):
            parts.append(self._conjunction())
        return lambda values: any(part(values) for part in parts)

    def _conjunction(self) -> Filter:
        parts = [self._negation()]
        while self._take("and"):
            parts.append(self._negation())
        return lambda values: all(part(values) for part in parts)

    def _negation(self) -> Filter:
        if self._take("not"):
            inner = self._negation()
            return lambda values: not inner(values)
        if self._take("("):
            inner = self.alternatives()
            self._expect(")")
            return inner
        return self._condition()

    def _condition(self) -> Filter:
        name = self._peek()
        self._next += 1
        key = self._keys.get(name.lower())
        if key is None:
            raise ExpressionError(f"{name!r} is no partition key in {self._text!r}")
        negated = self._take("not")
        condition = self._predicate(key)
        return (lambda values: not condition(values)) if negated else condition

    def _predicate(self, key: str) -> Filter:
        sign = self._peek().lower()
        self._next += 1
        if sign in _COMPARE:
            compare, value = _COMPARE[sign], self._value()
            return lambda values: compare(_like(values[key], value), value)
        if sign == "in":
            wanted = self._list()
            return lambda values: any(_like(values[key], v) == v for v in wanted)
        if sign == "between":
            low = self._value()
            self._expect("and")
            high = self._value()
            return lambda values: low <= _like(values[key], low) <= high  # type: ignore[operator]
        if sign == "like":
            pattern = _pattern(str(self._value()))
            return lambda values: pattern.fullmatch(values[key]) is not None
        if sign == "is":
            negated = self._take("not")
            self._expect("null")
            return lambda values: negated
        raise ExpressionError(f"{sign!r} is no comparison in {self._text!r}")

    def _list(self) -> list[str | float]:
        self._expect("(")
        found = [self._value()]
        while self._take(","):
            found.append(self._value())
        self._expect(")")
        return found

    def _value(self) -> str | float:
        token = self._peek()
        self._next += 1
        if token.startswith("'"):
            return token[1:-1].replace("''", "'")
        try:
            return float(token)
        except ValueError:
            raise ExpressionError(f"{token!r} is no value in {self._text!r}") from None


def _like(value: str, other: object) -> str | float:
    """A partition's value as what it is compared with: a number with a number."""
    if not isinstance(other, float):
        return value
    try:
        return float(value)
    except ValueError:
        return float("nan")


def _pattern(like: str) -> re.Pattern[str]:
    parts = [".*" if c == "%" else "." if c == "_" else re.escape(c) for c in like]
    return re.compile("".join(parts), re.DOTALL)
