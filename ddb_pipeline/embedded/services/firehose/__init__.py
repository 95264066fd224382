"""The embedded Firehose: delivery streams with record format conversion.

Belongs here: what only Firehose itself needs: the destination configuration and its constraints,
prefix expressions, buffering. Does not belong here: the conversion (``conversion``).
"""
