"""The lake's bucket in S3: its layout, its objects, redelivery, reconciliation.

Belongs here: everything that reads or writes objects of the lake's bucket. Does not belong here:
Dagster (``defs``), catalog tables (``glue``), the conversion of records (``conversion``). May
import ``conversion``, ``firehose``, ``dynamodb`` and ``hive``.
"""
