"""A subscriber, fed the samples of the period after a version, reproduces the scores that were reported for it."""

from __future__ import annotations

import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow.parquet as parquet
from sklearn.metrics import log_loss, roc_auc_score

from benchmarks.machine import recordings
from models.interactions import Interactions
from models.randomness import rng
from models.samples import Samples
from models.sampling import SamplerState, sample
from stream_app.serving.computing import NumpyServing
from stream_app.serving.model import ServingModel
from stream_app.serving.networks.network import sigmoid
from stream_app.sinks.directory import DirectorySink
from stream_app.versions.assembler import assembled

PERIODS, SEED, NEGATIVES = 31, 0, 1


def run() -> dict[str, Any]:
    """Replay yelp2019, then score every period with the version that a subscriber serves, by scikit-learn's metrics."""
    recording = recordings() / "yelp2019.parquet"
    with tempfile.TemporaryDirectory() as folder:
        command = [
            *(sys.executable, "-m", "stream_app.cli", "replay", str(recording), "--periods", str(PERIODS)),
            *("--negatives", str(NEGATIVES), "--seed", str(SEED), "--methods", "iu", "--out", f"{folder}/run"),
        ]
        subprocess.run(command, check=True, stdout=subprocess.DEVNULL)
        worst = compared(recording, Path(folder, "run", "versions"))
    return {**worst, "bounds": {"largest difference <= 1e-6": max(worst["auc"], worst["log_loss"]) <= 1e-6}}


def compared(recording: Path, versions: Path) -> dict[str, Any]:
    """Largest absolute differences between the reported and the recomputed metrics, over all versions."""
    taken = assembled(DirectorySink(versions).read(), "default", NumpyServing())
    served = {version.number: ServingModel(version) for version in taken}
    state, differences = SamplerState.start(), []
    for period, rows in enumerate(periods_of(recording), 1):
        state, samples = sample(state, rows, NEGATIVES, rng(SEED, period, "negatives"), rng(SEED, period, "training"))
        reported = next((m for m in served.values() if m.version.content.period.number == period), None)
        before = served.get(reported.version.number - 1) if reported is not None else None
        if before is None:
            continue
        scores = reported.version.content.metrics["iu"]
        differences.append(difference(before, samples, state, scores))
    auc, loss = (float(column.max()) for column in np.array(differences).T)
    return {"periods": len(differences), "auc": auc, "log_loss": loss}


def difference(model: Any, samples: Samples, state: SamplerState, reported: Any) -> tuple[float, float]:
    """|recomputed - reported| of AUC and log loss; the model is given ids, as a serving process would."""
    users, items = state.users.ids, state.items.ids
    histories = (items[samples.history.numpy() - 1], samples.offsets.numpy())
    logits = model.logits(users[samples.users.numpy() - 1], items[samples.items.numpy() - 1], histories)
    labels = samples.labels.numpy()
    own = roc_auc_score(labels, logits), log_loss(labels, sigmoid(logits.astype(np.float64)))
    return abs(own[0] - reported.auc), abs(own[1] - reported.log_loss)


def periods_of(recording: Path) -> list[Interactions]:
    """The full equal-count periods of a recording, in canonical order."""
    table = parquet.read_table(recording)
    users, items, times = (table[name].to_numpy().copy() for name in ("user_id", "item_id", "timestamp"))
    rows = Interactions(users, items, times * 1_000_000, table["label"].to_numpy().astype(np.float32)).canonical()
    count = len(rows) // PERIODS
    return [rows.select(slice(at, at + count)) for at in range(0, count * PERIODS, count)]
