"""The embedded Glue: what the Data Catalog and crawlers of ministack lack.

Belongs here: table versions, events of changes, partition expressions, crawls. Does not belong
here: how a crawl infers columns (``glue.crawler``), what is repaired in a table (``glue.repair``).
"""
