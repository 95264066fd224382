"""The Spark jobs and how they are submitted: to a local child process or to EMR Serverless.

Belongs here: the jobs and their arguments. Does not belong here: Dagster, boto3, the
configuration. May import ``lake.current``, ``export``, ``parquet``, ``arrow_types`` and ``hive``,
which are packaged with the jobs.

The job ``export_job`` converts an export of a DynamoDB table to Parquet. The job ``current_job``
merges changes into the current view. The job ``relevance`` computes, from logs of searches, how
relevant each document is to each query. Its terms:

log            one search: a user, a query, the results shown and the clicks on them.
event          one row of the lake about a log, written when the log was inserted, modified or
               removed. A log counts in the delivery hour of its last event; its events in other
               hours are *superseded*.
pair           a query and a document.
impression     one result shown in one search, at a position counted from 1.
cell           what is counted of a pair at one position: impressions, clicks and their weights.
click weight   0 to 1, larger the longer the user stayed on the document (the dwell time).
examination    the probability that a user looks at a position, relative to the first position.
attraction     the probability that a user who looks at a pair's result clicks it.
exposure       the number of impressions at an always examined position that carry the same
               information about the attraction as the pair's impressions do.
evidence       a pair's impressions, clicks, exposure, weighted clicks and prior: a scorer's input.
"""
