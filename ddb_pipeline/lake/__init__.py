"""The lake's bucket in S3: its objects, their compaction, retention, redelivery, reconciliation.

Belongs here: everything that reads or writes objects of the lake's bucket. Does not belong here:
Dagster (``defs``), how catalog tables are defined (``glue``), the conversion of records
(``conversion``). May import ``conversion``, ``export``, ``glue``, ``parquet``, ``firehose``,
``dynamodb`` and ``hive``.
"""
