"""Parquet datasets in a folder or a bucket: files of a chosen size, published in one step.

Belongs here: writing and publishing of datasets, for exports and for the lake. Does not belong
here: what the rows mean. May import ``arrow_types`` and ``hive``.
"""
