"""What a user decides about attributes whose values have several types.

A decision is made for an attribute's path, and every path of a value into the lake follows it: the
repair of crawled columns (``hive.decided_columns``) and inference (``hive.infer``) give the column
its type, and ``dynamodb.decided_items`` gives a value the form of its column, for the stream, for
exports and so for the current view.

==========  ==================================  ================================================
decision    columns                             values
==========  ==================================  ================================================
``text``    string                              all as text: numbers with their digits, sets,
                                                lists and maps as JSON
``wider``   bigint if all numbers are 64-bit    numbers; all else, and a number that the column
            integers, else double               does not hold exactly, is refused
``split``   ``NAME__n`` of the type that        numbers in ``NAME__n``; all else, and numbers
            ``wider`` has, ``NAME__s`` string   that it does not hold exactly, as text in
                                                ``NAME__s``
``refuse``  the type that the column has; a     those of the column's type; all else is refused
            new one that of most values
==========  ==================================  ================================================

Nulls are nulls. A refused value is an error record with the reason: a dead letter of the stream, a
rejected line of an export. A column that exists keeps its type whatever is decided later: a value
that the column cannot hold is refused then, and after ``split`` no value needs the old column.

A path has attribute or column names: ``meta.score``. Lists on the way are passed through; ``[]`` at
its end names the elements of a list, ``{}`` the values of a map whose keys are data. Neither can be
split: only a column or a field of a struct has room for a second one beside it.
"""

import json
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from enum import Enum
from typing import Any, Final, TypeAlias

from ddb_pipeline.errors import DdbPipelineError
from ddb_pipeline.hive.attribute_paths import parse_path
from ddb_pipeline.hive.names import column_name
from ddb_pipeline.hive.numbers import NumberRange
from ddb_pipeline.hive.types import PRIMITIVE_TYPES, HiveType

ELEMENTS: Final = "[]"
VALUES: Final = "{}"
"""Steps of a path to what has no name."""

DecisionPath: TypeAlias = tuple[str, ...]
"""Column names, ``ELEMENTS`` and ``VALUES``."""

BIGINT: Final = PRIMITIVE_TYPES["bigint"]
DOUBLE: Final = PRIMITIVE_TYPES["double"]

_STEPS: Final = re.compile(r"(.*?)((?:\[\]|\{\})*)").fullmatch
_STEP: Final = re.compile(r"\[\]|\{\}")


class Decision(Enum):
    """What becomes of the values of an attribute that have several types."""

    TEXT = "text"
    WIDER = "wider"
    SPLIT = "split"
    REFUSE = "refuse"


class TypeDecisionError(DdbPipelineError, ValueError):
    """Decisions cannot be carried out as they are configured; the message names the path."""


@dataclass(frozen=True, slots=True)
class Decided:
    """What is decided at a path and further inside, by step."""

    decision: Decision | None = None
    inside: Mapping[str, "Decided"] = field(default_factory=dict)

    def __bool__(self) -> bool:
        return self.decision is not None or bool(self.inside)

    def at(self, step: str) -> "Decided":
        """What is decided one step further inside."""
        return self.inside.get(step, UNDECIDED)

    @property
    def elements(self) -> "Decided":
        """What is decided about a list's elements; names lead into the maps in the list."""
        own = self.at(ELEMENTS)
        named = {step: inner for step, inner in self.inside.items() if step != ELEMENTS}
        return Decided(own.decision, {**named, **own.inside})


UNDECIDED: Final = Decided()


@dataclass(frozen=True, slots=True)
class TypeDecisions:
    """Decisions by path, in a form that can be sent to other processes.

    Attributes:
        by_path: in the order of the paths.
    """

    by_path: tuple[tuple[DecisionPath, Decision], ...] = ()

    def __bool__(self) -> bool:
        return bool(self.by_path)

    @property
    def tree(self) -> Decided:
        """The decisions by step."""
        return Decided(None, _branches(self.by_path))

    @property
    def names_by_path(self) -> dict[str, str]:
        """The names of the decisions by path, as a configuration has them."""
        return {path_text(path): decision.value for path, decision in self.by_path}

    @property
    def text(self) -> str:
        """The decisions as JSON, which ``parse_decisions`` reads; empty for none."""
        return json.dumps(self.names_by_path, separators=(",", ":")) if self.by_path else ""


NO_DECISIONS: Final = TypeDecisions()


