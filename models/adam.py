"""Adam, exactly, at a cost that does not depend on how many rows a table has.

Rules (Kingma and Ba, ICLR 2015; the bias-corrected form of `torch.optim.Adam`):
1. Every row of a table moves at every step, with or without a gradient: m and v decay, and p follows what is left of m.
   An optimizer that moves only the rows that a batch looks up ("lazy" or sparse Adam) is another algorithm.
2. Rows that no sample of a period looks up have no gradient in it. Their steps b+1 ... e are summed in closed form:

       p_e = p_b - lr · m_b · Σ_{j=1..e-b} β1^j / (1 - β1^(b+j)) / (sqrt(v_b β2^j / (1 - β2^(b+j))) + eps)

   The summand is β1^j times a function of j that hardly bends, so a tail of the sum is a 2-node Gauss rule for the
   weights β1^j, and the sum a difference of two tails: four divisions, however many the steps.
3. What is left of m after `FORGOTTEN` steps without a gradient counts as zero (β1^400 = 5e-19).
4. m and v of a row are stored as of the step it was last trained to (`stands`) and decayed when they are next needed;
   parameters always stand at the state's own step. So a row that is at rest changes nothing that is stored.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor
from torch.optim.adam import adam

from models.parameters import Parameters, Tables

BETA1, BETA2, EPSILON = 0.9, 0.999, 1e-8

FORGOTTEN = 400
"""Steps without a gradient after which a row's first moment counts as zero."""

BENDING = 200
"""Up to this step the bias corrections bend too much for the Gauss rule, and steps are summed one by one."""


@dataclass(frozen=True, eq=False)
class Moments:
    """The optimizer state that belongs to the parameters after `step` steps.

    first, second: m and v of each parameter, in its shape; stands: for each table int32 [rows], the step as of which
    m and v of a row stand, 0 for a row that was never trained (its m and v are zero). The dense ones stand at `step`.
    """

    step: int
    first: Mapping[str, Tensor]
    second: Mapping[str, Tensor]
    stands: Mapping[str, Tensor]

    @staticmethod
    def start(parameters: Parameters, tables: Tables) -> Moments:
        """Before the first step."""
        zeros = {name: torch.zeros_like(tensor) for name, tensor in parameters.items()}
        stands = {name: zeros[name].new_zeros(len(zeros[name]), dtype=torch.int32) for name in tables}
        # m and v may be the same zeros: tensors of a snapshot are never written to.
        return Moments(0, zeros, dict(zeros), stands)

    def grown(self, parameters: Parameters) -> Moments:
        """The moments with as many rows as the tables of `parameters`; new rows were never trained."""
        return Moments(
            self.step,
            {name: _padded(tensor, len(parameters[name])) for name, tensor in self.first.items()},
            {name: _padded(tensor, len(parameters[name])) for name, tensor in self.second.items()},
            {name: _padded(tensor, len(parameters[name])) for name, tensor in self.stands.items()},
        )

    def at_step(self, table: str, rows: Tensor) -> tuple[Tensor, Tensor]:
        """m and v [n, width] of some rows of a table, decayed to `step`; `rows` int64 [n]."""
        idle = self.step - self.stands[table][rows].double()
        decay1 = torch.where(idle < FORGOTTEN, BETA1**idle, 0.0)
        first, second = self.first[table][rows], self.second[table][rows]
        return first.mul_(decay1.to(first)[:, None]), second.mul_((BETA2**idle).to(second)[:, None])

    def moving(self, table: str) -> Tensor:
        """int64 [n]: the rows that move without a gradient, because their first moment is not forgotten."""
        stands = self.stands[table]
        return ((stands > 0) & (stands > self.step - FORGOTTEN)).nonzero()[:, 0]


def drift(first: Tensor, second: Tensor, step: int, end: int, learning_rate: float) -> Tensor:
    """What rows lose in steps `step` + 1 ... `end` if none of them has a gradient: p_end = p_step - drift.

    first, second: m and v [n, width] as of `step`.
    """
    root = second.sqrt()
    total = torch.zeros_like(first)
    for weight, offset in _terms(step, end):
        total += weight / (root + offset)
    return total.mul_(first).mul_(learning_rate)


def dense_step(
    parameters: Sequence[Tensor],
    gradients: Sequence[Tensor],
    first: Sequence[Tensor],
    second: Sequence[Tensor],
    steps: Sequence[Tensor],
    learning_rate: float,
) -> None:
    """One step of Adam over whole tensors, in place; `steps` are one float32 scalar tensor each, which it counts up.

    torch's fused kernel, through the function behind `torch.optim.Adam`: the class takes as long again on a CPU.
    """
    adam(
        list(parameters),
        list(gradients),
        list(first),
        list(second),
        [],
        list(steps),
        fused=True,
        amsgrad=False,
        beta1=BETA1,
        beta2=BETA2,
        lr=learning_rate,
        weight_decay=0.0,
        eps=EPSILON,
        maximize=False,
    )


def _terms(step: int, end: int) -> list[tuple[float, float]]:
    """(weight, offset) such that the sum of rule 2 is Σ weight / (sqrt(v) + offset)."""
    one_by_one = min(end, BENDING)
    terms = [_term(step, t, t, 1.0) for t in range(step + 1, one_by_one + 1)]
    if end > BENDING:
        terms += _tail(step, max(step, BENDING) + 1, 1.0) + _tail(step, end + 1, -1.0)
    return terms


def _tail(step: int, t: int, sign: float) -> list[tuple[float, float]]:
    """The steps t, t + 1, ... without end, by the Gauss rule."""
    return [_term(step, t, t + node, sign * weight) for node, weight in _GAUSS]


def _term(step: int, t: int, at: float, weight: float) -> tuple[float, float]:
    """β1^(t - step) times the rest of the summand of rule 2 at global step `at`, which need not be whole."""
    scale = (BETA2 ** (at - step) / (1 - BETA2**at)) ** 0.5
    return weight * BETA1 ** (t - step) / (1 - BETA1**at) / scale, EPSILON / scale


def _gauss_rule() -> tuple[tuple[float, float], ...]:
    """(node, weight) with Σ_{j>=0} β1^j f(j) = Σ weight · f(node) for every cubic f.

    The nodes are the zeros of the second Meixner polynomial for β = 1 and c = β1 (Koekoek, Lesky, Swarttouw,
    "Hypergeometric Orthogonal Polynomials and Their q-Analogues", 9.10): the eigenvalues of its 2 x 2 Jacobi matrix.
    """
    mean, second, product = BETA1 / (1 - BETA1), (1 + 2 * BETA1) / (1 - BETA1), BETA1 / (1 - BETA1) ** 2
    middle, half = (mean + second) / 2, (((second - mean) / 2) ** 2 + product) ** 0.5
    low, high = middle - half, middle + half
    share = (high - mean) / (high - low)
    return (low, share / (1 - BETA1)), (high, (1 - share) / (1 - BETA1))


_GAUSS = _gauss_rule()


def _padded(tensor: Tensor, rows: int) -> Tensor:
    if len(tensor) == rows:
        return tensor
    return torch.cat([tensor, tensor.new_zeros(rows - len(tensor), *tensor.shape[1:])])
