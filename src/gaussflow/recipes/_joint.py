"""One mixture of normal laws for all averages of an image together: its components differ along the leading axes."""

from __future__ import annotations

import math
from typing import NamedTuple, Self

import torch
from torch import Tensor

from gaussflow.recipes._patches import Patches, grown, stacked_mixture, units
from gaussflow.rows import as_rows
from gaussflow.transforms._moments import Frame, moments_and_shrinkage
from gaussflow.transforms._normal_mixture import NormalMixture, Quadratic, cells, inverse_factors
from gaussflow.transforms.mixture_transport import MixtureTransport

AXES = 16, 32, 64  # leading axes along which components may differ
MOST_OF_PART = 16  # components
PART_ROWS, PARTS, PART_AXES, PART_STEPS = 3_000, 16, 32, 12  # how a part is split: rows, most parts, axes, steps
VALUES = 64  # of a context that is taken for a label
ROWS_OF_VALUE = 20  # that there must be for that
FEW = 5  # held-out rows of a part: fewer say nothing about components
BELIEFS = 0.25, 1.0, 4.0, 16.0  # rows a coordinate that the covariance common to all parts may count as
APART = 20.0  # standard deviations between the labels that are next to each other
THIN = 1e-9  # least variance of an axis, as a share of the largest


class Label(NamedTuple):
    """A value (C,) of the context, and a width so small that other values lie far outside."""

    value: Tensor
    width: float


class Part(NamedTuple):
    """Rows (n, C + M), and rows held out (h, C + M), that share a mixture; C is 0 where they share a label."""

    fitted: Tensor
    held_out: Tensor
    given: int
    label: Label | None

    def split(self) -> tuple[Tensor, Tensor]:
        """Context after a one, (n, 1 + C), and coordinates (n, M)."""
        one = torch.ones_like(self.fitted[:, :1])
        return torch.cat([one, self.fitted[:, : self.given]], 1), self.fitted[:, self.given :]


class Base(NamedTuple):
    r"""A normal law of coordinates (M,) that is affine in the context: x = a (1, c) + T u, u standard normal.

    The columns of T (M, M) are principal axes, the longest first, so that what is left beyond the leading coordinates
    of u is independent of these in the base.
    """

    affine: Tensor
    axes: Tensor
    lengths: Tensor

    @classmethod
    def of(cls, affine: Tensor, covariance: Tensor) -> Self:
        """From the regression (1 + C, M) and the covariance (M, M) about it."""
        values, vectors = torch.linalg.eigh(covariance)
        return cls(affine, vectors.flip(1), values.flip(0).clamp(min=float(values[-1]) * THIN).sqrt())

    def standardised(self, rows: Tensor) -> Tensor:
        """Context and u (n, C + M) of rows (n, C + M)."""
        c = len(self.affine) - 1
        expected = self.affine[0] + rows[:, :c] @ self.affine[1:]
        return torch.cat([rows[:, :c], (rows[:, c:] - expected) @ self.axes / self.lengths], 1)

    def lifted(self, mixture: NormalMixture) -> tuple[Tensor, Tensor]:
        """Means and covariances of context and x, from a mixture of context and leading coordinates of u."""
        c, dim, held = len(self.affine) - 1, len(self.lengths), mixture.means.shape[1]
        means = mixture.means.new_zeros(len(mixture.means), c + dim)
        means[:, :held] = mixture.means
        covariances = torch.eye(c + dim).to(means).repeat(len(means), 1, 1)
        covariances[:, :held, :held] = mixture.covariances()
        back = torch.eye(c + dim).to(means)
        back[c:, c:], back[c:, :c] = self.axes * self.lengths, self.affine[1:].T
        offset = torch.cat([means.new_zeros(c), self.affine[0]])
        return means @ back.T + offset, back @ covariances @ back.T


def joint_transport(
    patches: Patches, most: int, dtype: torch.dtype, generator: torch.Generator
) -> tuple[MixtureTransport, float]:
    """The transport of a mixture of whole rows that held-out rows like well, and what it gives them: nats a row.

    Where the context takes few values, as labels do, each of them has a part of the mixture to itself; another context
    is a coordinate among others. Many rows are split further, by a coarse mixture, where held-out rows like that. Each
    part is fitted alone: its covariance is drawn to the one that all parts share, as far as held-out rows ask for it,
    and whitened; a mixture then takes the place of the standard normal law along its leading axes, so many as held-out
    rows like best.
    """
    c = patches.given
    loc, scale = units(patches.fitted)
    scale[c:] = scale[c:].square().mean().sqrt()  # one unit for all pixels: long axes are long in the image
    patches = Patches((patches.fitted - loc) / scale, (patches.held_out - loc) / scale, c)
    values = _values(patches)
    parts = _labelled_parts(patches, values)
    split = [each for part, base in zip(parts, _bases(parts), strict=True) for each in _split(part, base, generator)]
    found: list[tuple[float, NormalMixture]] = []
    for choice in [parts, split] if len(split) > len(parts) else [parts]:
        mixture = _mixture_of(choice, most, generator)
        found.append((float(mixture.log_density(patches.held_out, c).mean()), mixture))
    score, mixture = max(found, key=lambda pair: pair[0])
    mixture = mixture.in_units(loc, scale)
    transport = MixtureTransport.of_normals(mixture.log_weights, mixture.means, mixture.covariances(), c, dtype=dtype)
    return transport, score - float(scale[c:].log().sum())


