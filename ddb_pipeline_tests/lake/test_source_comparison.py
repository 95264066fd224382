"""A sample of items compared with a current view: what is equal, and which difference counts."""

from typing import Any

import pytest

from ddb_pipeline.hive.types import Column
from ddb_pipeline.lake.source_comparison import (
    EXTRA,
    MISSING,
    Difference,
    differing_columns,
    item_digest,
    judged,
    parse,
    render,
    rows_of_items,
)

COLUMNS = (
    Column("id", "string"),
    Column("n", "decimal(38,3)"),
    Column("tags", "array<string>"),
    Column("lines", "array<bigint>"),
    Column("blob", "binary"),
)


def item(**attributes: Any) -> dict[str, Any]:
    return {"id": {"S": "a"}, **attributes}


@pytest.mark.parametrize(
    ("left", "right", "names"),
    [
        (item(), item(), ()),
        (item(n={"N": "1.50"}), item(n={"N": "15E-1"}), ()),
        (item(n={"N": "1"}), item(n={"N": "2"}), ("n",)),
        (item(n={"N": "1"}), item(), ("n",)),
        (item(tags={"SS": ["x", "y"]}), item(tags={"SS": ["y", "x"]}), ()),
        (item(tags={"SS": ["x"]}), item(tags={"SS": ["y"]}), ("tags",)),
        (
            item(lines={"L": [{"N": "1"}, {"N": "2"}]}),
            item(lines={"L": [{"N": "2"}, {"N": "1"}]}),
            ("lines",),
        ),
        (item(blob={"B": b"\x00\xff"}), item(blob={"B": "AP8="}), ()),
        (item(), None, (MISSING,)),
        (None, item(), (EXTRA,)),
        (None, None, ()),
    ],
)
def test_columns_that_differ_are_named(left: Any, right: Any, names: tuple[str, ...]) -> None:
    items = [each for each in (left, right) if each is not None]
    rows = iter(rows_of_items(items, COLUMNS))
    expected = next(rows) if left is not None else None
    row = next(rows) if right is not None else None
    assert differing_columns(left, expected, row, COLUMNS) == names


def test_an_item_that_no_column_holds_differs() -> None:
    (row,) = rows_of_items([item(n={"N": "1E+60"})], COLUMNS)
    assert row is None
    assert differing_columns(item(), row, {"id": "a"}, COLUMNS)


def test_digests_do_not_depend_on_the_order_of_attributes_and_sets() -> None:
    one = item(tags={"SS": ["x", "y"]}, n={"N": "1"})
    other: Any = {"n": {"N": "1"}, "tags": {"SS": ["y", "x"]}, "id": {"S": "a"}}
    assert item_digest(one) == item_digest(other)
    assert item_digest(one) != item_digest(item(n={"N": "1"}))
    assert item_digest(None) == ""


def test_a_difference_counts_when_the_view_has_passed_it_and_the_item_is_the_same() -> None:
    found = Difference("key", ("n",), "digest", 100.0)
    real, remembered = judged([found], {}, as_of=90.0)
    assert (real, remembered) == ([], [found])
    earlier = parse(render(remembered))
    assert earlier == {"key": found}
    again = Difference("key", ("n",), "digest", 200.0)
    real, remembered = judged([again], earlier, as_of=99.0)
    assert (real, remembered) == ([], [found])
    real, remembered = judged([again], earlier, as_of=101.0)
    assert (real, remembered) == ([found], [found])
    # The item was written again since: the view may not have that yet.
    changed = Difference("key", ("n",), "other", 200.0)
    assert judged([changed], earlier, as_of=150.0) == ([], [changed])


@pytest.mark.parametrize("text", [b"", b"[]", b'{"differences": [1]}', b"\xff"])
def test_foreign_state_is_no_difference(text: bytes) -> None:
    assert parse(text) == {}
