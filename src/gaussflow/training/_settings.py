"""What a training was told, and what a checkpoint remembers of it."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, NamedTuple, TypeAlias

import torch
from torch import Tensor

from gaussflow.rows import Rows

Augment: TypeAlias = Callable[[Tensor, torch.Generator], Tensor]


class Settings(NamedTuple):
    """What `train` was told about steps; `train` describes each."""

    batch_size: int
    patience: int
    clip: float | None
    seed: int
    ema: float | None
    autocast: torch.dtype | None
    augment: Augment | None


def identity(settings: Settings, optimizer: torch.optim.Optimizer, rows: Rows, valid: Rows) -> dict[str, Any]:
    """What must be the same in a training that goes on from a checkpoint: settings and rows, as JSON values."""
    augment = settings.augment
    return {
        **settings._asdict(),
        "autocast": None if settings.autocast is None else str(settings.autocast),
        "augment": None if augment is None else str(getattr(augment, "__qualname__", type(augment).__qualname__)),
        "optimizer": type(optimizer).__name__,
        "lr": [group["lr"] for group in optimizer.param_groups],
        "rows": [rows.n, rows.dim, rows.context_dim],
        "valid": valid.n,
        "sums": [f"{float(part.sum(lambda x, c: (x.sum(),))[0]):.6g}" for part in (rows, valid)],
    }
