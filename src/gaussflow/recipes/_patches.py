"""One mixture of normal laws for the patches at all places of an image, with as many components as pay."""

from __future__ import annotations

from typing import NamedTuple, Self

import torch
from torch import Tensor

from gaussflow.transforms._normal_mixture import NormalMixture, Quadratic, cells, stacked
from gaussflow.transforms.mixture_transport import MixtureTransport

STEPS, MORE_STEPS = 12, 4  # of expectation maximisation, from the start and under a weaker prior
GROWTH = 4  # components, from one size to the next
ROWS_EACH = 200  # rows a component that tell enough of it
FEWEST, LEAST = 120_000, 20  # rows that are taken where there are so many, and rows a component that there must be
GAIN = 0.01  # nats a place that more components have to buy
WEAKER = 10.0  # a step of the prior


class Patches(NamedTuple):
    """Patches (n, M) of rows, what is given first, in float64; and those of rows held out (h, M)."""

    fitted: Tensor
    held_out: Tensor
    given: int

    @classmethod
    def of(cls, fitted: tuple[Tensor, Tensor | None], held_out: tuple[Tensor, Tensor | None]) -> Self:
        """From what moves and what is given."""
        u, v = (torch.cat([x] if c is None else [c, x], 1).double() for x, c in (fitted, held_out))
        return cls(u, v, u.shape[1] - fitted[0].shape[1])


def patch_transport(
    patches: Patches, most: int, dtype: torch.dtype, generator: torch.Generator
) -> tuple[MixtureTransport, float]:
    """The transport of the mixture that held-out patches like best, and what it gives them: nats a place.

    Mixtures of 1, 4, 16, ... components are fitted until the next size buys too little. Patches of a flat ground
    vary a thousand times less than those of an edge, so the prior, which draws all components to one size, is weakened
    as far as held-out patches ask for it. What is taken is the best mean of the mixtures of all sizes: the coarse ones
    catch the rare patches that no component of the fine ones expects.
    """
    u = patches.fitted[torch.randperm(len(patches.fitted), generator=generator).to(patches.fitted.device)]
    loc, scale = units(u)
    fitted, held_out = ((rows - loc) / scale for rows in (u, patches.held_out))
    mixture, score = stacked_mixture(*grown(fitted, held_out, patches.given, most, generator))
    mixture = mixture.in_units(loc, scale)
    transport = MixtureTransport.of_normals(
        mixture.log_weights, mixture.means, mixture.covariances(), patches.given, dtype=dtype
    )
    return transport, float(score.mean()) - float(scale[patches.given :].log().sum())


def units(u: Tensor) -> tuple[Tensor, Tensor]:
    """Means and standard deviations (M,) of rows, 1 for a constant."""
    scale = u.std(0, correction=0)
    return u.mean(0), torch.where(scale > 1e-9, scale, 1.0)


def stacked_mixture(mixtures: list[NormalMixture], scores: list[Tensor]) -> tuple[NormalMixture, Tensor]:
    """The best mean of mixtures for rows held out, and the log-densities (h,) that it gives them."""
    log_weights = stacked(torch.stack(scores))
    score = (torch.stack(scores) + log_weights[:, None]).logsumexp(0)
    return NormalMixture.mean_of(mixtures, list(log_weights)), score


def grown(
    u: Tensor, held_out: Tensor, given: int, most: int, generator: torch.Generator
) -> tuple[list[NormalMixture], list[Tensor]]:
    """Mixtures of growing size, the best one last, and the log-densities (h,) that each gives to rows held out."""
    mixtures: list[NormalMixture] = []
    scores: list[Tensor] = []
    size, prior = 1, float(u.shape[1])
    while size <= most and len(u) >= LEAST * size:
        rows = Quadratic(u[: max(FEWEST, ROWS_EACH * size)])
        mixture, score, prior = _fitted(rows, held_out, given, size, prior, generator)
        if scores and float(score.mean()) < float(scores[-1].mean()) + GAIN:
            break
        mixtures.append(mixture)
        scores.append(score)
        size *= GROWTH
    return mixtures, scores


def _fitted(
    rows: Quadratic, held_out: Tensor, given: int, size: int, prior: float, generator: torch.Generator
) -> tuple[NormalMixture, Tensor, float]:
    """A mixture of that size, the log-densities (h,) of rows held out, and the prior that was best."""
    best = NormalMixture.of_sums(cells(rows, size, generator), prior, 0.0)
    best = best.climbed(rows, prior, 0.0, STEPS if size > 1 else 0)
    score = best.log_density(held_out, given)
    while size > 1:
        tried = best.climbed(rows, prior / WEAKER, 0.0, MORE_STEPS)
        its_score = tried.log_density(held_out, given)
        if float(its_score.mean()) < float(score.mean()) + GAIN:
            break
        best, score, prior = tried, its_score, prior / WEAKER
    return best, score, prior
