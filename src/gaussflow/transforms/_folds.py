"""Which rows are fitted and which are held out when estimates of a marginal are compared, told by rank.

Where rows come in no order, the fold of a row says nothing of its value: given the sorted column, every arrangement of
the folds over the ranks is as likely. So the folds are dealt to the ranks, the same for columns that are looked at
together, and what is fitted and held out is read off the sorted rows of all without asking which rows these are. Equal
values have folds at random too.
"""

from __future__ import annotations

from functools import lru_cache

import torch
from torch import Tensor

FOLDS = 4
POINTS = 512  # held-out rows of a fold that are looked at: the others lie between them, each counts for its neighbours
END = 64  # of them at either end, where each counts for itself alone
DEALT = 4  # arrangements, so that no chance of one is met at every column


@lru_cache(maxsize=DEALT)
def folds(n: int, deal: int) -> list[tuple[Tensor, Tensor, Tensor]]:
    """For each fold of n ranks: the ranks to fit, (r,), and of those held out the ones that are looked at, (m,); and
    how many of these each stands for, (m,).

    Source: Stone (1974).
    """
    order = torch.randperm(n, generator=torch.Generator().manual_seed(deal % DEALT))
    label = torch.empty(n, dtype=torch.int64)
    label[order] = torch.arange(n) % FOLDS
    found = []
    for i in range(FOLDS):
        train, test = (mask.nonzero()[:, 0].int() for mask in (label != i, label == i))
        at, weight = representatives(len(test))
        found.append((train, test[at], weight))
    return found


@lru_cache(maxsize=8)
def representatives(m: int) -> tuple[Tensor, Tensor]:
    """Which of m sorted rows stand for all, and for how many each: all at the ends, the middle ones of runs between."""
    if m <= POINTS:
        return torch.arange(m), torch.ones(m)
    edges = torch.linspace(END, m - END, POINTS - 2 * END + 1).round().long()
    at = torch.cat([torch.arange(END), (edges[:-1] + edges[1:]) // 2, torch.arange(m - END, m)])
    return at, torch.cat([torch.ones(END), edges.diff().float(), torch.ones(END)])
