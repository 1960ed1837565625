"""What the page explains to somebody who has not seen such a report before."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict
from typing import Any

from models.ranking import RankingSettings

READING = {
    "Test, then train": "A period is scored by the models that would have served it, and only then learned. So every "
    "number says how a method does on interactions that nothing had seen.",
    "Paired gain": "Methods of one seed share samples, pretraining and the base model, so their difference is not "
    "blurred by what differs from seed to seed. For log loss, normalized entropy and ECE a negative gain is good, for "
    "AUC, GAUC, recall and NDCG a positive one. For the calibration ratio it is the change of the distance from 1: "
    "negative is good.",
    "95 % interval": "Were the whole comparison repeated with other seeds and other periods like these, an interval "
    "made in this way would hold the true mean gain in 95 of 100 cases. If it lies on one side of 0, the verdict says "
    "better or worse; if 0 is in it, the difference may be chance.",
    "Seed": "Decides initial weights, the order of samples and drawn negatives. Worst and best seed show how much of a "
    "gain hangs on luck.",
    "iu": "Incremental update: the base model goes on from period to period and serves as it is. Everything else is "
    "compared with it.",
    "auto": "Serves in each period the candidate whose log loss was lowest in the periods before; costs what all its "
    "candidates cost.",
}

METRICS = {
    "log_loss": "Mean of −ln of the probability that was given to what happened. Lower is better.",
    "auc": "How often a positive stands above a negative, ties counting one half. 0.5 is chance, 1 is perfect.",
    "log_loss_seen_items": "Log loss over the samples whose item had occurred before the period.",
    "auc_seen_items": "AUC over the samples whose item had occurred before the period: new ones can be told apart by "
    "being new alone.",
    "gauc": "AUC within each user, averaged by the user's samples; users with one class only are left out.",
    "normalized_entropy": "Log loss in units of what predicting the period's own positive share gives. Below 1 is "
    "better than that.",
    "ece": "Expected calibration error: how far predicted probability and share of positives are apart, in 15 bins, "
    "averaged by samples. 0 is right.",
    "calibration": "Mean predicted probability over the share of positives. 1 is right, above 1 promises too much.",
    "recall": "Share of lists with the user's item among the first k.",
    "ndcg": "Mean of 1 / log2(1 + place) of the user's item, 0 behind place k.",
}


def sampling(settings: Mapping[str, Any]) -> str:
    """How recall and NDCG were sampled. settings: of the report, with those of the ranking where they are stated."""
    used = asdict(RankingSettings()) | dict(settings.get("ranking") or {})
    return (
        f"Recall and NDCG (k = {used['k']}) are sampled: of each period at most {used['positives']:,} positives, each "
        f"ranked among {used['candidates']} items drawn uniformly, with replacement, from those that the model knew "
        "and on which the user had not been positive by the end of the period; ties count as every order of them. Such "
        "numbers are larger than those over the whole catalogue and may even order methods otherwise (Krichene and "
        "Rendle, KDD 2020): they compare methods under this sampling, and nothing else."
    )
