"""The GRU of ASMG over a window of snapshots: forward and backward, by hand, for all rows of a sheet at once.

Source: Peng, Pan, Zhang, Zeng, "Learning an Adaptive Meta Model-Generator for Incrementally Updating Recommender
Systems", RecSys 2021 (arXiv 2111.04282). Every scalar parameter is a sequence x_1 ... x_k that is fed to a GRU with
input size 1 and hidden size H, without gate biases:

    z  = σ(x u_z + h W_z)              r  = σ(x u_r + h W_r)
    g  = tanh(x u_g + (h ∘ r) W_g)     h' = (1 - z) ∘ h + z ∘ g        y = h' · w_y + b_y

and y + x instead of y where the generator is residual (ours). `torch.nn.GRUCell` is another function: it applies r
after the product and swaps z.

Layout: columns first. A column is one GRU; all its rows share it. With n columns and R rows, x is [n, R] and
h [n, H, R], so that every product is one `bmm` over n matrices. x stands above h as one more row ("xh", [n, 1 + H, R]),
so that u and W are one matrix.

A row may need fewer than k steps. Rows are sorted by the steps they need, most first; step i then works on the first
R_i of them, with R_1 >= R_2 >= ...
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor


@dataclass(frozen=True, eq=False)
class Gru:
    """The weights of n GRUs with hidden size H, or gradients of the same shapes."""

    gates: Tensor
    """[n, 2H, 1 + H]: rows are the H units of z, then of r; column 0 is u, the others are W transposed."""
    candidate: Tensor
    """[n, H, 1 + H]: the same for g."""
    output: Tensor
    """[n, 1, H]: w_y."""
    bias: Tensor
    """[n, 1, 1]: b_y."""


@dataclass(frozen=True, eq=False)
class Step:
    """One step of n GRUs over R rows: what came in, what came out, and what the backward pass needs in between."""

    xh: Tensor
    """[n, 1 + H, R]: x above h."""
    zr: Tensor
    """[n, 2H, R]: z above r."""
    xrh: Tensor
    """[n, 1 + H, R]: x above r ∘ h."""
    g: Tensor
    """[n, H, R]."""
    hidden: Tensor
    """[n, H, R]: h', the state after this step."""


def step(gru: Gru, xh: Tensor) -> Step:
    """One step. `xh` [n, 1 + H, R] holds the inputs above the state before the step."""
    h = xh[:, 1:]
    zr = torch.bmm(gru.gates, xh).sigmoid_()
    z, r = zr.chunk(2, dim=1)
    xrh = torch.cat([xh[:, :1], r * h], dim=1)
    g = torch.bmm(gru.candidate, xrh).tanh_()
    return Step(xh, zr, xrh, g, torch.lerp(h, g, z))


def output(gru: Gru, after: Step, residual: bool) -> Tensor:
    """[n, R]: the value generated after a step."""
    y = torch.baddbmm(gru.bias, gru.output, after.hidden)[:, 0]
    return y.add_(after.xh[:, 0]) if residual else y


def forward(gru: Gru, start: Tensor, inputs: Sequence[Tensor]) -> list[Step]:
    """The steps of a window: `start` is the state [n, H, R_1] before it, `inputs` are [n, R_i], oldest first."""
    steps: list[Step] = []
    hidden = start
    for x in inputs:
        steps.append(step(gru, torch.cat([x[:, None], hidden[..., : x.shape[-1]]], dim=1)))
        hidden = steps[-1].hidden
    return steps


def backward(gru: Gru, steps: Sequence[Step], output_gradients: Sequence[Tensor], into: Gru) -> None:
    """Add the gradients of all weights to `into`, from the gradients [n, R_i] of the steps' outputs.

    The start state is a constant and gets no gradient.
    """
    later: Tensor | None = None
    for i in reversed(range(len(steps))):
        dy = output_gradients[i][:, None]
        into.output.baddbmm_(dy, steps[i].hidden.mT)
        into.bias.add_(dy.sum(dim=-1, keepdim=True))
        dh = gru.output.mT * dy
        if later is not None:
            dh[..., : later.shape[-1]] += later
        later = _step_backward(gru, steps[i], dh, into, first=i == 0)


def _step_backward(gru: Gru, at: Step, dh: Tensor, into: Gru, first: bool) -> Tensor | None:
    """Add the weights' gradients of one step to `into`; return the gradient of the state before it, or None at the
    first step, where nobody asks for it. `dh` [n, H, R] is the gradient of the state after the step."""
    h = at.xh[:, 1:]
    z, r = at.zr.chunk(2, dim=1)
    dzr = torch.empty_like(at.zr)
    dz, dr = dzr.chunk(2, dim=1)
    _sigmoid_backward(dh * (at.g - h), z, out=dz)
    dg = torch.ops.aten.tanh_backward(dh * z, at.g)
    into.candidate.baddbmm_(dg, at.xrh.mT)
    drh = torch.bmm(gru.candidate[:, :, 1:].mT, dg)
    _sigmoid_backward(drh * h, r, out=dr)
    into.gates.baddbmm_(dzr, at.xh.mT)
    if first:
        return None
    before = torch.bmm(gru.gates[:, :, 1:].mT, dzr).addcmul_(drh, r)
    return before.add_(dh).addcmul_(dh, z, value=-1.0)


def _sigmoid_backward(gradient: Tensor, value: Tensor, out: Tensor) -> None:
    """out = gradient ∘ value ∘ (1 - value): one pass over memory where plain operators take three."""
    torch.ops.aten.sigmoid_backward.grad_input(gradient, value, grad_input=out)
