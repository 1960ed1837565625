"""Modules as somebody from outside would write them: some that are learned as they stand, many that could not be."""

from __future__ import annotations

from itertools import pairwise

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional

from models.samples import Batch


class Mlp(nn.Module):
    """Embedding & MLP, written plainly."""

    def __init__(self, users: int, items: int, width: int = 8, hidden: tuple[int, int] = (12, 6)) -> None:
        super().__init__()
        self.user, self.item = nn.Embedding(users, width), nn.Embedding(items, width)
        for n, (inputs, outputs) in enumerate(pairwise((3 * width, *hidden, 1)), 1):
            self.register_parameter(f"w{n}", nn.Parameter(0.3 * torch.randn(inputs, outputs)))
            self.register_parameter(f"b{n}", nn.Parameter(torch.zeros(outputs)))

    def pooled(self, batch: Batch) -> Tensor:
        bags = [self.item(batch.history[a:b]) for a, b in zip(batch.offsets[:-1], batch.offsets[1:], strict=True)]
        return torch.stack([bag.sum(0) / max(len(bag), 1) for bag in bags])

    def forward(self, batch: Batch) -> Tensor:
        x = torch.cat([self.user(batch.users), self.pooled(batch), self.item(batch.items)], dim=1)
        x = torch.relu(torch.relu(x @ self.w1 + self.b1) @ self.w2 + self.b2)
        return (x @ self.w3 + self.b3)[:, 0]


class Padded(Mlp):
    """The same with histories filled up with row 0, which is summed with the rest."""

    def __init__(self, users: int, items: int) -> None:
        super().__init__(users, items)
        self.item = nn.Embedding(items, 8, padding_idx=0)

    def pooled(self, batch: Batch) -> Tensor:
        lengths = batch.offsets.diff()
        filled = torch.zeros(len(batch), 30, dtype=torch.int64)
        filled[torch.arange(30) < lengths[:, None]] = batch.history
        return self.item(filled).sum(1) / lengths.clamp(min=1)[:, None]


class Bags(Mlp):
    """The same with an EmbeddingBag tied to the table of items."""

    def __init__(self, users: int, items: int) -> None:
        super().__init__(users, items)
        self.bag = nn.EmbeddingBag(items, 8, mode="mean", include_last_offset=True)
        self.bag.weight = self.item.weight

    def pooled(self, batch: Batch) -> Tensor:
        return self.bag(batch.history, batch.offsets)


class OnlyItems(nn.Module):
    """No users; a constant buffer, an upper-case name, a score of its own."""

    def __init__(self, items: int) -> None:
        super().__init__()
        self.items = nn.Embedding(items, 3)
        self.W = nn.Parameter(torch.ones(3))
        self.register_buffer("signs", torch.tensor([1.0, -1.0, 1.0]))

    def forward(self, batch: Batch) -> Tensor:
        return (self.items(batch.items) * self.W * self.signs).sum(1)

    def score(self, batch: Batch) -> Tensor:
        return 0.1 + 0.8 * torch.sigmoid(self(batch))


class OnlyTables(nn.Module):
    """Nothing dense; and it prints whenever it is asked."""

    def __init__(self, users: int, items: int) -> None:
        super().__init__()
        self.user, self.item = nn.Embedding(users, 4), nn.Embedding(items, 4)
        print("an only table is made")

    def forward(self, batch: Batch) -> Tensor:
        print("an only table is asked")
        return (self.user(batch.users) * self.item(batch.items)).sum(1)


class WithCategories(Mlp):
    """Adds a number that each category of the target has, and half of those of the history's items."""

    def __init__(self, users: int, items: int, categories: int) -> None:
        super().__init__(users, items)
        self.category = nn.EmbeddingBag(categories, 1, mode="sum", include_last_offset=True)

    def forward(self, batch: Batch) -> Tensor:
        past = batch.history_category_offsets[batch.offsets]
        own = self.category(batch.categories, batch.category_offsets)
        return super().forward(batch) + (own + self.category(batch.history_categories, past) / 2)[:, 0]


class Unpicklable(Mlp):
    """What it holds cannot be sent to another process."""

    def __init__(self, users: int, items: int, width: int = 8) -> None:
        super().__init__(users, items, width)
        self.activation = lambda x: x


class BatchNorm(Mlp):
    def __init__(self, users: int, items: int) -> None:
        super().__init__(users, items)
        self.norm = nn.BatchNorm1d(24)


class Dropout(Mlp):
    def __init__(self, users: int, items: int, rate: float = 0.1) -> None:
        super().__init__(users, items)
        self.drop = nn.Dropout(rate)


class RecurrentDropout(Mlp):
    def __init__(self, users: int, items: int) -> None:
        super().__init__(users, items)
        self.gru = nn.GRU(8, 8, num_layers=2, dropout=0.2)


class FunctionalDropout(Mlp):
    def forward(self, batch: Batch) -> Tensor:
        return functional.dropout(super().forward(batch), 0.5, self.training)


