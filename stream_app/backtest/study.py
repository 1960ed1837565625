"""What is compared on what, and what lies where in --out."""

from __future__ import annotations

from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from models.learning import LearningSettings
from stream_app.fixed import fixed_for_store
from stream_app.formats.whole_file import named_when_whole
from stream_app.replay import ReplaySettings

JOURNAL, SEEDS, STORE, LOCK = "journal", "seeds", "store", "job"
LOG, RUN = "periods.jsonl", "run.json"
REPORT, TABLE, PAGE, DEAD_LETTERS = "report.json", "periods.csv", "report.html", "dead-letters.jsonl"

_SEED = "learning.seed"
LAST = 7
"""Periods at the end that the summary looks at, as the paper does."""


@dataclass(frozen=True)
class Study:
    """A recording, the settings of a replay of it, and the seeds; out: the directory for everything.

    last: scored periods, from the last one back, over which means and gains are taken.
    """

    recording: Path
    settings: ReplaySettings
    seeds: tuple[int, ...]
    out: Path
    last: int = LAST

    @property
    def journal(self) -> Path:
        """Where the journal is that all jobs read."""
        return self.out / JOURNAL

    def directory(self, seed: int) -> Path:
        """Where a seed's job keeps what it has: its store and log while it goes on, its run once it is finished."""
        return self.out / SEEDS / str(seed)

    def learning(self, seed: int) -> LearningSettings:
        """The settings of one job."""
        return replace(self.settings.learning, seed=seed)

    def fixed(self, digest: str | None) -> dict[str, Any]:
        """What may not change in an --out, as JSON values by dotted name. digest: of the recording.

        Seeds and `last` may: more seeds join those that are finished.
        """
        sections = self.settings
        fixed = fixed_for_store(sections.records, sections.periods, sections.learning)
        return {key: value for key, value in fixed.items() if key != _SEED} | {"recording.sha256": digest}


def write_whole(path: Path, text: str) -> None:
    """There is never half a file."""
    with named_when_whole(path) as aside:
        aside.write_text(text, encoding="utf-8")
