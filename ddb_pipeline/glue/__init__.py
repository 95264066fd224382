"""The Glue Data Catalog: reading, repairing and widening tables; partitions, crawlers, DDL.

Belongs here: every call of the Glue API. Does not belong here: the type rules (``hive``). May
import ``dynamodb`` and ``hive``. The Lambda functions import ``catalog`` and ``repair``, which
need botocore only.
"""
