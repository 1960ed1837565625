"""A small deep interest network: of a user's history, what resembles the target item counts most.

After Zhou and others, "Deep Interest Network for Click-Through Rate Prediction" (KDD 2018, arXiv 1706.06978): a small
network weighs every item of the history against the target, and the weights are not normalised, so that a strong
interest stays strong.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn

from models.samples import Batch


class Din(nn.Module):
    """width: of both tables; attention, hidden: units of the network that weighs, and of the one that scores."""

    def __init__(self, users: int, items: int, width: int = 8, attention: int = 16, hidden: int = 16) -> None:
        super().__init__()
        self.users, self.items = nn.Embedding(users, width), nn.Embedding(items, width)
        for table in (self.users, self.items):
            nn.init.normal_(table.weight, std=0.05)
        self.attention = nn.Sequential(nn.Linear(4 * width, attention), nn.PReLU(), nn.Linear(attention, 1))
        self.scoring = nn.Sequential(nn.Linear(3 * width, hidden), nn.PReLU(), nn.Linear(hidden, 1))

    def forward(self, batch: Batch) -> Tensor:
        """The logits [B]. Histories stand one after the other, so that none has to be filled up."""
        targets = self.items(batch.items)
        owners = torch.repeat_interleave(batch.offsets.diff())
        past, target = self.items(batch.history), targets[owners]
        weights = self.attention(torch.cat([past, target, past - target, past * target], dim=1))
        interest = torch.zeros_like(targets).index_add(0, owners, weights * past)
        return self.scoring(torch.cat([self.users(batch.users), interest, targets], dim=1))[:, 0]
