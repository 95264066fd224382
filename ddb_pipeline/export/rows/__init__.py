"""Lines of an export to Arrow columns: a fast path for whole blocks, an exact path by item.

The exact path (``exact``) defines what is right; the fast path falls back to it wherever it
cannot prove that its result is the same. May import ``parquet``, ``dynamodb``, ``arrow_types`` and
``hive``.
"""
