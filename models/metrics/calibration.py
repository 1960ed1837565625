"""Calibration: whether a predicted 30 % comes true in 30 % of the cases. Sums per bin, which add up over periods."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

BINS = 15
"""Bins of equal width, as in Guo and others, "On Calibration of Modern Neural Networks" (ICML 2017)."""


@dataclass(frozen=True)
class Calibration:
    """Samples by their predicted probability p: bin b holds b / 15 <= p < (b + 1) / 15, the last one p = 1 too.

    Of each bin: count of samples, predicted = sum of p, positives = samples with a positive label. The sums of two
    periods (or runs) add up to those of both together, which their ratios do not.
    """

    count: tuple[int, ...]
    predicted: tuple[float, ...]
    positives: tuple[int, ...]

    @staticmethod
    def none() -> Calibration:
        """Of no samples."""
        return Calibration((0,) * BINS, (0.0,) * BINS, (0,) * BINS)

    @staticmethod
    def of(logits: NDArray[Any], labels: NDArray[Any]) -> Calibration:
        """logits, labels: [n]; p = sigmoid(logit), labels above 0.5 are positive. NaN logits make the sum of p NaN."""
        # The sigmoid by its hyperbolic tangent, which overflows nowhere.
        p = 0.5 + 0.5 * np.tanh(0.5 * np.asarray(logits, np.float64))
        bins = np.minimum(np.nan_to_num(p * BINS).astype(np.int64), BINS - 1)
        count = np.bincount(bins, minlength=BINS)
        predicted = np.bincount(bins, weights=p, minlength=BINS)
        positives = np.bincount(bins[np.asarray(labels) > 0.5], minlength=BINS)
        return Calibration(tuple(count.tolist()), tuple(predicted.tolist()), tuple(positives.tolist()))

    def __add__(self, other: Calibration) -> Calibration:
        return Calibration(
            tuple(map(sum, zip(self.count, other.count, strict=True))),
            tuple(map(sum, zip(self.predicted, other.predicted, strict=True))),
            tuple(map(sum, zip(self.positives, other.positives, strict=True))),
        )

    @property
    def ratio(self) -> float:
        """Mean predicted probability over the share of positives: 1 is right, above 1 too sure of a positive.

        NaN without positives.
        """
        positives = sum(self.positives)
        return math.fsum(self.predicted) / positives if positives else math.nan

    @property
    def error(self) -> float:
        """Expected calibration error (ECE): mean over samples of |mean p - share of positives| of their bin.

        NaN without samples.
        """
        samples = sum(self.count)
        gaps = (abs(p - positives) for p, positives in zip(self.predicted, self.positives, strict=True))
        return math.fsum(gaps) / samples if samples else math.nan
