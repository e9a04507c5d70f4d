"""Which rows are fitted and which are held out when estimates of a marginal are compared, told from one sorting.

A row's fold is its number modulo the number of folds. It rides through the sorting of the column in the last two bits
of the value, so that the sorted rows of every fold are read off the sorted rows of all. These bits are 1e-15 of a value
in double precision. In single precision they are 5e-7 of its distance from the middle of the column, since an offset is
taken away before; and the sorting takes half as long.
"""

from __future__ import annotations

from collections.abc import Iterator
from functools import lru_cache

import torch
from torch import Tensor

from gaussflow.ops._sort import places_of, sorted_columns

FOLDS = 4
POINTS = 512  # held-out rows of a fold that are looked at: the others lie between them, each counts for its neighbours
END = 64  # of them at either end, where each counts for itself alone
BITS = FOLDS - 1
FIRST = 31  # rows whose median stands for the middle of a column
LARGEST = 1e37  # less of single precision is left as it is


def sorted_rows(x: Tensor) -> tuple[Tensor, Tensor]:
    """The columns of x (n, D) in ascending order, float64 (D, n) but for the last two bits, and their folds, int8."""
    middle = x[:FIRST].median(0).values
    if x.dtype == torch.float32 and bool(((away := x - middle).abs().amax()) < LARGEST):
        columns, label = _sorted_with_folds(away, torch.int32)
        return columns.double().add_(middle.double()[:, None]), label
    return _sorted_with_folds(x.double(), torch.int64)


def _sorted_with_folds(x: Tensor, bits: torch.dtype) -> tuple[Tensor, Tensor]:
    """The same in the precision of x (n, D), whose bits are integers of that type."""
    label = (torch.arange(len(x), device=x.device) % FOLDS).to(bits)
    keys = x.view(bits).bitwise_and(~BITS).bitwise_or_(label[:, None])
    keys = sorted_columns(keys.view(x.dtype)).view(bits)
    label = keys.bitwise_and(BITS).to(torch.int8)
    return keys.bitwise_and_(~BITS).view(x.dtype), label


def folds(label: Tensor) -> Iterator[tuple[Tensor, Tensor, Tensor]]:
    """For each fold of sorted columns (D, n): the places in the flattened columns of the rows to fit, (D, r), and of
    those held out that are looked at, (D, m); and how many of these each stands for, (m,).
    """
    dim = len(label)
    for i in range(FOLDS):
        train, test = (places_of(mask).view(dim, -1) for mask in (label != i, label == i))
        at, weight = (t.to(label.device) for t in representatives(test.shape[1]))
        yield train, test[:, at], weight


@lru_cache(maxsize=8)
def representatives(m: int) -> tuple[Tensor, Tensor]:
    """Which of m sorted rows stand for all, and for how many each: all at the ends, the middle ones of runs between."""
    if m <= POINTS:
        return torch.arange(m), torch.ones(m)
    edges = torch.linspace(END, m - END, POINTS - 2 * END + 1).round().long()
    at = torch.cat([torch.arange(END), (edges[:-1] + edges[1:]) // 2, torch.arange(m - END, m)])
    return at, torch.cat([torch.ones(END), edges.diff().float(), torch.ones(END)])
