"""Time that passes for a stopped embedded AWS, where a test cannot wait for it."""

import json
from collections import defaultdict
from datetime import datetime, timedelta, timezone
from pathlib import Path

from ddb_pipeline.embedded.services.saved_records import STREAM

CREATED = "ApproximateCreationDateTime"


def age_history(home: Path, passed: timedelta) -> None:
    """Make all changes in the history of ``home`` older, in whose folder no server runs."""
    folder = home / "history"
    days: dict[str, list[str]] = defaultdict(list)
    for path in sorted(folder.glob("*.jsonl")):
        for text in path.read_text("utf-8").splitlines():
            line = json.loads(text)
            line[1] -= passed // timedelta(microseconds=1)
            moment = datetime.fromtimestamp(line[1] / 1e6, timezone.utc)
            days[f"{moment:%Y-%m-%d}"].append(json.dumps(line, separators=(",", ":")))
        path.unlink()
    for day, lines in days.items():
        (folder / f"{day}.jsonl").write_text("".join(f"{line}\n" for line in lines), "utf-8")


def age_streams(home: Path, passed: timedelta) -> None:
    """Make all records in the streams of tables older, in whose folder no server runs."""
    for path in home.glob("*/*.jsonl"):
        if path.name.startswith(("journal-", "snapshot-")):
            lines = [_aged(line, passed) for line in path.read_text("utf-8").splitlines()]
            path.write_text("".join(f"{line}\n" for line in lines), "utf-8")


def _aged(line: str, passed: timedelta) -> str:
    if CREATED not in line:
        return line
    group, *change = json.loads(line)
    if group[:2] != list(STREAM) or len(change) < 2 or not isinstance(change[1], dict):
        return line
    change[1]["dynamodb"][CREATED] -= int(passed.total_seconds())
    return json.dumps([group, *change], separators=(",", ":"))
