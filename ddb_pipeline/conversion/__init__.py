"""JSON to Parquet as Firehose's record format conversion does it.

Belongs here: records to Parquet and failed records, and the preflight of sample documents. Does
not belong here: buffering and S3 (``embedded.services.firehose``), error objects (``firehose``).
May import ``firehose``, ``arrow_types`` and ``hive``.
"""
