"""Dagster resources: the only place where Dagster meets boto3 clients and Spark.

May import ``embedded``, ``deploy``, ``config`` and everything below them.
"""
