"""Time that passes for the history of a stopped embedded AWS, where a test cannot wait for it."""

import json
from collections import defaultdict
from datetime import datetime, timedelta, timezone
from pathlib import Path


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
