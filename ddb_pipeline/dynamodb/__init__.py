"""DynamoDB: attribute values, stream records, reading streams, scans, tables.

Belongs here: what is true of DynamoDB's own formats and API. Does not belong here: exports to S3
(``export``), delivery (``firehose``). The Lambda functions import it: standard library and boto3
only. May import ``hive``, ``client_errors`` and ``errors``.
"""
