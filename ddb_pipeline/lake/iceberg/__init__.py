"""Iceberg tables over the lake: a second way to publish what the lake's own writers have written.

``publish`` compares a table with the files that the lake names and commits the difference as one
snapshot; ``tables`` says which files those are for the current view and for an hour of the stream;
``maintenance`` expires snapshots and finds files that belong to none. pyiceberg needs the extra
``iceberg``: nothing outside of this package imports it, and no pipeline without
``table_format = "iceberg"`` imports this package.

May import ``lake``, ``glue``, ``parquet``, ``arrow_types`` and ``hive``.
"""
