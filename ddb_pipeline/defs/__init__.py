"""Dagster definitions and nothing else: assets, checks, sensors, schedules, jobs.

Belongs here: what Dagster loads, and when a sensor requests a run (``run_requests``).
Does not belong here: calls of S3, SQS, Glue or DynamoDB; those belong to the sub-package of the
service or of the dataset. May import ``resources`` and everything below it.
"""
