"""What `iu` and the generators reach on the real recordings: mean of the last 7 periods, 3 seeds, paired."""

from __future__ import annotations

import json
import subprocess
import sys
import tempfile
from pathlib import Path
from statistics import mean
from typing import Any

from benchmarks.machine import recordings

SEEDS = (0, 1, 2)
STREAMS = {"yelp2019": 1, "movietweetings_100k": 0}
"""Recording -> negatives per positive (movietweetings has explicit labels)."""
METHODS = ("iu", "asmg", "asmg-averaged")


def run() -> dict[str, Any]:
    """Replay each recording with each seed; the bounds are those of the issue that asked for the main job."""
    runs = {stream: [replay(stream, negatives, seed) for seed in SEEDS] for stream, negatives in STREAMS.items()}
    yelp, tweets = (summary(runs[stream]) for stream in STREAMS)
    return {
        "runs": runs,
        "summary": {"yelp2019": yelp, "movietweetings_100k": tweets},
        "bounds": {
            "yelp2019 iu AUC >= 0.85": yelp["iu"]["auc"] >= 0.85,
            "yelp2019 asmg-averaged - iu AUC >= +0.003": yelp["asmg-averaged"]["auc_gain"] >= 0.003,
            "yelp2019 asmg-averaged - iu log loss <= -0.006": yelp["asmg-averaged"]["log_loss_gain"] <= -0.006,
            "movietweetings iu AUC >= 0.777": tweets["iu"]["auc"] >= 0.777,
            "movietweetings asmg-averaged - iu AUC >= -0.001": tweets["asmg-averaged"]["auc_gain"] >= -0.001,
        },
    }


def replay(stream: str, negatives: int, seed: int) -> dict[str, Any]:
    """The summary and stage seconds of `asmg replay` of a recording, run as a user would."""
    with tempfile.TemporaryDirectory() as out:
        command = [
            *(sys.executable, "-m", "stream_app.cli", "replay", str(recordings() / f"{stream}.parquet")),
            *("--periods", "31", "--pretrain", "10", "--negatives", str(negatives), "--seed", str(seed)),
            *("--methods", ",".join(METHODS), "--out", f"{out}/run"),
        ]
        subprocess.run(command, check=True, stdout=subprocess.DEVNULL)
        report = json.loads(Path(out, "run", "report.json").read_text())
    seconds: dict[str, float] = {}
    for period in report["periods"]:
        for stage, spent in period["seconds"].items():
            seconds[stage] = round(seconds.get(stage, 0.0) + spent, 3)
    return {"seed": seed, "summary": report["summary"], "seconds": seconds}


def summary(runs: list[dict[str, Any]]) -> dict[str, dict[str, float]]:
    """Per method the mean over seeds, and its mean paired gain over `iu` (same seed, same base)."""
    result = {}
    for method in METHODS:
        values = {
            metric: [one["summary"][method][metric] for one in runs]
            for metric in ("auc", "log_loss", "auc_seen_items", "log_loss_seen_items")
        }
        result[method] = {metric: round(mean(seeds), 4) for metric, seeds in values.items()}
        for metric in ("auc", "log_loss"):
            pairs = [own - one["summary"]["iu"][metric] for own, one in zip(values[metric], runs, strict=True)]
            result[method][f"{metric}_gain"] = round(mean(pairs), 4)
            result[method][f"{metric}_worst_gain"] = round(min(pairs) if metric == "auc" else max(pairs), 4)
    return result
