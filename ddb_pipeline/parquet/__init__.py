"""Parquet datasets in a folder or a bucket: files of a chosen size, published in one step.

Belongs here: what exports and the lake's datasets share when they write. Does not belong here:
what the rows are. May import ``arrow_types`` and ``hive``.
"""