def _mixture_of(parts: list[Part], most: int, generator: torch.Generator) -> NormalMixture:
    """The mixture of the parts, each fitted alone and as heavy as it has rows; labels stand before it."""
    each = max(1, min(MOST_OF_PART, most // len(parts)))
    n = sum(len(part.fitted) for part in parts)
    mixtures = []
    for part, base in zip(parts, _bases(parts), strict=True):
        log_weights, means, covariances = _fitted(part, base, each, generator)
        if part.label is not None:
            means, covariances = _labelled(part.label, means, covariances)
        log_share = math.log(len(part.fitted) / n)
        mixtures.append(NormalMixture(log_weights + log_share, means, inverse_factors(covariances)))
    return NormalMixture.mean_of(mixtures, [mixture.log_weights.new_zeros(()) for mixture in mixtures])


def _values(patches: Patches) -> Tensor | None:
    """The values (P, C) of a context that is a label; None for another one, and for none."""
    if not patches.given:
        return None
    values, counts = torch.unique(patches.fitted[:, : patches.given], dim=0, return_counts=True)
    return None if len(values) > VALUES or int(counts.min()) < ROWS_OF_VALUE else values


def _labelled_parts(patches: Patches, values: Tensor | None) -> list[Part]:
    """The rows of each label, those held out with the nearest one; all rows where there are no labels."""
    c = patches.given
    if values is None:
        return [Part(patches.fitted, patches.held_out, c, None)]
    nearest, others = (torch.cdist(u[:, :c], values).argmin(1) for u in (patches.fitted, patches.held_out))
    apart = torch.pdist(values).min() if len(values) > 1 else values.new_ones(())
    return [
        Part(patches.fitted[nearest == k, c:], patches.held_out[others == k, c:], 0, Label(value, float(apart) / APART))
        for k, value in enumerate(values)
    ]


def _split(part: Part, base: Base, generator: torch.Generator) -> list[Part]:
    """The rows of a large part by the component of a coarse mixture that most probably made them."""
    size, used = min(PARTS, len(part.fitted) // PART_ROWS), part.given + PART_AXES
    if size < 2:
        return [part]
    u, held_out = (base.standardised(rows)[:, :used] for rows in (part.fitted, part.held_out))
    scale = units(u)[1]
    scale[part.given :] = 1 / base.lengths[:PART_AXES]  # long axes tell more at the start
    rows, prior = Quadratic(u / scale), float(u.shape[1])
    mixture = NormalMixture.of_sums(cells(rows, size, generator), prior, 0.0).climbed(rows, prior, 0.0, PART_STEPS)
    here, there = mixture.likeliest(u / scale), mixture.likeliest(held_out / scale)
    held = [k for k in range(size) if int((here == k).sum()) >= ROWS_OF_VALUE]
    return [part._replace(fitted=part.fitted[here == k], held_out=part.held_out[there == k]) for k in held]


def _bases(parts: list[Part]) -> list[Base]:
    """Normal laws of the parts, their covariances drawn to the common one as held-out rows like best."""
    pairs = [part.split() for part in parts]
    affines = [torch.linalg.pinv(c) @ x for c, x in pairs]  # that of a one-hot context, too, which sums to one
    residuals = [x - c @ affine for affine, (c, x) in zip(affines, pairs, strict=True)]
    rows = as_rows(torch.cat(residuals))
    _, shrinkage = moments_and_shrinkage(rows, Frame.of(rows))
    n, dim = sum(len(r) for r in residuals), residuals[0].shape[1]
    scatters = [r.T @ r for r in residuals]
    common = torch.stack(scatters).sum(0) / n
    common = (1 - shrinkage) * common + shrinkage * common.diagonal().diag()
    choices = []
    for belief in (dim * each for each in BELIEFS):
        covariances = [(s + belief * common) / (len(r) + belief) for s, r in zip(scatters, residuals, strict=True)]
        choices.append([Base.of(a, covariance) for a, covariance in zip(affines, covariances, strict=True)])
    choices.append([Base.of(a, common) for a in affines])
    return max(choices, key=lambda bases: sum(map(_plain_score, parts, bases)))


def _plain_score(part: Part, base: Base) -> float:
    return float(_normal(base.standardised(part.held_out)[:, part.given :], base).sum())


def _normal(u: Tensor, base: Base) -> Tensor:
    """Log-density (n,) that standard normal coordinates (n, m) have part in, with the volume of the whole base."""
    return -0.5 * (u.square() + math.log(2 * math.pi)).sum(1) - base.lengths.log().sum()


def _fitted(part: Part, base: Base, most: int, generator: torch.Generator) -> tuple[Tensor, Tensor, Tensor]:
    """Log-weights, means and covariances of the components of a part."""
    u, held_out, c = base.standardised(part.fitted), base.standardised(part.held_out), part.given
    order = torch.randperm(len(u), generator=generator).to(u.device)
    best, found = -math.inf, NormalMixture.standard(u[0, :c])
    for leading in sorted({min(axes, len(base.lengths)) for axes in AXES}):
        loc, scale = units(u[:, : c + leading])
        seen, unseen = ((rows[:, : c + leading] - loc) / scale for rows in (u[order], held_out))
        mixture, log_density = stacked_mixture(*grown(seen, unseen, c, most if len(unseen) >= FEW else 1, generator))
        score = log_density - scale[c:].log().sum() + _normal(held_out[:, c + leading :], base)
        if float(score.sum()) <= best:
            break
        best, found = float(score.sum()), mixture.in_units(loc, scale)
    return found.log_weights, *base.lifted(found)


def _labelled(label: Label, means: Tensor, covariances: Tensor) -> tuple[Tensor, Tensor]:
    """Components (K, M) with a label (C,) before them."""
    c = len(label.value)
    block = covariances.new_zeros(len(means), c + means.shape[1], c + means.shape[1])
    block[:, :c, :c] = label.width**2 * torch.eye(c).to(means)
    block[:, c:, c:] = covariances
    return torch.cat([label.value.expand(len(means), c), means], 1), block
