"""JSON documents to rows of a Hive table, by the rules of the SerDes that Firehose uses.

Belongs here: parsing JSON text as Firehose does (``json_documents``), OpenX's SerDe (``openx``,
``openx_json``), Hive's (``hive_json``, ``joda_time``), what they share (``base``, ``errors``), and
how Java reads numbers, dates and timestamps (``java``, ``times``). Does not belong here: Parquet
and Arrow (``conversion``). May import ``hive`` only. The two names below are public.
"""

from ddb_pipeline.conversion.serde.errors import ConversionError
from ddb_pipeline.conversion.serde.openx import OpenXJsonSerDe

__all__ = ["ConversionError", "OpenXJsonSerDe"]
