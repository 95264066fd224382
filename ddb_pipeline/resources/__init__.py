"""Dagster resources: boto3 clients, file systems and Spark jobs for the definitions.

Belongs here: what connects Dagster to AWS or Spark. Does not belong here: assets, sensors and jobs
(``defs``), and what runs without Dagster.

May import ``embedded``, ``deploy``, ``config`` and everything below them.
"""
