"""The Lambda functions: handlers, their settings, and the processing of a batch.

Belongs here: what runs in a Lambda function. Does not belong here: formats and services as such
(``dynamodb``, ``firehose``, ``glue``). A function is deployed with the modules that it imports: the
standard library, boto3, ``hive``, ``dynamodb``, ``firehose``, ``glue.catalog``, ``glue.repair``,
``client_errors`` and ``errors``; neither pyarrow nor dagster.
"""
