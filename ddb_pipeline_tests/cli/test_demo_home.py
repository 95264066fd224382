"""The demo's home directory: empty at first, and of one demo at a time."""

import subprocess
import sys
from pathlib import Path

import pytest

from ddb_pipeline.cli.demo_run import DemoError, fresh_home

HOLDER = """
import sys, time
from pathlib import Path
from ddb_pipeline.cli.demo_run import fresh_home
with fresh_home(Path(sys.argv[1])):
    print("held", flush=True)
    time.sleep(600)
"""


def test_it_is_emptied(tmp_path: Path) -> None:
    (tmp_path / "demo").mkdir()
    (tmp_path / "demo" / "old").write_text("", "utf-8")
    with fresh_home(tmp_path / "demo"):
        assert list((tmp_path / "demo").iterdir()) == []
    with fresh_home(tmp_path / "demo"):
        pass


def test_two_demos_do_not_share_it(tmp_path: Path) -> None:
    home = tmp_path / "demo"
    other = subprocess.Popen(
        [sys.executable, "-c", HOLDER, str(home)], stdout=subprocess.PIPE, text=True
    )
    assert other.stdout is not None
    assert other.stdout.readline() == "held\n"
    (home / "rows").write_text("", "utf-8")
    with pytest.raises(DemoError, match=f"A demo is running in {home}"), fresh_home(home):
        pass
    assert (home / "rows").exists()
    other.kill()
    other.wait()
    with fresh_home(home):
        assert not (home / "rows").exists()
