"""Metrics of one period's predictions. What adds up is kept as sums, and the ratio is taken last.

roc.py: AUC, and per user GAUC. loss.py: log loss and normalized entropy. calibration.py: sums per bin, ECE and ratio.
score.py: all of them at once. Metrics of ranked lists need candidates of their own: `models/ranking.py`.
"""

from models.metrics.calibration import Calibration
from models.metrics.score import Score, score

__all__ = ["Calibration", "Score", "score"]
