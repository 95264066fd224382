"""Column names for attribute names: one rule for schemas and records.

A column name consists of ``a-z``, ``0-9`` and ``_``, which every engine accepts unquoted. (Hive's
type grammar accepts more, but Spark 3 cannot open a table that has a struct with a field of another
name, SPARK-46934, and Athena documents only these.) The rule looks at one name only, so that a
schema and a record always agree:

- capitals become small letters, letters with marks lose the marks (``Größe`` becomes ``grosse``),
  any other character becomes ``_``;
- if one of these was a letter, digit or symbol beyond ASCII, a hash of the whole name is appended,
  so that names in other scripts stay distinct;
- names reserved for the delivery (``delivery_date``, ``delivery_hour``, all ``ddb_...``) get the
  prefix ``item_``;
- a name longer than Glue allows is cut and ends in the hash.

Several attributes at one level of one item can lead to the same column. The attribute that has the
column's name gets it, or else the first in code point order; each other one gets a suffix, the hash
of its own name. An item with only ``A`` therefore has it in column ``a``, and an item with ``a``
and ``A`` has the latter in ``a_559aead0``. Schema inference and the writers of records both apply
:func:`column_names` to each item, so every value has a column of its type, and a catalog table that
lists all spellings has every column that a record can have. The price of two spellings of one name:
who queries ``A`` has to read both columns.
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
"""Columns of each row that describe the change it belongs to."""

EVENT_ID, EVENT_NAME, SEQUENCE_NUMBER, EVENT_TIME, KEYS, EXPIRED = DELIVERY_NAMES

HEALED: Final = "healed-"
"""Begins the event id of each change that does not come from the stream but from an export."""

WRITE_TIME: Final = "ddb_write_time"
"""Column of each change from an incremental export: when its item was last written."""

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
    """The column name for an attribute, if no other attribute of its level has the same one.

    >>> column_name("Order-Größe")
    'order_grosse'
    >>> column_name("order_grosse")
    'order_grosse'
    """
    if len(attribute) <= _LONGEST_CACHED:
        return _cached_column_name(attribute)
    return _column_name(attribute)


def column_names(attributes: Iterable[str]) -> dict[str, str]:
    """The column name of each attribute at one level of one item; the names are distinct.

    The order of ``attributes`` affects only the order of the result.
    """
    columns = {attribute: column_name(attribute) for attribute in attributes}
    if len(set(columns.values())) < len(columns):
        _separate(columns)
    return columns


def distinct_names(names: Sequence[str]) -> tuple[str, ...]:
    """Distinct column names for a list of names, which may repeat.

    The first of two equal names gets its name from :func:`column_names`. Applied to its own result,
    the function changes nothing.
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
    """Whether Spark reads a struct field's name as a number (``7``, ``30d``, ``1e5``) and fails.

    For a column such a name is valid.
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
    """What one character becomes in a column name; None if it has no form in ASCII."""
    if character.isascii():
        return character.lower() if character.isalnum() else "_"
    # Only characters of Unicode 13, so that every version of Python returns the same.
    if not is_name_character(character):
        return None
    folded = unicodedata.normalize("NFKD", character).casefold().translate(_LETTERS_WITHOUT_MARKS)
    return "".join([c for c in folded if c.isascii() and c.isalnum()]) or None


def _separate(columns: dict[str, str]) -> None:
    """Give each attribute that shares a column a column of its own, except for one."""
    taken = set(columns.values())
    used = {column for attribute, column in columns.items() if attribute == column}
    for attribute in sorted(columns):
        column = columns[attribute]
        if attribute == column:
            continue
        if column in used:
            columns[attribute] = _free_name(column, attribute, taken)
            taken.add(columns[attribute])
        used.add(column)


def _free_name(column: str, attribute: str, taken: set[str]) -> str:
    for attempt in count():
        name = _with_hash(column, attribute + "\0" * attempt)
        if name not in taken:
            return name
    raise AssertionError("unreachable")


def _with_hash(name: str, attribute: str) -> str:
    digest = sha256(attribute.encode("utf-8", "surrogatepass")).hexdigest()[:_HASH_DIGITS]
    return f"{name[: MAX_NAME_BYTES - len(digest) - 1]}_{digest}"
