"""What somebody's own module may not be, because it could not be learned and served exactly as it stands.

Every problem names the part that is wrong and what would be right. First what the module's parts say about themselves,
then what `forward` does on a few samples (module_probing.py).
"""

from __future__ import annotations

import re
from collections.abc import Iterator

import torch
from torch.nn.modules.batchnorm import _BatchNorm
from torch.nn.modules.dropout import _DropoutNd

from models.base_models.module_building import LOOKUPS, Built, build
from models.base_models.module_probing import answers

_NAME = re.compile(r"[A-Za-z0-9_.-]{1,180}")


def check(built: Built) -> None:
    """Raises ValueError, naming the module and the first thing that is wrong."""
    for examine in (_parts, _lookups, _parameters, _buffers, _beginnings, answers):
        for problem in examine(built):
            raise ValueError(f"{built.name}: {problem}")


def _parts(built: Built) -> Iterator[str]:
    """What behaves in training as it does not in scoring."""
    for path, part in built.module.named_modules():
        kind = type(part).__name__
        if isinstance(part, _BatchNorm):
            yield f"{path} is a {kind}, so a score would depend on what is scored with it; take nn.LayerNorm"
        rate = part.p if isinstance(part, _DropoutNd) else getattr(part, "dropout", 0)
        if isinstance(rate, int | float) and rate > 0:
            yield f"{path or 'it'} ({kind}) drops out at {rate}; training and scoring are one here: set it to 0"


def _lookups(built: Built) -> Iterator[str]:
    """Options of tables that would make training another one than it is."""
    reasons = {
        "max_norm": "it renormalises rows in place whenever they are looked up",
        "sparse": "every row is trained exactly here, whatever the size of its table",
        "scale_grad_by_freq": "its gradients are not those of the loss",
    }
    for path, part in built.module.named_modules():
        if isinstance(part, LOOKUPS):
            for option, why in reasons.items():
                if getattr(part, option):
                    yield f"{path} has {option}={getattr(part, option)}: {why}; leave {option} out"
            if part.padding_idx not in (None, 0):
                yield f"{path} has padding_idx={part.padding_idx}; row 0 is the one to fill up with: padding_idx=0"
        for name, _ in part.named_parameters(recurse=False):
            table = built.names[f"{path}.{name}".lstrip(".")]
            if table in built.tables and not isinstance(part, LOOKUPS):
                yield f"the table {table} is tied to {path} ({type(part).__name__}), which uses all of its rows"


def _parameters(built: Built) -> Iterator[str]:
    for path, parameter in built.module.named_parameters():
        if not _NAME.fullmatch(path):
            yield f"parameter {path!r}: a name has at most 180 ASCII letters, digits, dots and underscores"
        if parameter.dtype != torch.float32 or parameter.device.type != "cpu":
            yield f"parameter {path} is {parameter.dtype} on {parameter.device}; build float32 on the CPU"
        if not parameter.requires_grad:
            yield f"parameter {path} is frozen (requires_grad=False); make it a buffer with register_buffer"


def _buffers(built: Built) -> Iterator[str]:
    """A buffer is neither trained nor published: only a constant can be one."""
    others = dict(built.other.named_buffers())
    for path, buffer in built.module.named_buffers():
        if path not in others or not torch.equal(buffer, others[path]):
            yield f"buffer {path} depends on the seed or on the number of ids; only a constant may be a buffer"


def _beginnings(built: Built) -> Iterator[str]:
    """Initial values must be what a seed says, and rows must begin around the cold row."""
    again = dict(build(built.kind, built.sizes, built.settings, seed=0).named_parameters())
    for path, parameter in built.module.named_parameters():
        values = parameter.detach()
        if not torch.equal(values, again[path].detach()):
            yield f"parameter {path} begins differently each time; draw initial values from torch's own generator"
        if path in built.tables:
            mean, spread = float(values[1:].mean()), float(values[1:].std())
            if abs(mean) > spread / 2:
                yield f"the rows of {path} begin around {mean:.3g}; they must begin around 0, as unknown ids are zeros"
