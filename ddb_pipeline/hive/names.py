"""Attribute names to column names: the one rule, for schemas and for records alike.

A column name is made of ``a-z``, ``0-9`` and ``_`` alone, which every engine takes without quotes.
(Hive's type grammar takes more, but Spark 3 cannot open a table that has a struct with a field of
another name, SPARK-46934, and Athena documents only these.) Capitals become small letters, letters
with marks lose them (``Größe`` becomes ``grosse``), any other character becomes ``_``. If that was
a letter, a digit or a symbol beyond ASCII, a hash of the whole name comes after, so that names in
other scripts do not all look alike. Names that the delivery keeps for itself (``delivery_date``,
``delivery_hour``, all of ``ddb_...``) get ``item_`` put before them. A name longer than Glue allows
is cut and ends in the hash. The rule looks at one name only, so a schema and a record that know
nothing of each other agree.

Where several attributes of one level of one item come to the same column, the one that already is
the column's name keeps it, or else the first by code points; the others get a hash of their own
name as a suffix. That needs them to be together: an item with only ``A`` puts it into column ``a``,
an item with ``a`` and ``A`` puts it into ``a_559aead0``. Schema inference and record writing both
go item by item through :func:`column_names`, so that each value is under a column inferred for it,
and a catalog table that lists all the spellings declares every column that a record can come with.
A reader who wants all of ``A`` has to look in both columns: the price of spelling a name two ways.
"""

import re
import unicodedata
from collections import Counter
from collections.abc import Iterable, Sequence
from functools import lru_cache
from hashlib import sha256
from itertools import count
from typing import Final

from ddb_pipeline.hive.tokens import is_name_character

MAX_NAME_BYTES: Final = 255
"""UTF-8 bytes of a column name (AWS Glue API reference, Column)."""

DELIVERY_NAMES: Final = (
    "ddb_event_id",
    "ddb_event_name",
    "ddb_sequence_number",
    "ddb_event_time",
    "ddb_keys",
    "ddb_expired",
)
"""The columns that say of each row which change it came with."""

_RESERVED: Final = re.compile(r"ddb_|delivery_(?:date|hour)\Z")
_CLEAN: Final = re.compile(r"(?!ddb_|delivery_(?:date|hour)\Z)[a-z0-9_]{1,255}").fullmatch
_SPARK_NUMBER: Final = re.compile(r"[0-9]+(?:[lsy]|(?:e[0-9]+)?(?:d|f|bd)?)").fullmatch
_LETTERS_WITHOUT_MARKS: Final = str.maketrans(
    {"æ": "ae", "ð": "d", "ø": "o", "þ": "th", "đ": "d", "ı": "i", "ł": "l", "œ": "oe"}
)
_MARKS: Final = re.compile("[\u0300-\u036f]+")
_HASH_DIGITS: Final = 8
_LONGEST_CACHED: Final = 128


def column_name(attribute: str) -> str:
    """The column for an attribute that shares its level with no similar name.

    A column name is its own column name.
    """
    if len(attribute) <= _LONGEST_CACHED:
        return _cached_column_name(attribute)
    return _column_name(attribute)


def column_names(attributes: Iterable[str]) -> dict[str, str]:
    """The columns for all attributes of one level of one item; no two get the same.

    The order of ``attributes`` makes no difference, other than to the order of the result.
    """
    columns = {attribute: column_name(attribute) for attribute in attributes}
    if len(set(columns.values())) < len(columns):
        _part(columns)
    return columns


def distinct_names(names: Sequence[str]) -> tuple[str, ...]:
    """Column names for a list of names in which even the same name may come twice.

    The first of two equal names gets what :func:`column_names` gives; the result is left as it is
    when put in again.
    """
    columns = column_names(names)
    given: list[str] = []
    taken = set(columns.values())
    seen: Counter[str] = Counter()
    for name in names:
        column = columns[name]
        if seen[name]:
            column = _free_name(column, f"{name}\0{seen[name]}", taken)
            taken.add(column)
        seen[name] += 1
        given.append(column)
    return tuple(given)


def reads_as_number(name: str) -> bool:
    """Whether Spark takes a field's name for a number (``7``, ``30d``, ``1e5``) and gives up.

    As a column's own name it is fine.
    """
    return _SPARK_NUMBER(name) is not None


def _column_name(attribute: str) -> str:
    if _CLEAN(attribute):
        return attribute
    letters = list(map(_ascii, _MARKS.sub("", attribute)))
    name = "".join([letter or "_" for letter in letters]) or "_"
    if _RESERVED.match(name):
        name = f"item_{name}"
    if None in letters or len(name) > MAX_NAME_BYTES:
        name = _with_hash(name, attribute)
    return name


_cached_column_name = lru_cache(maxsize=8192)(_column_name)


def _ascii(character: str) -> str | None:
    """What becomes of one character; None if it has nothing in common with any of ASCII."""
    if character.isascii():
        return character.lower() if character.isalnum() else "_"
    # Only what Unicode 13 has, so that each version of Python comes to the same.
    if not is_name_character(character):
        return None
    folded = unicodedata.normalize("NFKD", character).casefold().translate(_LETTERS_WITHOUT_MARKS)
    return "".join([c for c in folded if c.isascii() and c.isalnum()]) or None


def _part(columns: dict[str, str]) -> None:
    """Give attributes that share a column one each, but for one of them that keeps it."""
    taken = set(columns.values())
    kept = {column for attribute, column in columns.items() if attribute == column}
    for attribute in sorted(columns):
        column = columns[attribute]
        if attribute == column:
            continue
        if column in kept:
            columns[attribute] = _free_name(column, attribute, taken)
            taken.add(columns[attribute])
        kept.add(column)


def _free_name(column: str, attribute: str, taken: set[str]) -> str:
    for attempt in count():
        name = _with_hash(column, attribute + "\0" * attempt)
        if name not in taken:
            return name
    raise AssertionError("unreachable")


def _with_hash(name: str, attribute: str) -> str:
    digest = sha256(attribute.encode("utf-8", "surrogatepass")).hexdigest()[:_HASH_DIGITS]
    return f"{name[: MAX_NAME_BYTES - len(digest) - 1]}_{digest}"
