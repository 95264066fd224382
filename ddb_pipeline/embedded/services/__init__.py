"""Services of the embedded AWS: what ministack lacks of them, one class for each.

May import ``conversion``, ``export``, ``firehose``, ``glue`` and ``dynamodb``, whose rules they
use.
"""
