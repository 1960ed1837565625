"""The same run in a process of its own: with another hash seed, and without anything this process has kept.

Base model and method are named by their classes and settings, as settings name them; what comes back is digests.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Sequence
from contextlib import redirect_stdout
from dataclasses import fields
from typing import Any

from models.laws.trial import Told, Trial
from models.learning import prepare_process
from models.own import load


def learned_elsewhere(trials: Sequence[Trial]) -> list[list[Told]]:
    """What each trial does there, period by period. Raises ValueError with the last line that it said if it failed."""
    seed = "1" if os.environ.get("PYTHONHASHSEED") != "1" else "2"
    done = subprocess.run(
        [sys.executable, "-c", f"from {__name__} import answer; answer()"],
        input=json.dumps([{"base": _said(trial.base), "method": _said(trial.method)} for trial in trials]),
        env={**os.environ, "PYTHONPATH": os.pathsep.join(sys.path), "PYTHONHASHSEED": seed},
        capture_output=True,
        text=True,
    )
    if done.returncode:
        raise ValueError(f"in another process: {(done.stderr.strip().splitlines() or ['it said nothing'])[-1]}")
    return [[Told(**told) for told in steps] for steps in json.loads(done.stdout)]


def answer() -> None:
    """What the other process does: read trials from stdin, run them, print what they did."""
    answers = []
    with redirect_stdout(sys.stderr):  # somebody's own module may print
        for asked in json.load(sys.stdin):
            trial = Trial(_made(asked["base"]), _made(asked["method"]))
            prepare_process(trial.settings)
            answers.append([vars(step.told) for step in trial.steps])
    print(json.dumps(answers))


def _said(value: Any) -> dict[str, Any]:
    kind = type(value)
    settings = {field.name: getattr(value, field.name) for field in fields(value) if field.init}
    return {"class": f"{kind.__module__}:{kind.__qualname__}", "settings": settings}


def _made(said: dict[str, Any]) -> Any:
    return load(said["class"])(**{name: _plain(value) for name, value in said["settings"].items()})


def _plain(value: Any) -> Any:
    """JSON has no tuples, and a frozen value has no lists."""
    return tuple(map(_plain, value)) if isinstance(value, list) else value
