"""Sorting of columns, and searching in them."""

from __future__ import annotations

import numpy as np
import torch
from torch import Tensor


def sorted_columns(x: Tensor) -> Tensor:
    """Every column of x (n, D) in ascending order, in the precision of x, as a contiguous transpose (D, n).

    On a CPU NumPy sorts, three to four times as fast as torch.
    """
    columns = x.T.contiguous()
    if columns.device.type != "cpu" or columns.dtype not in (torch.float32, torch.float64):
        return columns.sort(1).values
    return torch.from_numpy(np.sort(columns.detach().numpy(), axis=1))


def count_up_to(columns: Tensor, x: Tensor) -> Tensor:
    """How many values of ascending columns (D, n), n at least 1, are at most x (D, m): int32 (D, m).

    A binary search by plain operations on all x at once. `torch.searchsorted` guesses a branch at each step, wrongly
    every second time where x are not in order, and takes two to three times as long.
    """
    n, table = columns.shape[1], columns.reshape(-1)
    first = torch.arange(0, table.numel(), n, dtype=torch.int32, device=x.device)[:, None]
    place, left = first.expand(x.shape).contiguous(), n
    while left > 1:
        half = left // 2
        probed = table[half - 1 :].index_select(0, place.view(-1)).view_as(x)
        place.add_(x >= probed, alpha=half)
        left -= half
    return place.add_(x >= table.index_select(0, place.view(-1)).view_as(x)).sub_(first)
