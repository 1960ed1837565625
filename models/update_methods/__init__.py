"""Update methods: what serves until the next period closes. One file each; a new one is added to `AnyUpdateMethod`.

A method is a frozen dataclass: its settings, among them `method`, its name, and `window`, the number of snapshots it
looks at. All methods share one base trajectory Θ_1, Θ_2, ...; none of them can change it. What a method must remember
is its state: a frozen dataclass tree of tensors, numbers, mappings and tuples, stored without code of its own. The
learner calls (protocol.py says what is passed):

    state = method.start(parameters, seed)                               # once, on the first snapshot
    state = method.train(state, window, targets, model, seed, period)    # D_{t+1} has closed, the window ends with Θ_t
    state, candidate = method.candidate(state, outgoing, window)         # the window ends with Θ_{t+1}
"""

from __future__ import annotations

from models.meta_generators.training import Generator
from models.update_methods.asmg import Asmg, AsmgAveraged
from models.update_methods.iu import Iu, NoState

AnyUpdateMethod = Iu | Asmg | AsmgAveraged
AnyMethodState = NoState | Generator
