"""The Spark jobs: what runs on EMR Serverless or in a child process, and how it is submitted.

Belongs here: the jobs and their arguments. Does not belong here: Dagster, boto3, the
configuration. May import ``export``, ``parquet``, ``arrow_types`` and ``hive``, which are
packaged with the jobs.
"""
