"""Where the changes of the stream are, in numbers."""

from collections import Counter
from decimal import Decimal
from typing import Any

import pytest

from ddb_pipeline.lake.change_identity import identity
from ddb_pipeline.lake.reconcile import reconcile


def counted(text: str) -> Counter[tuple[str, ...]]:
    return Counter((letter,) for letter in text)


@pytest.mark.parametrize(
    ("case", "expected", "rows", "failed", "dead", "sums"),
    [
        ("no change", "", "", "", "", (0, 0, 0, 0, 0)),
        ("all delivered", "abc", "abc", "", "", (3, 0, 0, 0, 0)),
        ("one failed", "abc", "ab", "c", "", (2, 1, 0, 0, 0)),
        ("one is lost", "abc", "ab", "", "", (2, 0, 0, 1, 0)),
        ("one is a dead letter", "abc", "ab", "", "c", (2, 0, 1, 0, 0)),
        ("a dead letter that is a failed record too", "a", "", "a", "a", (0, 1, 0, 0, 0)),
        ("a dead letter that became a row", "a", "a", "", "a", (1, 0, 0, 0, 0)),
        ("changed twice, delivered once", "aa", "a", "", "", (1, 0, 0, 1, 0)),
        ("delivered twice", "a", "aa", "", "", (1, 0, 0, 0, 1)),
        ("a row that is a failed record too", "a", "a", "a", "", (1, 0, 0, 0, 0)),
        ("others that the stream no longer holds", "a", "abcd", "ef", "g", (1, 0, 0, 0, 0)),
    ],
)
def test_reconcile(
    case: str, expected: str, rows: str, failed: str, dead: str, sums: tuple[int, ...]
) -> None:
    found = reconcile(counted(expected), counted(rows), counted(failed), counted(dead))
    assert (
        found.rows,
        found.failed,
        found.dead_lettered,
        found.lost,
        found.repeated,
    ) == sums, case
    assert found.balanced == (found.lost == 0)
    assert len(found.lost_identities) == (1 if found.lost else 0)


@pytest.mark.parametrize(
    "values",
    [(15, Decimal("15.0"), 15.0), (Decimal("1E+2"), 100), (Decimal("0.10"), 0.1), (0, -0.0)],
)
def test_equal_numbers_have_one_identity(values: tuple[Any, ...]) -> None:
    assert len({identity([value]) for value in values}) == 1
