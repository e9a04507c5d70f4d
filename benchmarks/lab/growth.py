"""Block after block on rows, the held-out nats after each: the run that scaling is read off."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from itertools import count, islice, pairwise

import torch

from benchmarks.synthetic import LOG_2PI, Array
from gaussflow.recipes import haar_rotation, ica_rotation, pca_rotation
from gaussflow.rows import Rows, TensorRows
from gaussflow.transforms.affine import Standardize
from gaussflow.transforms.base import Chain, Transform
from gaussflow.transforms.marginal_spline import MarginalSpline

RULES = {"haar": haar_rotation, "pca": pca_rotation, "ica": ica_rotation}
KNOTS = 48
PATIENCE = 10  # blocks that together have to buy
LEAST = 0.01  # this share of the loss, or the run has stalled


@dataclass(frozen=True)
class Growth:
    """What is left after each block, the standardised rows first: mean and standard error over the test rows, nats."""

    left: list[float]
    error: list[float]
    ended: str  # "reached", "stalled" or "blocks": the goal, no further gain, or no further block


def grow_measured(
    rule: str,
    rows: tuple[Array, Array],
    truth: Array | None,
    *,
    blocks: int,
    seed: int,
    share: float = 0.1,
    knots: int = KNOTS,
) -> Growth:
    """Standardise, then fit rotation and marginal splines block by block, on the first rows; measure on the second.

    With the ``truth``, nats (n,) of the second rows under their own law, what is left is the loss above it, and the run
    ends once it has fallen to ``share`` of that of the standardised rows. Without, it is the nats themselves.
    """
    blocks_there = islice(_rotated(rule, TensorRows(torch.as_tensor(rows[0])), seed, knots), blocks + 1)
    return follow(blocks_there, rows[1], truth, share=share)


def follow(blocks: Iterable[Transform], rows: Array, truth: Array | None, *, share: float = 0.1) -> Growth:
    """What is left of rows (n, D) after each of the blocks, which are asked for one by one; see `grow_measured`."""
    test = torch.as_tensor(rows)
    gap = torch.zeros(len(test), dtype=torch.float64)
    gap -= 0.0 if truth is None else torch.as_tensor(truth)
    left, error = list[float](), list[float]()
    for block in blocks:
        with torch.no_grad():
            test, ladj = block(test)
        gap -= ladj
        nats = gap + 0.5 * (test.square() + LOG_2PI).sum(1)
        left.append(float(nats.mean()))
        error.append(float(nats.std()) / math.sqrt(len(nats)))
        if truth is not None and left[-1] <= share * left[0]:
            return Growth(left, error, "reached")
        if stalled(left, left[0] if truth is not None else left[0] - min(left)):
            return Growth(left, error, "stalled")
    return Growth(left, error, "blocks")


def stalled(left: Sequence[float], scale: float) -> bool:
    """Whether the last blocks together bought less than a hundredth of the scale."""
    return len(left) > PATIENCE + 1 and min(left[:-PATIENCE]) - min(left[-PATIENCE:]) < LEAST * scale


def blocks_to(left: Sequence[float], goal: float, log: Callable[[float], float] = math.log) -> float | None:
    """Blocks after which no more than the goal is left, between two blocks on a line in the logarithm.

    ``log`` is the scale of the line. One block at least; None where so little is never left.
    """
    if left[0] <= goal:
        return None  # there is nothing to take
    for index, (before, after) in enumerate(pairwise(left)):
        if after <= goal:
            least = after if log is not math.log else max(after, 1e-6 * goal)
            return max(1.0, index + (log(before) - log(goal)) / (log(before) - log(least)))
    return None


def _rotated(rule: str, train: Rows, seed: int, knots: int) -> Iterator[Transform]:
    """Standardisation, then rotations with marginal splines without end, each fitted to what those before it leave."""
    for index in count():
        block = _block(rule, index, train.dim, seed, knots).double().fit(train)
        yield block
        train = train.through(block)


def _block(rule: str, index: int, dim: int, seed: int, knots: int) -> Transform:
    if index == 0:
        return Standardize(dim)
    generator = torch.Generator().manual_seed(1_000_003 * seed + index)
    return Chain(RULES[rule](dim, generator), MarginalSpline(dim, knots))
