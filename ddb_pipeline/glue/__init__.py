"""The Glue Data Catalog: tables read, repaired, widened; partitions; crawlers; DDL statements.

Belongs here: every call of the Glue API. Does not belong here: the type rules (``hive``). May
import ``dynamodb`` and ``hive``.
"""
