"""What `forward` of somebody's own module does on a few samples: one finite number each, and the same one always."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import replace

import numpy as np
import torch
from torch import Tensor, nn
from torch.func import functional_call

from models.base_models.module_building import Built
from models.item_categories import ItemCategories
from models.own import said
from models.parameters import CATEGORY, ITEM, USER
from models.samples import Batch, Samples, renumbered

_LENGTHS = (0, 3, 1, 5, 0, 3)
"""Of the histories of the samples."""


def answers(built: Built) -> Iterator[str]:
    """What is wrong with the answers of `forward`."""
    try:
        yield from _wrong(built)
    except (Exception, SystemExit) as error:  # whatever somebody's forward does
        yield (
            f"forward fails on a few samples, or on one of them alone ({said(error)}); "
            "it gets one argument, a models.samples.Batch"
        )


def _wrong(built: Built) -> Iterator[str]:
    samples = probe(built)
    batch = next(samples.batches(len(samples)))
    logits = _scored(built.module, batch)
    if not isinstance(logits, Tensor) or logits.shape != (len(batch),) or logits.dtype != torch.float32:
        answer = f"{logits.dtype}{list(logits.shape)}" if isinstance(logits, Tensor) else type(logits).__name__
        yield f"forward gives {answer} for {len(batch)} samples; it must give their logits, float32[{len(batch)}]"
        return
    if not torch.isfinite(logits).all():
        yield "forward gives numbers that are not finite, with the values that the module begins with"
    yield from _same(built, batch, logits)
    yield from _near(built, samples, batch, logits)
    yield from _score(built.module, batch)


def probe(built: Built) -> Samples:
    """A few samples as `forward` gets them: rows from 1 on, histories of many lengths, some empty."""
    users, items = (built.sizes.get(vocabulary, 30) for vocabulary in (USER, ITEM))
    places, entries = torch.arange(len(_LENGTHS)), torch.arange(sum(_LENGTHS))
    seen = torch.ones(len(places), dtype=torch.bool)
    samples = Samples(
        users=1 + places * 5 % (users - 1),
        items=1 + places * 7 % (items - 1),
        labels=places.float() % 2,
        history=1 + entries * 11 % (items - 1),
        offsets=torch.tensor([0, *_LENGTHS]).cumsum(0),
        seen_users=seen,
        seen_items=seen,
    )
    return samples.with_categories(_categories(items, built.sizes[CATEGORY])) if CATEGORY in built.sizes else samples


def _categories(items: int, categories: int) -> ItemCategories:
    """No category, one or two of each item."""
    lengths = np.arange(items) % 3
    offsets = np.concatenate([[0], np.cumsum(lengths)])
    rows = 1 + np.arange(offsets[-1], dtype=np.int32) * 3 % (categories - 1)
    return ItemCategories(rows.astype(np.int32), offsets, np.zeros(items, np.int64))


def _same(built: Built, batch: Batch, logits: Tensor) -> Iterator[str]:
    """What must not change a single bit."""
    module = built.module
    before = {path: buffer.clone() for path, buffer in module.named_buffers()}
    if not torch.equal(logits, _scored(module, batch, seed=1)):
        yield "forward answers differently when it is asked again; it may not draw random numbers"
    if not torch.equal(logits, _scored(module, replace(batch, labels=1 - batch.labels))):
        yield "forward looks at the labels, which nobody knows when it serves"
    trained = _scored(module.train(), batch)
    module.eval()
    if not torch.equal(logits, trained):
        yield "forward answers differently in training mode; training and scoring are one here"
    for path, buffer in module.named_buffers():
        if not torch.equal(buffer, before[path]):
            yield f"forward changes the buffer {path}; only a constant may be a buffer"


def _near(built: Built, samples: Samples, batch: Batch, logits: Tensor) -> Iterator[str]:
    """What may change nothing but the last bits."""
    alone = torch.cat([_scored(built.module, one) for one in samples.batches(1)])
    if not torch.allclose(logits, alone, rtol=1e-4, atol=1e-5):
        yield "forward gives a sample another logit beside other samples than alone"
    tables, other = _numbered_anew(built, batch)
    if not torch.allclose(logits, _scored(built.module, other, tables=tables), rtol=1e-4, atol=1e-5):
        yield "forward answers differently when rows have other numbers; it may only look up with them"


def _score(module: nn.Module, batch: Batch) -> Iterator[str]:
    """`score`, which serves where a module has one."""
    score = getattr(type(module), "score", None)
    if score is None:
        return
    with torch.no_grad():
        found: Tensor = score(module, batch)
    if found.shape != (len(batch),) or not ((found >= 0) & (found <= 1)).all():
        yield f"score gives no probabilities, float32[{len(batch)}], for {len(batch)} samples"


def _numbered_anew(built: Built, batch: Batch) -> tuple[dict[str, Tensor], Batch]:
    """The tables with their rows the other way round, but for row 0, and some more; and the batch with these rows."""
    parameters = {path: parameter.detach() for path, parameter in built.module.named_parameters()}
    tables = {path: parameters[path] for path in built.tables}
    turned = {path: torch.cat([table[:1], table[1:].flip(0), table[1:4]]) for path, table in tables.items()}
    places = {of: torch.tensor([0, *range(size - 1, 0, -1)]) for of, size in built.sizes.items()}
    return turned, renumbered(batch, places)


def _scored(module: nn.Module, batch: Batch, seed: int = 0, tables: Mapping[str, Tensor] | None = None) -> Tensor:
    with torch.random.fork_rng(devices=[]), torch.no_grad():
        torch.default_generator.manual_seed(seed)
        logits: Tensor = functional_call(module, dict(tables or {}), (batch,))
    return logits
