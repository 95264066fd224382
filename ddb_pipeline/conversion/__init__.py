"""Record format conversion: JSON records to Parquet as Firehose converts them.

Belongs here: batches of records to a Parquet object and failures (``convert``), the SerDes
(``serde``), and what a conversion would do to sample documents (``preflight``). Does not belong
here: buffering and S3 (``embedded.services.firehose``), error objects (``firehose``). May import
``firehose``, ``arrow_types`` and ``hive``.
"""
