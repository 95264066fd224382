"""The current view: the table as it is now, one row for each item.

State and changes become a new state: ``merge`` decides which change of a key is its newest one,
``update`` does the work bucket by bucket and publishes the result by one switch (``store``).
``exports`` plans an update from exports, ``chain`` decides which of them continue a state. A
pipeline plans its own:

    store = BucketStore(filesystem, "bucket/current", S3Manifest(s3, "bucket", key), 3600.0)
    source = ParquetPart(filesystem, "bucket/stream/...", "stream", rows)

    def plan(state: Manifest) -> Request:
        columns = joined_columns(state.columns, lake_columns).columns
        marks = {**state.marks, "objects": [...]}   # what is merged, stored with the version
        return Request(replace(state, columns=columns, marks=marks, as_of=...), (source,))

    with Processes() as run_steps:
        updated = update(store, plan, run_steps)
    updated.manifest.paths    # the Parquet files of the version, for a catalog table

A full export comes with ``replaces=True`` and ``manifest.snapshot``, whose slack is 0 for a chain
of exports and some minutes where changes come from the stream.

May import ``export``, ``parquet``, ``dynamodb``, ``arrow_types`` and ``hive``. Does not import
boto3, since Spark's executors run the same modules; only ``object_store`` does, which writes the
manifest in a bucket.
"""
