"""What a producer needs of Firehose: delivery, error objects, held records.

Belongs here: PutRecordBatch within the service's limits, the error objects that a delivery stream
writes, records that are held until their columns exist. Does not belong here: the conversion to
Parquet (``conversion``). The Lambda functions import it: standard library and boto3 only. May
import ``hive``.
"""
