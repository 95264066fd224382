"""DynamoDB's export to S3: requested, written, read, and converted to a Parquet dataset.

Belongs here: manifests, data files in DynamoDB JSON and Ion, the conversion of a whole export.
Does not belong here: how one line becomes a row (``export.rows``), how Parquet files are written
and published (``parquet``). May import ``parquet``, ``dynamodb``, ``arrow_types`` and ``hive``.
"""
