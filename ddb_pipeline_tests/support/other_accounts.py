"""Configurations of pipelines whose catalog or table belongs to another account."""

from typing import Any

from ddb_pipeline.config.pipeline import PipelineConfig

OWN, CATALOG, TABLE = "111122223333", "222233334444", "333344445555"
STREAM = f"arn:aws:dynamodb:eu-west-1:{TABLE}:table/orders/stream/2026-01-01T00:00:00.000"
OF_CATALOG = {
    "catalog_id": CATALOG,
    "crawl_with": "builtin",
    "existing_database": True,
    "schema_fix": "dagster",
}
OF_TABLE = {
    "table_account": TABLE,
    "existing_table": True,
    "crawl_with": "builtin",
    "export_with": "scan",
    "gap_policy": "report",
}


def pipeline(**config: Any) -> PipelineConfig:
    """A pipeline in a region."""
    return PipelineConfig.model_validate({"name": "orders", "region": "eu-west-1", **config})
