"""What the engines do with one chunk: check it, cut it, map it, choose the side of its rows."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from typing import NamedTuple

import numpy as np
import torch
from torch import Tensor

from gaussflow._check import check_finite, check_tensor
from gaussflow.rows.base import Chunk, Map

CHUNK_ELEMENTS = 2**17  # 1 MiB of float64: larger temporaries page-fault, smaller ones pay call overhead


def check_chunk(x: object, context: object, offset: int = 0) -> None:
    """Raise TypeError or ValueError unless x is (n, D), context (n, C) or None, both finite floating tensors."""
    x = check_tensor("Rows", x)
    if x.dim() != 2 or not x.shape[1]:
        raise ValueError(f"Rows wants x of shape (N, D); got {tuple(x.shape)}. Flatten images to one row each.")
    check_finite("Rows", x, offset=offset)
    if context is not None:
        context = check_tensor("Rows", context, "context")
        if context.dim() != 2 or len(context) != len(x):
            raise ValueError(
                f"Rows wants one context row for each row: ({len(x)}, C); got context of shape {tuple(context.shape)}."
            )
        check_finite("Rows", context, "context", offset)


def cut(x: Tensor, context: Tensor | None, elements: int = CHUNK_ELEMENTS) -> Iterator[Chunk]:
    """The chunk in pieces of about so many numbers, so that what is computed from one stays small."""
    step = max(1, elements // x.shape[1])
    for i in range(0, len(x), step):
        yield x[i : i + step], None if context is None else context[i : i + step]


class Push(NamedTuple):
    """What is done to chunks by one transform: values (n, D) of x (n, D) and context, and the name of the transform."""

    values: Callable[[Tensor, Tensor | None], Tensor]
    name: str

    @classmethod
    def by(cls, transform: Map, rows: int) -> Push:
        """By a transform, which may make itself ready for so many rows."""
        ready = getattr(transform, "_values", None)
        return cls(ready(rows) if ready else lambda x, c: transform(x, c)[0], type(transform).__name__)


def pushed(pushes: Sequence[Push], x: Tensor, context: Tensor | None) -> Tensor:
    """The chunk x (n, D) after all the transforms; raises ValueError where one of them gives a NaN or an infinity."""
    with torch.no_grad():
        for values, name in pushes:
            x = values(x, context)
            summed = bool(x.sum().isfinite())  # which sees what is not finite, and without a copy
            if not summed and not bool(torch.isfinite(x).all()):
                raise ValueError(f"{name} gave a NaN or an infinity on finite rows; a fit cannot go on behind it.")
    return x


def in_second(start: int, count: int, fraction: float, seed: int) -> Tensor:
    """Whether each row of the run [start, start + count) is on the second side, a boolean tensor (count,).

    A hash of index and seed (splitmix64; Steele, Lea and Flood 2014) is compared with the fraction.
    """
    with np.errstate(over="ignore"):
        h = np.arange(start, start + count, dtype=np.uint64) + np.uint64(seed + 1) * np.uint64(0x9E3779B97F4A7C15)
        for shift, factor in ((30, 0xBF58476D1CE4E5B9), (27, 0x94D049BB133111EB)):
            h = (h ^ (h >> np.uint64(shift))) * np.uint64(factor)
        h ^= h >> np.uint64(31)
    return torch.from_numpy(h.astype(np.float64) < fraction * 2.0**64)


def count_second(start: int, count: int, fraction: float, seed: int) -> int:
    """How many rows of the run are on the second side, without an array as long as the run."""
    steps = range(start, start + count, CHUNK_ELEMENTS)
    return sum(int(in_second(i, min(CHUNK_ELEMENTS, start + count - i), fraction, seed).sum()) for i in steps)
