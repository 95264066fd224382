"""JSON documents to rows of a Hive table, by the rules of the SerDes that Firehose uses.

Belongs here: parsing JSON text as Firehose does, the OpenX SerDe, Hive's own JSON SerDe, and how
Java reads numbers, dates and timestamps. Does not belong here: Parquet and Arrow (``conversion``).
Imports ``ddb_pipeline.hive`` only. The package's public names are the ones imported below.
"""

from ddb_pipeline.conversion.serde.serde import ConversionError, OpenXJsonSerDe

__all__ = ["ConversionError", "OpenXJsonSerDe"]
