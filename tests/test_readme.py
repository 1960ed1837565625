"""The README's examples run as they stand."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path

from replay_helpers import SETTINGS, stream, write

from stream_app.replay import replay

README = (Path(__file__).parents[1] / "README.md").read_text()


def snippet(containing: str) -> str:
    blocks: list[str] = re.findall(r"```python\n(.*?)```", README, re.DOTALL)
    return next(block for block in blocks if containing in block)


def test_the_replay_example_runs(tmp_path: Path) -> None:
    write(tmp_path / "stream.parquet", stream())
    small = snippet("ReplaySettings").replace("10_000", "150").replace("pretrain=10", "pretrain=2, passes=1")
    done = subprocess.run([sys.executable, "-c", small], cwd=tmp_path, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    assert len(done.stdout.splitlines()) == 6


def test_the_subscriber_example_runs(tmp_path: Path) -> None:
    """With a directory of versions in place of the broker; everything else as it stands."""
    list(replay(write(tmp_path / "stream.parquet", stream()), SETTINGS, tmp_path / "run"))
    versions = tmp_path / "run" / "versions"
    code = snippet("ModelSubscriber").replace('model="default"', f'model="default", directory={str(versions)!r}')
    done = subprocess.run(
        [sys.executable, "-c", code + "\nassert probabilities.shape == (3,)"], capture_output=True, text=True
    )
    assert done.returncode == 0, done.stderr
