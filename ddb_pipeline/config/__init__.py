"""The configuration: which pipelines there are, and every name that follows from it.

Belongs here: the pydantic models of ``.ddb_pipeline.toml``, their loading from file and
environment, and the names of the resources of a pipeline. Does not belong here: clients, Dagster,
and settings of the deployed functions (``functions.stream_settings``). May import ``spark``,
``functions``, ``lake`` and what lies below them.
"""
