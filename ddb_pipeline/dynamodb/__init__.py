"""DynamoDB: attribute values, stream records, reading streams, scans.

Belongs here: what is true of DynamoDB's own formats and API. Does not belong here: exports to S3
(``export``), delivery (``firehose``). The Lambda functions import it: standard library and boto3
only. May import ``hive.names``.
"""
