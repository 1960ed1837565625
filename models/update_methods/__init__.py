"""Update methods: what serves until the next period closes. One file each; a new one is added to `AnyUpdateMethod`.

A method is a frozen dataclass: its settings, among them `method`, its name, and `window`, the number of snapshots it
looks at. All methods share one base trajectory Θ_1, Θ_2, ...; none of them can change it. What a method must remember
is its state: a frozen dataclass tree of tensors, numbers, mappings and tuples, stored without code of its own; the
class of a stored one is what `start` is annotated to return. The learner calls (protocol.py says what is passed):

    state = method.start(base, snapshot, periods, seed)                  # once, when pretraining is over
    state = method.train(state, base, window, targets, seed, period)     # D_{t+1} has closed, the window ends with Θ_t
    state, candidate = method.candidate(state, base, outgoing, window)   # the window ends with Θ_{t+1}
"""

from __future__ import annotations

from models.update_methods.asmg import Asmg, AsmgAveraged
from models.update_methods.iu import Iu
from models.update_methods.row_audience import RowAudience
from models.update_methods.row_statistics import RowStatistics

AnyUpdateMethod = Iu | RowStatistics | RowAudience | Asmg | AsmgAveraged
