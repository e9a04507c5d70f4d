"""Axes in groups that are independent of one another, by the likelihood of one normal mixture for each group."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TypeAlias

import torch
from torch import Tensor

from gaussflow.ops.orthogonal import cayley
from gaussflow.rows import Rows
from gaussflow.transforms._climb import common_units
from gaussflow.transforms._legendre import DEGREES, legendre_values
from gaussflow.transforms._normal_mixture import NormalMixture, Quadratic, cells

Groups: TypeAlias = Sequence[Sequence[int]]

SEARCH_ROWS = 2**13  # rows that the search goes over: more of them move no axis by much
PART = 8  # one row of so many is held out: it says when to stop
COMPONENTS, ROWS_EACH = 32, 64  # of the mixture of a group, and rows that each must have
ONE_COMPONENTS = 8  # of that of a single coordinate
STEPS, MORE_STEPS = 10, 2  # of expectation maximisation, from the start and after a turn
TURNS = 15
LEAST_GAIN = 1e-3  # nats a row on the rows held out: a turn that gains less is the last
LEAST_CURVE = 0.2  # curvature of a turn of two normal coordinates is none
LEAST_STEP = 1e-2
TOLD = 0.01  # nats that two coordinates have to tell of one another
NOISE = 5.0  # and so many times what independent ones seem to tell


def turned_to_subspaces(
    axes: Callable[[Tensor], Tensor], rows: Rows, most: int, seed: int
) -> tuple[Tensor, list[list[int]]]:
    """From independent axes to independent subspaces: see `independent_subspaces`."""
    x, _ = common_units(rows, SEARCH_ROWS, seed)
    x = x[torch.randperm(len(x), generator=torch.Generator().manual_seed(seed)).to(x.device)]
    found = axes(x)
    groups: list[list[int]] = []
    for size in (min(2, most), most):
        before, groups = groups, dependent_groups(x @ found.T, size)
        if groups != before:
            found = _turned(found, x, groups, seed)
    return found, groups


def dependent_groups(y: Tensor, most: int) -> list[list[int]]:
    """Groups of coordinates of rows y (n, D) that tell most of one another, with no more than so many in each.

    The two groups whose coordinates tell most of one another on the mean are joined, again and again.
    """
    told = pair_information(y)
    sums, size = told, torch.ones(len(told), dtype=told.dtype, device=told.device)
    groups: list[list[int]] = [[i] for i in range(len(told))]
    least = max(TOLD, NOISE * DEGREES / max(1, len(y)))
    while True:
        mean = (sums / torch.outer(size, size)).masked_fill(size + size[:, None] > most, -torch.inf)
        i, j = divmod(int(mean.fill_diagonal_(-torch.inf).argmax()), len(mean))
        if len(groups) == 1 or not float(mean[i, j]) > least:
            return [sorted(group) for group in groups]
        groups[min(i, j)] += groups.pop(max(i, j))
        kept = [k for k in range(len(size)) if k != max(i, j)]
        sums, size = sums.clone(), size.clone()
        sums[min(i, j)] += sums[max(i, j)]
        sums[:, min(i, j)] += sums[:, max(i, j)]
        size[min(i, j)] += size[max(i, j)]
        sums, size = sums[kept][:, kept], size[kept]


def pair_information(y: Tensor) -> Tensor:
    r"""About the nats (D, D) that each coordinate of rows y (n, D) tells of each other, zero for itself.

    Half the squared correlations of the functions of `legendre` of their normal scores, less what they are by chance:
    the first terms of the mutual information where that is small (Lancaster 1958).
    """
    order = y.T.contiguous().sort(1).values
    below, up_to = (torch.searchsorted(order, y.T.contiguous(), right=right) for right in (False, True))
    h = legendre_values(torch.special.ndtri((below + up_to).to(y) / (2 * len(y))))  # (6, D, n); ties share a rank
    h = h - h.mean(2, keepdim=True)
    h = h / h.square().mean(2, keepdim=True).sqrt().clamp(min=1e-6)
    flat = h.transpose(0, 1).reshape(-1, len(y))
    correlation = (flat @ flat.T / len(y)).reshape(len(h[0]), DEGREES, len(h[0]), DEGREES)
    return (correlation.square() - 1 / len(y)).sum((1, 3)).fill_diagonal_(0) / 2


def _turned(axes: Tensor, x: Tensor, groups: Groups, seed: int) -> Tensor:
    """The axes (D, D) after turns that rows held out confirm."""
    held_out, x = x[: len(x) // PART], x[len(x) // PART :]
    model = Mixtures(x @ axes.T, groups, torch.Generator().manual_seed(seed))
    best = model.nats(held_out @ axes.T)
    for _ in range(TURNS):
        turn = model.turn(x @ axes.T)
        if turn is None:
            break
        turned = turn @ axes
        model.climb(x @ turned.T)
        nats = model.nats(held_out @ turned.T)
        if nats < best + LEAST_GAIN:
            break
        best, axes = nats, turned
    return axes


class Mixtures:
    """A normal mixture for each group of coordinates."""

    def __init__(self, y: Tensor, groups: Groups, generator: torch.Generator) -> None:
        self.groups = groups
        self.apart = torch.ones(y.shape[1], y.shape[1], dtype=torch.bool, device=y.device)
        self.mixtures = []
        for group in groups:
            rows, size = Quadratic(y[:, group]), COMPONENTS if len(group) > 1 else ONE_COMPONENTS
            sums = cells(rows, max(1, min(size, len(y) // ROWS_EACH)), generator)
            start = NormalMixture.of_sums(sums, float(len(group)), 0.0)
            self.mixtures.append(start.climbed(rows, float(len(group)), 0.0, STEPS))
            index = torch.tensor(group, device=y.device)
            self.apart[index[:, None], index] = False

    def climb(self, y: Tensor) -> None:
        """A few steps of expectation maximisation on rows y (n, D)."""
        pairs = zip(self.groups, self.mixtures, strict=True)
        self.mixtures = [m.climbed(Quadratic(y[:, g]), float(len(g)), 0.0, MORE_STEPS) for g, m in pairs]

    def nats(self, y: Tensor) -> float:
        """The mean log-density of rows y (n, D)."""
        pairs = zip(self.groups, self.mixtures, strict=True)
        return float(torch.stack([m.log_density(y[:, g]) for g, m in pairs]).sum(0).mean())

    def turn(self, y: Tensor) -> Tensor | None:
        """The orthogonal matrix (D, D) that makes rows y (n, D) likelier, or None where no step does."""
        slopes, here = torch.empty_like(y), 0.0
        for group, mixture in zip(self.groups, self.mixtures, strict=True):
            log_density, slopes[:, group] = mixture.slopes(Quadratic(y[:, group]))
            here += float(log_density.mean())
        gradient = slopes.T @ y / len(y)  # that of the log-likelihood along a small turn of i towards j
        curve = torch.outer(slopes.square().mean(0), y.square().mean(0))
        step = (gradient - gradient.T) / (curve + curve.T - 2).clamp(min=LEAST_CURVE) * self.apart
        size = 1.0
        while size > LEAST_STEP:
            turn = cayley(size * step)
            if self.nats(y @ turn.T) > here:
                return turn
            size /= 2
        return None