class Random(Mlp):
    def forward(self, batch: Batch) -> Tensor:
        return super().forward(batch) + torch.rand(len(batch))


class MaxNorm(Mlp):
    def __init__(self, users: int, items: int) -> None:
        super().__init__(users, items)
        self.item = nn.Embedding(items, 8, max_norm=1.0)


class Sparse(Mlp):
    def __init__(self, users: int, items: int) -> None:
        super().__init__(users, items)
        self.item = nn.Embedding(items, 8, sparse=True)


class ByFrequency(Mlp):
    def __init__(self, users: int, items: int) -> None:
        super().__init__(users, items)
        self.item = nn.Embedding(items, 8, scale_grad_by_freq=True)


class PaddingAtTheEnd(Mlp):
    def __init__(self, users: int, items: int) -> None:
        super().__init__(users, items)
        self.item = nn.Embedding(items, 8, padding_idx=-1)


class TiedOutput(Mlp):
    """Scores all items at once, with the table of items as its last layer."""

    def __init__(self, users: int, items: int) -> None:
        super().__init__(users, items)
        self.every = nn.Linear(8, items, bias=False)
        self.every.weight = self.item.weight

    def forward(self, batch: Batch) -> Tensor:
        return self.every(self.user(batch.users)).gather(1, batch.items[:, None])[:, 0]


class RowsOfLinear(Mlp):
    def __init__(self, users: int, items: int) -> None:
        super().__init__(users, items)
        self.bias = nn.Parameter(torch.zeros(items))


class OneRowMore(Mlp):
    def __init__(self, users: int, items: int) -> None:
        super().__init__(users, items)
        self.item = nn.Embedding(items + 1, 8)


class UsersAndItemsInOne(Mlp):
    def __init__(self, users: int, items: int) -> None:
        super().__init__(users, items)
        self.both = nn.Embedding(users + items, 8)


class Double(Mlp):
    def __init__(self, users: int, items: int) -> None:
        super().__init__(users, items)
        self.double()


class Frozen(Mlp):
    def __init__(self, users: int, items: int) -> None:
        super().__init__(users, items)
        self.w3.requires_grad_(False)


class OddName(Mlp):
    def __init__(self, users: int, items: int) -> None:
        super().__init__(users, items)
        self.größe = nn.Parameter(torch.zeros(1))


class Running(Mlp):
    def __init__(self, users: int, items: int) -> None:
        super().__init__(users, items)
        self.register_buffer("seen", torch.zeros(1))

    def forward(self, batch: Batch) -> Tensor:
        self.seen += 1
        return super().forward(batch)


class RandomBuffer(Mlp):
    def __init__(self, users: int, items: int) -> None:
        super().__init__(users, items)
        self.register_buffer("projection", torch.randn(3))


class OtherRandomness(Mlp):
    def __init__(self, users: int, items: int) -> None:
        super().__init__(users, items)
        self.w3.data.fill_(float(np.random.default_rng().normal()))


class BeginsAtOne(Mlp):
    def __init__(self, users: int, items: int) -> None:
        super().__init__(users, items)
        nn.init.ones_(self.item.weight)


class TwoColumns(Mlp):
    def forward(self, batch: Batch) -> Tensor:
        return super().forward(batch)[:, None]


class Leaves(Mlp):
    def __init__(self, users: int, items: int) -> None:
        raise SystemExit(5)


class Fails(Mlp):
    def forward(self, batch: Batch) -> Tensor:
        raise RuntimeError("no forward today")


class NeedsAHistory(Mlp):
    def forward(self, batch: Batch) -> Tensor:
        return super().forward(batch) + 0 * batch.history[0]


class NotFinite(Mlp):
    def forward(self, batch: Batch) -> Tensor:
        return super().forward(batch) / 0


class Labels(Mlp):
    def forward(self, batch: Batch) -> Tensor:
        return super().forward(batch) + batch.labels


class Neighbours(Mlp):
    def forward(self, batch: Batch) -> Tensor:
        logits = super().forward(batch)
        return logits - logits.mean()


class RowNumbers(Mlp):
    def forward(self, batch: Batch) -> Tensor:
        return super().forward(batch) + batch.items / 100


class WholeTable(Mlp):
    def forward(self, batch: Batch) -> Tensor:
        return super().forward(batch) + self.item.weight.mean()


class NoProbability(Mlp):
    def score(self, batch: Batch) -> Tensor:
        return self(batch) * 100


class NoSizes(nn.Module):
    def __init__(self, width: int = 8) -> None:
        super().__init__()


class NoTables(nn.Module):
    def __init__(self, users: int) -> None:
        super().__init__()
        self.one = nn.Linear(1, 1)


class NoTableOfUsers(OnlyItems):
    def __init__(self, users: int, items: int) -> None:
        super().__init__(items)


class NoModule:
    def __init__(self, users: int, items: int) -> None:
        pass
