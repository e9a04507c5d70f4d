"""Adam with a learning rate that follows a cosine, for a training whose number of steps is known beforehand."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable
from typing import Any

import torch
from torch import nn
from typing_extensions import override

WARM = 0.03  # share of the steps in which the learning rate rises
LAST = 0.02  # of the learning rate, in the last step


class CosineAdam(torch.optim.Adam):
    """Adam whose learning rate rises for a short while, then falls along half a cosine to nearly nothing.

    A variational model takes the noise of the last steps for noise of its codes: with a learning rate that stays, the
    codes say less, and no average of the weights mends that. The step that it is at is read from the state of Adam,
    and so survives a checkpoint.
    """

    def __init__(self, parameters: Iterable[nn.Parameter], lr: float, steps: int) -> None:
        super().__init__(parameters, lr=lr, betas=(0.9, 0.99))
        self.first, self.steps = lr, max(1, steps)

    @override
    def step(self, closure: Callable[[], float] | None = None) -> Any:  # type: ignore[override]
        """One step of Adam at the learning rate of its place."""
        taken = [float(state["step"]) for state in self.state.values() if "step" in state]
        done = max(taken, default=0.0) / self.steps
        share = min(1.0, done / WARM + LAST) * (LAST + (1 - LAST) * 0.5 * (1 + math.cos(math.pi * min(1.0, done))))
        for group in self.param_groups:
            group["lr"] = self.first * share
        return super().step(closure)
