"""Tests of ``ddb_pipeline.native``."""
