"""The embedded Firehose: delivery streams with record format conversion.

Belongs here: what only Firehose itself needs, such as the destination configuration with its
constraints, prefix expressions, buffering and delivery. Does not belong here: the conversion
(``conversion``), the format of error objects and what producers need (``firehose``).
"""