def read_decisions(by_path: Mapping[str, Any]) -> TypeDecisions:
    """The decisions of a configuration: paths, each with the name of a decision.

    Raises:
        TypeDecisionError: a path or a decision is not valid, or two contradict each other.
    """
    found: dict[DecisionPath, Decision] = {}
    for text, name in by_path.items():
        path, decision = _path(text), _decision(text, name)
        if path in found:
            raise TypeDecisionError(
                f"{path_text(path)!r} has two decisions: {text!r} names the same column as another "
                "path. Remove one of them."
            )
        if decision is Decision.SPLIT and path[-1] in (ELEMENTS, VALUES):
            raise TypeDecisionError(
                f"{text!r} cannot be split: elements of a list and values of a map have no room "
                f"for a second column. Use one of {_names(Decision.SPLIT)}."
            )
        found[path] = decision
    decisions = TypeDecisions(tuple(sorted(found.items(), key=lambda each: each[0])))
    for problem in _contradictions(found):
        raise TypeDecisionError(problem)
    return decisions


def parse_decisions(text: str) -> TypeDecisions:
    """The decisions from JSON, as ``TypeDecisions.text`` has them.

    Raises:
        TypeDecisionError: it is no JSON object, or its decisions are not valid.
    """
    try:
        found = json.loads(text) if text else {}
    except (ValueError, RecursionError) as error:
        raise TypeDecisionError(f"the type decisions are not JSON: {error}") from None
    if not isinstance(found, dict):
        raise TypeDecisionError("the type decisions are not a JSON object")
    return read_decisions(found)


def split_names(name: str) -> tuple[str, str]:
    """The columns into which one is split: of numbers, and of everything else as text."""
    return column_name(f"{name}__n"), column_name(f"{name}__s")


def wider_number(numbers: NumberRange | None) -> HiveType:
    """The type of numbers that are decided about: one that Firehose takes, too."""
    return BIGINT if numbers is not None and numbers.bigint else DOUBLE


def path_text(path: DecisionPath) -> str:
    """A path as users write it."""
    text = ""
    for step in path:
        text += step if step in (ELEMENTS, VALUES) or not text else f".{step}"
    return text


def configuration_line(path: str, decision: Decision) -> str:
    """The line of the table ``[pipelines.type_conflicts]`` for a path."""
    key = path if re.fullmatch(r"[a-z0-9_]+", path) else json.dumps(path)
    return f'{key} = "{decision.value}"'


def _path(text: str) -> DecisionPath:
    try:
        names = parse_path(text)
    except ValueError as error:
        raise TypeDecisionError(str(error)) from None
    steps: list[str] = []
    for name in names:
        match = _STEPS(name)
        if match is None or not match[1]:
            raise TypeDecisionError(
                f"{text!r} is not a path of an attribute such as meta.score, lines[] or scores{{}}"
            )
        while steps[-1:] == [ELEMENTS]:
            # Lists on the way are passed through: lines[].price is lines.price.
            steps.pop()
        steps += [column_name(match[1]), *_STEP.findall(match[2])]
    return tuple(steps)


def _decision(path: str, name: Any) -> Decision:
    try:
        return Decision(name)
    except ValueError:
        raise TypeDecisionError(
            f"{path!r} is decided as {name!r}, which is none of {_names()}"
        ) from None


def _names(other_than: Decision | None = None) -> str:
    return ", ".join(each.value for each in Decision if each is not other_than)


def _contradictions(found: Mapping[DecisionPath, Decision]) -> Iterator[str]:
    for path, decision in found.items():
        for length in range(1, len(path)):
            above = found.get(path[:length])
            if above is not None and above is not Decision.REFUSE:
                yield (
                    f"{path_text(path)!r} is inside {path_text(path[:length])!r}, whose values "
                    f"have no fields any more ({above.value}). Remove one of the two decisions."
                )
        if decision is Decision.SPLIT:
            for name in split_names(path[-1]):
                if (*path[:-1], name) in found:
                    yield (
                        f"{path_text((*path[:-1], name))!r} is a column that splitting "
                        f"{path_text(path)!r} makes. Remove its own decision."
                    )


def _branches(
    by_path: tuple[tuple[DecisionPath, Decision], ...],
) -> dict[str, Decided]:
    first: dict[str, list[tuple[DecisionPath, Decision]]] = {}
    for path, decision in by_path:
        first.setdefault(path[0], []).append((path[1:], decision))
    branches = {}
    for step, rest in first.items():
        own = next((decision for path, decision in rest if not path), None)
        branches[step] = Decided(own, _branches(tuple(each for each in rest if each[0])))
    return branches
