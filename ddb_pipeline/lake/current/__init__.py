"""The current view: the table as it is now, one row for each item.

State and changes become a new state: ``merge`` decides which change of a key is its newest one,
``update`` does the work bucket by bucket and publishes the result by one switch. ``sources`` reads
exports and Parquet of changes, ``chain`` decides which exports continue a state.

May import ``export``, ``parquet``, ``arrow_types`` and ``hive``. Does not import boto3 (but
``object_store``, which writes the manifest in a bucket): the modules run in Spark's executors too.
"""
