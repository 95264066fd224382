"""Crawled columns to columns that Firehose, Hive, Spark and Athena accept."""

from ddb_pipeline.hive.types import set_positions


def replace_sets(text: str) -> str:
    """The type string with each ``set<`` that stands for a type replaced by ``array<``.

    Nothing else is touched: a field named ``set`` stays, and so does whatever else is wrong.
    """
    parts = []
    end = 0
    for position in set_positions(text):
        parts += [text[end:position], "array"]
        end = position + len("set")
    return "".join([*parts, text[end:]])
