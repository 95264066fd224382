"""Services of the embedded AWS: one class for each service that ministack does not complete.

Belongs here: a class for each such service, with one method for each operation of its API, and one
adapter for everything private of ministack (``services.ministack``). Does not belong here: rules of
types, formats and conversion; the services call ``conversion``, ``export``, ``firehose``, ``glue``
and ``dynamodb``, which they may import.
"""
