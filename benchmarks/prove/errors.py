"""Every way of being wrong has one clear message, its documented exit code, and loses nothing: the tests say so."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path
from typing import Any

ROOT = Path(__file__).parents[2]
ATTACKS = ("tests/test_cli.py", "tests/test_settings.py", "tests/formats", "tests/store", "tests/versions")


def run() -> dict[str, Any]:
    """Runs them; how many passed."""
    done = subprocess.run([sys.executable, "-m", "pytest", *ATTACKS], cwd=ROOT, capture_output=True, text=True)
    found = re.search(r"(\d+) passed", done.stdout)
    passed = int(found.group(1)) if found else 0
    return {"tests_passed": passed, "bounds": {"every attack is answered": done.returncode == 0 and passed > 0}}
