r"""A mixture of normal laws in several coordinates, and the steps of expectation maximisation for it.

The log-density of a component is linear in the features :math:`\phi(u) = (1, u_i, u_i u_j)_{i \ge j}` of a row, and the
sums that the M-step needs are responsibilities times features. So a step is two matrix products, rows by features by
components: half the operations of triangular solves, and no temporary larger than rows by features. With more than
`WIDE` coordinates, where components are few, one matrix product for each component costs less.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from typing import NamedTuple, Self, TypeAlias

import torch
from torch import Tensor

LLOYD_STEPS = 5
STACKING_STEPS = 100
LLOYD_ROWS = 16  # rows a component on which a start is found
CHUNK = 2**20  # elements of a temporary
FLOOR = 1e-6  # least variance of a component in units of the coordinate
WIDE = 96
KEPT = 2**23  # elements of features that are kept


class Sums(NamedTuple):
    """Sums of responsibilities (K,), and of these times rows (K, M) and times their products (K, M, M)."""

    n: Tensor
    first: Tensor
    second: Tensor

    @classmethod
    def none(cls, components: int, u: Tensor) -> Self:
        """The sums over none of the rows u (n, M)."""
        shape = components, u.shape[1]
        return cls(u.new_zeros(components), u.new_zeros(shape), u.new_zeros(*shape, u.shape[1]))

    def plus(self, r: Tensor, u: Tensor, phi: Tensor | None) -> Sums:
        """These and the sums over rows u (n, M) with responsibilities r (K, n), by their features where these are."""
        if phi is None:
            second = torch.stack([(u * each[:, None]).T @ u for each in r])
            return Sums(self.n + r.sum(1), self.first + r @ u, self.second + second)
        sums, dim = r @ phi.T, u.shape[1]
        i, j = torch.tril_indices(dim, dim, device=u.device)
        second = torch.empty_like(self.second)
        second[:, i, j] = sums[:, dim + 1 :]
        second[:, j, i] = sums[:, dim + 1 :]
        return Sums(self.n + sums[:, 0], self.first + sums[:, 1 : dim + 1], self.second + second)


class NormalMixture(NamedTuple):
    r"""K normal components in M coordinates.

    ``log_weights`` (K,), ``means`` (K, M), and ``factors`` (K, M, M): lower triangular A with
    :math:`A \Sigma A^\top = I`, so that :math:`A (u - m)` is standard normal.
    """

    log_weights: Tensor
    means: Tensor
    factors: Tensor

    @classmethod
    def standard(cls, like: Tensor) -> Self:
        """One standard normal component in as many coordinates as ``like`` (M,) has."""
        return cls(torch.zeros_like(like[:1]), torch.zeros_like(like)[None], torch.ones_like(like).diag()[None])

    @classmethod
    def of_sums(cls, sums: Sums, prior: float, shrinkage: float) -> Self:
        r"""The M-step.

        With W the covariance within the components, pooled over all and shrunk to its diagonal, a component that has n
        rows gets :math:`(n S + \nu W) / (n + \nu)`: as if it had seen :math:`\nu` = ``prior`` more rows that vary as
        the rows of all components do about their means. A single component gets W itself.
        """
        n, components = sums.n[:, None, None], len(sums.n)
        means = sums.first / sums.n.clamp(min=1e-9)[:, None]
        scatter = sums.second - n * means[:, :, None] * means[:, None]
        within = scatter.sum(0) / sums.n.sum()
        within = (1 - shrinkage) * within + shrinkage * within.diagonal().diag()
        covariances = within[None] if components == 1 else (scatter + prior * within) / (n + prior)
        log_weights = (sums.n + 1).log() - (sums.n.sum() + components).log()
        return cls(log_weights, means, inverse_factors(covariances))

    @classmethod
    def mean_of(cls, mixtures: Sequence[Self], log_weights: Sequence[Tensor]) -> Self:
        """The weighted mean of the densities, which is a mixture, too."""
        logits = [mixture.log_weights + each for mixture, each in zip(mixtures, log_weights, strict=True)]
        return cls(torch.cat(logits), torch.cat([m.means for m in mixtures]), torch.cat([m.factors for m in mixtures]))

    def covariances(self) -> Tensor:
        """Those of the components, (K, M, M)."""
        roots: Tensor = torch.linalg.inv(self.factors)
        return roots @ roots.mT

    def in_units(self, loc: Tensor, scale: Tensor) -> NormalMixture:
        """The mixture of ``loc + scale u``, where this is that of u."""
        return NormalMixture(self.log_weights, self.means * scale + loc, self.factors / scale)

    def climbed(self, rows: Quadratic, prior: float, shrinkage: float, steps: int, still: float = -math.inf) -> Self:
        """The mixture after some steps of expectation maximisation; one that gains less than ``still`` is the last."""
        mixture, before = self, -math.inf
        for _ in range(steps):
            sums, log_density = mixture.sums(rows)
            mixture = type(self).of_sums(sums, prior, shrinkage)
            if log_density < before + still:
                break
            before = log_density
        return mixture

    def log_density(self, u: Tensor, given: int = 0) -> Tensor:
        """Log-density (n,) of rows u (n, M): of the coordinates after the first ``given``, conditionally on these."""
        total = torch.cat([logits.logsumexp(0) for _, logits in self._scored(Quadratic(u))])
        if not given:
            return total
        first = NormalMixture(self.log_weights, self.means[:, :given], self.factors[:, :given, :given])
        return total - first.log_density(u[:, :given])

    def slopes(self, rows: Quadratic) -> tuple[Tensor, Tensor]:
        """Log-densities (n,) of the rows and their gradients (n, M), which hold n M M numbers for a moment."""
        precision = self.factors.mT @ self.factors
        pull, found = (precision @ self.means[:, :, None])[:, :, 0], []
        for (u, _), logits in self._scored(rows):
            each = logits.logsumexp(0)
            r = (logits - each).exp()
            push = torch.einsum("kn, kij, nj -> ni", r, precision, u)
            found.append((each, r.T @ pull - push))
        log_densities, slopes = zip(*found, strict=True)
        return torch.cat(log_densities), torch.cat(slopes)

    def likeliest(self, u: Tensor) -> Tensor:
        """The index (n,) of the component that most probably made each of the rows u (n, M)."""
        return torch.cat([logits.argmax(0) for _, logits in self._scored(Quadratic(u))])

    def sums(self, rows: Quadratic) -> tuple[Sums, float]:
        """The E-step, and the mean log-density of the rows, nats a row."""
        total, log_density = Sums.none(len(self.means), rows.u), 0.0
        for (u, phi), logits in self._scored(rows):
            each = logits.logsumexp(0)
            r, log_density = (logits - each).exp(), log_density + float(each.sum())
            total = total.plus(r, u, phi)
        return total, log_density / len(rows.u)

    def _scored(self, rows: Quadratic) -> Iterator[tuple[Piece, Tensor]]:
        """Pieces of the rows with the log-weights plus log-densities (K, n) of the components."""
        coefficients = None if rows.wide else self._coefficients()
        for u, phi in rows.pieces(len(self.means)):
            yield (u, phi), self._one_by_one(u) if phi is None or coefficients is None else coefficients @ phi

    def _one_by_one(self, u: Tensor) -> Tensor:
        pairs = zip(self.means, self.factors, strict=True)
        squares = [((u - mean) @ factor.T).square().sum(1) for mean, factor in pairs]
        constant = self.log_weights + self._log_dets() - u.shape[1] / 2 * math.log(2 * math.pi)
        return constant[:, None] - torch.stack(squares) / 2

    def _coefficients(self) -> Tensor:
        """What the features are multiplied with to give log-weights plus log-densities: (K, F)."""
        precision = self.factors.mT @ self.factors
        slope = (precision @ self.means[:, :, None])[:, :, 0]
        dim = self.means.shape[1]
        constant = self.log_weights + self._log_dets() - (slope * self.means).sum(1) / 2
        i, j = torch.tril_indices(dim, dim, device=self.means.device)
        quadratic = -precision[:, i, j] * torch.where(i == j, 0.5, 1.0).to(precision)
        return torch.cat([constant[:, None] - dim / 2 * math.log(2 * math.pi), slope, quadratic], 1)

    def _log_dets(self) -> Tensor:
        return self.factors.diagonal(dim1=1, dim2=2).log().sum(1)


Piece: TypeAlias = tuple[Tensor, Tensor | None]


class Quadratic:
    """Rows (n, M) with their features (F, n): these are kept where they are few, and made piece by piece where not."""

    def __init__(self, u: Tensor) -> None:
        self.u, self.wide = u, u.shape[1] > WIDE
        self.width = 1 + u.shape[1] * (u.shape[1] + 3) // 2
        self.kept = features(u) if not self.wide and len(u) * self.width <= KEPT else None

    def pieces(self, components: int) -> Iterator[Piece]:
        """Pieces of the rows with their features, None where there are too many of these."""
        step = max(1, CHUNK // max(components, self.u.shape[1] if self.wide else self.width))
        for i in range(0, max(1, len(self.u)), step):
            u = self.u[i : i + step]
            if self.kept is not None:
                yield u, self.kept[:, i : i + step]
            else:
                yield u, None if self.wide else features(u)


def features(u: Tensor) -> Tensor:
    """One, the coordinates, and their products, (F, n), of rows u (n, M), in the order of a lower triangle.

    Each run of products is one coordinate times those up to it: whole lines of memory, five times faster than columns.
    """
    t = u.T.contiguous()
    return torch.cat([torch.ones_like(t[:1]), t, *(t[i] * t[: i + 1] for i in range(len(t)))])


def inverse_factors(covariances: Tensor) -> Tensor:
    """The lower triangular A (K, M, M) with A S Aᵀ = I; the least variance is about `FLOOR`."""
    eye = torch.eye(covariances.shape[-1], dtype=covariances.dtype, device=covariances.device)
    lower = torch.linalg.cholesky(covariances + FLOOR * eye)
    factors: Tensor = torch.linalg.solve_triangular(lower, eye.expand_as(lower), upper=False)
    return factors


def cells(rows: Quadratic, components: int, generator: torch.Generator) -> Sums:
    """Sums over the cells of a few steps of k-means from random rows, each row in one cell: a start."""
    u, pick = rows.u, torch.randperm(len(rows.u), generator=generator).to(rows.u.device)
    centres, some = u[pick[:components]], u[pick[: LLOYD_ROWS * components]]
    for _ in range(LLOYD_STEPS):
        cell = _nearest(some, centres)
        count = torch.bincount(cell, minlength=components).to(u)[:, None]
        moved = torch.zeros_like(centres).index_add_(0, cell, some)
        centres = torch.where(count > 0, moved / count.clamp(min=1), centres)
    total = Sums.none(components, u)
    for part, phi in rows.pieces(components):
        inside = _nearest(part, centres) == torch.arange(components, device=u.device)[:, None]
        total = total.plus(inside.to(u), part, phi)
    return total


def stacked(scores: Tensor) -> Tensor:
    """The log-weights (S,) of the mean density that fits best, from log-densities (S, h), none of them zero."""
    log_weights = scores.new_zeros(len(scores)) - math.log(len(scores))
    for _ in range(STACKING_STEPS):
        share = (scores + log_weights[:, None]).softmax(0).sum(1)
        log_weights = ((share + 1) / (share + 1).sum()).log()
    return log_weights


def _nearest(u: Tensor, centres: Tensor) -> Tensor:
    return (centres.square().sum(1) - 2 * u @ centres.T).argmin(1)
