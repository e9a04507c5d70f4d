"""Rows of points that are mapped in a quick way, a few rows at a time, and those points anew where it loses digits."""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple

import torch
from torch import Tensor

MANY = 0.25  # share of points that lose digits beyond which all go the other way


class Quick(NamedTuple):
    """Two values of every number of x (N, D).

    ``of_rows`` takes rows (n, D) and returns the values and where they have lost digits; ``far`` has these, of rows
    (n, D) or of single numbers (1, m) in the given columns (m,).
    """

    of_rows: Callable[[Tensor], tuple[Tensor, Tensor, Tensor]]
    far: Callable[..., tuple[Tensor, Tensor]]

    def __call__(self, step: int, x: Tensor) -> tuple[Tensor, Tensor]:
        """The values, ``step`` rows at a time; single numbers anew all at once, as each operation has its price."""
        first, second = (torch.empty(x.shape, dtype=x.dtype, device=x.device) for _ in range(2))
        again = []
        for i, (part, a, b) in enumerate(zip(x.split(step), first.split(step), second.split(step), strict=True)):
            *values, lost = self.of_rows(part)
            places = lost.view(-1).nonzero().view(-1)
            if len(places) > MANY * lost.numel():
                values = list(self.far(part))
            elif len(places):
                again.append(places + i * step * x.shape[1])
            for target, value in zip((a, b), values, strict=True):
                target.copy_(value)
        if again:
            places = torch.cat(again)
            found = self.far(x.reshape(-1)[places][None], places % x.shape[1])
            for target, value in zip((first, second), found, strict=True):
                target.view(-1)[places] = value[0]
        return first, second
