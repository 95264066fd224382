"""Column names of single attributes, and of all attributes at one level."""

import itertools
import re

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from ddb_pipeline.hive import names as names_module
from ddb_pipeline.hive.names import (
    MAX_NAME_BYTES,
    column_name,
    column_names,
    distinct_names,
    reads_as_number,
)


@pytest.mark.parametrize(
    ("attribute", "column"),
    [
        ("order_id", "order_id"),
        ("orderId", "orderid"),
        ("ORDER-ID", "order_id"),
        ("a b,c;d:e{f}g(h)i\nj\tk=l<m>n.o$p/q", "a_b_c_d_e_f_g_h_i_j_k_l_m_n_o_p_q"),
        ("_", "_"),
        ("1st", "1st"),
        ("", "_"),
        # Letters with marks, however they are written.
        ("Größe", "grosse"),
        ("Cafe\u0301", "cafe"),
        ("Caf\u00e9", "cafe"),
        ("Łódź", "lodz"),
        ("København", "kobenhavn"),
        ("\u0130stanbul", "istanbul"),
        ("\uff21\ufb01", "afi"),
        # Characters without a form in ASCII.
        ("名前", "___7ec26292"),
        ("住所", "___f7107db3"),
        ("\u0661", "__628f6d71"),
        ("a\u00b2", "a__429416a1"),
        ("\U0001f600", "__f0443a34"),
        ("\U00010400", "__54d4cacd"),
        ("\ud83d", "__7586f70f"),
        # Letters of Unicode 14, which Python 3.10 does not have: the same result on every version.
        ("\u0870", "__90ad7a5d"),
        ("\ua7f2", "__09105bd6"),
        ("delivery_date", "item_delivery_date"),
        ("Delivery_Hour", "item_delivery_hour"),
        ("delivery_hours", "delivery_hours"),
        ("ddb_", "item_ddb_"),
        ("DDB-keys", "item_ddb_keys"),
        ("ddb", "ddb"),
        ("ddb_é", "item_ddb_e"),
        ("x" * 255, "x" * 255),
        ("x" * 256, "x" * 246 + "_85e62acd"),
        ("é" * 255, "e" * 255),
    ],
)
def test_one_name(attribute: str, column: str) -> None:
    assert column_name(attribute) == column
    assert column_name(column_name(attribute)) == column_name(attribute)


@pytest.mark.parametrize(
    ("attributes", "columns"),
    [
        (["a", "B"], ["a", "b"]),
        (["a", "A"], ["a", "a_559aead0"]),
        (["A"], ["a"]),
        # No attribute has the column's name: the first by code points gets it.
        (["A-b", "a-b", "a b"], ["a_b", "a_b_d44362d6", "a_b_c8687a08"]),
        # A name equal to the hashed name of another.
        (["a", "A", "a_559aead0"], ["a", "a_e61c21ca", "a_559aead0"]),
        (["ddb_x", "item_ddb_x"], ["item_ddb_x_", "item_ddb_x"]),
        ([], []),
    ],
)
def test_one_level(attributes: list[str], columns: list[str]) -> None:
    for order in itertools.permutations(attributes):
        found = column_names(order)
        assert list(found) == list(order)
        assert len(set(found.values())) == len(attributes)
        for attribute, column in zip(attributes, columns, strict=True):
            assert found[attribute].startswith(column)


names = st.text(st.sampled_from("abAB-_ .é\U0001f600"), max_size=3) | st.text(max_size=300)


@given(names)
@settings(deadline=None)
def test_a_column_name_is_its_own(attribute: str) -> None:
    column = column_name(attribute)
    assert column_name(column) == column
    assert 1 <= len(column.encode()) <= MAX_NAME_BYTES
    assert re.fullmatch("[a-z0-9_]+", column)


@given(st.lists(names, unique=True), st.randoms())
@settings(deadline=None)
def test_columns_of_a_level_are_distinct_in_any_order(attributes: list[str], rng: object) -> None:
    columns = column_names(attributes)
    assert len(set(columns.values())) == len(attributes)
    assert column_names(reversed(attributes)) == columns
    assert column_names(columns.values()) == {name: name for name in columns.values()}
    for attribute, column in columns.items():
        assert column == column_name(attribute) or len(attributes) > 1


@given(st.lists(names, unique=True, min_size=1), st.data())
@settings(deadline=None)
def test_a_table_of_all_spellings_has_the_columns_of_every_item(
    attributes: list[str], data: st.DataObject
) -> None:
    columns = set(column_names(attributes).values())
    item = data.draw(st.lists(st.sampled_from(attributes), unique=True))
    assert set(column_names(item).values()) <= columns


@given(st.lists(names))
@settings(deadline=None)
def test_names_that_repeat(attributes: list[str]) -> None:
    columns = distinct_names(attributes)
    assert len(set(columns)) == len(attributes)
    assert distinct_names(columns) == columns


@pytest.mark.parametrize(
    ("name", "number"),
    [
        *(
            (name, True)
            for name in ("7", "007", "30d", "12l", "3s", "7y", "2f", "9bd", "1e5", "1e5d")
        ),
        *((name, False) for name in ("_1", "1_", "123abc", "1e", "5m", "0x1f", "1e5l", "d", "a1")),
    ],
)
def test_names_that_spark_reads_as_numbers(name: str, number: bool) -> None:
    assert reads_as_number(name) == number


def test_clean_names_are_not_looked_at_by_character(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delattr(names_module, "_ascii")
    attributes = [f"clean_attribute_{i}" for i in range(20)]
    assert list(column_names(attributes).values()) == attributes
