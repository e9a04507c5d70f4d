"""The doors of the house: every check of an argument, and the sentence it says when it fails."""

from __future__ import annotations

import torch
from torch import Tensor


def check_int(owner: str, name: str, value: object, low: int) -> int:
    """Return ``value`` if it is an integer of at least ``low``; raise TypeError or ValueError otherwise."""
    if isinstance(value, bool) or not isinstance(value, int):
        raise TypeError(f"{owner} wants an integer for {name}; got {value!r} of {type(value).__name__}.")
    if value < low:
        raise ValueError(f"{owner} wants {name} of at least {low}; got {value}.")
    return value


def check_shape(owner: str, shape: int | tuple[int, ...]) -> tuple[int, ...]:
    """Return the shape of samples as a tuple of integers of at least 0; raise TypeError or ValueError otherwise."""
    sizes = (shape,) if isinstance(shape, int) else tuple(shape)
    for size in sizes:
        check_int(owner, "shape", size, 0)
    return sizes


def check_tensor(owner: str, x: object, name: str = "x") -> Tensor:
    """Return ``x`` if it is a floating tensor; raise TypeError otherwise."""
    if not isinstance(x, Tensor):
        raise TypeError(
            f"{owner} works on a torch.Tensor; got {name} of {type(x).__name__}. Convert it with torch.as_tensor."
        )
    if not x.is_floating_point():
        raise TypeError(f"{owner} works on floating numbers; got {name} of {x.dtype}. Convert it with {name}.float().")
    return x


def check_last(owner: str, x: object, dim: int, name: str = "x") -> Tensor:
    """Return ``x`` if it is a floating tensor of shape (..., dim); raise TypeError or ValueError otherwise."""
    x = check_tensor(owner, x, name)
    if x.dim() == 0 or x.shape[-1] != dim:
        raise ValueError(
            f"{owner} works on (..., {dim}); got {name} of shape {tuple(x.shape)}. "
            f"The last axis holds the {dim} coordinates; flatten images and reshape before the call."
        )
    return x


def check_tables(owner: str, least: int, **tables: Tensor) -> None:
    """Raise TypeError or ValueError unless all are floating tensors of one shape (K, ...), K of at least ``least``."""
    first, *others = (check_tensor(owner, table, name) for name, table in tables.items())
    if first.dim() == 0 or first.shape[0] < least or any(table.shape != first.shape for table in others):
        got = ", ".join(f"{name} {tuple(table.shape)}" for name, table in tables.items())
        raise ValueError(f"{owner} wants tables of one shape (K, ...), K of at least {least}; got {got}.")


def check_dtype(owner: str, x: Tensor, held: torch.dtype, name: str = "x") -> None:
    """Raise TypeError when ``x`` has another dtype than the numbers ``owner`` holds."""
    if x.dtype != held:
        raise TypeError(
            f"{owner} holds {held} numbers; got {name} of {x.dtype}. "
            f"Convert one of them: {name}.to({held}) or module.to({x.dtype})."
        )


def check_finite(owner: str, x: Tensor, name: str = "x", offset: int = 0) -> None:
    """Raise ValueError when rows (N, D) hold a NaN or an infinity, naming the first; ``offset`` is added to its row."""
    if bool(x.detach().sum().isfinite()):  # what is not finite makes a sum so, too; it takes no copy of x to see
        return
    bad = ~torch.isfinite(x)
    if bool(bad.any()):
        row, column = (int(i) for i in bad.nonzero()[0][:2])
        raise ValueError(
            f"{owner} wants finite numbers; got {int(bad.sum())} NaN or infinite in {name}, "
            f"the first in row {row + offset}, column {column}. Drop or fill those rows first."
        )
