"""The Lambda functions: handlers, their settings, and what they do with a batch.

They are deployed with only what they import, so that they may import ``hive``, ``dynamodb``,
``firehose``, ``glue.catalog``, ``glue.repair`` and ``client_errors``, and neither pyarrow nor
dagster.
"""
