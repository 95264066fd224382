"""The lake's datasets in S3: their layout, listings, redelivery, reconciliation.

Belongs here: what is done to objects of the lake's bucket. Does not belong here: Dagster
(``defs``), catalog tables (``glue``). May import ``conversion``, ``export``, ``glue`` and below.
"""
