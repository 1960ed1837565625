"""What is compared on what, and what lies where in --out."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

from models.learning import LearningSettings
from models.ranking import RankingSettings
from stream_app.fixed import fixed_for_store
from stream_app.formats.whole_file import named_when_whole
from stream_app.replay import ReplaySettings
from stream_app.replay.recording import DIGEST

JOURNAL, SEEDS, STORE, LOCK = "journal", "seeds", "store", "job"
LOG, RUN = "periods.jsonl", "run.json"
REPORT, TABLE, PAGE, DEAD_LETTERS = "report.json", "periods.csv", "report.html", "dead-letters.jsonl"

_SEED, _RANKING = "learning.seed", "ranking"
LAST = 7
"""Periods at the end that the summary looks at, as the paper does."""


@dataclass(frozen=True)
class Study:
    """A recording, the settings of a replay of it, and the seeds; out: the directory for everything.

    last: scored periods, from the last one back, over which means and gains are taken; ranking: whether recall and NDCG
    are sampled, and how; truth: the column of the recording that holds the true probabilities, if one does.
    """

    recording: Path
    settings: ReplaySettings
    seeds: tuple[int, ...]
    out: Path
    last: int = LAST
    ranking: RankingSettings | None = None
    truth: str | None = None

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

        Seeds, `last` and `truth` may: more seeds join those that are finished.
        """
        sections = self.settings
        fixed = fixed_for_store(sections.records, sections.periods, sections.learning)
        own = {DIGEST: digest, _RANKING: self.ranking and asdict(self.ranking)}
        return {key: value for key, value in fixed.items() if key != _SEED} | own


def is_of_backtest(fixed: Mapping[str, Any]) -> bool:
    """Whether a journal with these fixed settings is that of a backtest."""
    return DIGEST in fixed and _RANKING in fixed


def write_whole(path: Path, text: str) -> None:
    """There is never half a file."""
    with named_when_whole(path) as aside:
        aside.write_text(text, encoding="utf-8")
