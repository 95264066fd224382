"""A reporter that records what a Spark job reports."""

from collections.abc import Mapping
from typing import Any

from ddb_pipeline.spark.reporting import Reporter


class RecordingReporter(Reporter):
    """Records the log lines, the warnings and the result."""

    def __init__(self) -> None:
        self.lines: list[str] = []
        self.warnings: list[str] = []
        self.metadata: dict[str, Any] = {}
        self.version = ""

    def log(self, message: str) -> None:
        self.lines.append(message)

    def warn(self, message: str) -> None:
        self.warnings.append(message)

    def report_result(self, metadata: Mapping[str, Any], data_version: str) -> None:
        self.metadata, self.version = dict(metadata), data_version
