"""How many normal components the rows confirm, how far their covariances are shrunk, and a bag of such mixtures.

Mixtures of 1, 2, 4, ... components are fitted, each several times, and each time without an eighth of the rows; these
say how many components are worth having. The fits are not thrown away: their mean density is what is returned. It is a
mixture, too, and better than any of them, as the accidents of one start and of one set of rows are averaged out.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import NamedTuple

import torch
from torch import Tensor

from gaussflow.rows import Rows, as_rows
from gaussflow.transforms._moments import Frame, moments_and_shrinkage
from gaussflow.transforms._normal_mixture import NormalMixture, Quadratic, cells, stacked

FIT_ROWS = 2**16  # rows that one mixture is fitted on at most; with more rows each is fitted on others
FIT_NUMBERS = 2**25  # and so many features of them: what a step costs for each component
FEW_ROWS = 2**13  # with more rows there are half as many folds: less is left to chance
FOLDS, STARTS = 4, 2  # the bag holds so many mixtures of a size, their product
PARTS = 8  # each fold holds out one of so many parts of the rows
STEPS, MORE_STEPS = 16, 4  # of expectation maximisation, from the start and after a change of the prior
STILL = 1e-2  # nats a row: a step that gains less is the last
LEAST_ROWS = 8  # rows a component
LOSS_OF_TWO = 0.05  # nats a row by which two components are worse than one where there is nothing to be found
SURE = 2.0  # standard errors by which a doubling has to lose to be the last
FEW_COMPONENTS = 16  # where there is no room for so many in each mixture of the bag, it holds fewer mixtures
STILL_GAIN, LEAST_PRIOR = 1e-3, 0.05  # nats a row that another prior has to buy, and rows that it counts as
LEAST_GAIN = 1e-3  # nats a coordinate that components have to buy in two doublings
COARSER = 4  # in the bag stand also mixtures of a quarter of the components, a sixteenth, ... and one
FEWEST_ROWS = 16
MOST_OF_A_ROW = 10.0  # nats that one row may count in favour of a mixture
STANDARD_ERRORS = 1.0  # by so many components have to beat the normal law, and this the standard one


class Fold(NamedTuple):
    """Rows that mixtures are fitted on, and rows held out from them (h, M), in units of the coordinates."""

    fitted: Quadratic
    held_out: Tensor
    seed: int


class Fit(NamedTuple):
    """Mixtures of one size from several starts, and the log-density (h,) that their mean gives to rows held out."""

    mixtures: list[NormalMixture]
    score: Tensor


class Growth:
    """Mixtures of growing size on several folds.

    ``prior`` is the number of rows that the prior of the covariances counts as; the first ``given`` coordinates are
    context.
    """

    def __init__(self, folds: Sequence[Fold], given: int, shrinkage: float, starts: int = STARTS) -> None:
        self.folds, self.given, self.shrinkage, self.starts = folds, given, shrinkage, starts
        self.prior = float(folds[0].fitted.u.shape[1])
        self.fits: dict[int, list[Fit]] = {}

    def grow(self, most: int) -> int:
        """Double the components until a doubling surely loses, or two bought too little; the best number."""
        scores, size, dim = [self._mean(1)], 2, self.folds[0].held_out.shape[1] - self.given
        while size <= min(most, len(self.folds[0].fitted.u) // LEAST_ROWS):
            scores.append(self._mean(size))
            stalled = max(scores) < max(scores[:-2], default=-torch.inf) + LEAST_GAIN * dim
            if stalled or (size == 2 and scores[1] < scores[0] - LOSS_OF_TWO) or self._lost(size):
                break
            size *= 2
        best = int(2 ** max(range(len(scores)), key=scores.__getitem__))
        if best > 1:
            self._tune(best)
        return best

    def bag(self, size: int, most: int) -> tuple[NormalMixture, Tensor]:
        """The mean of all mixtures of this size and coarser ones, and its log-density (h,) of all rows held out.

        Coarser mixtures have the weights that fit the rows held out best; of the normal laws, which are alike, one is
        taken, and of the others as many as there is room for.
        """
        sizes = [1]
        while size > 1:
            sizes.append(size)
            size //= COARSER
        scores = torch.stack([self.score(size) for size in sizes])
        log_weights, room = stacked(scores), most - 1
        parts, weights = [self.fits[1][0].mixtures[0]], [log_weights[0]]
        for log_weight, size in zip(log_weights[1:], sizes[1:], strict=True):
            each = [mixture for fit in self.fits[size] for mixture in fit.mixtures][: room // size]
            parts += each
            weights += [log_weight - math.log(len(each))] * len(each)
            room -= size * len(each)
        return NormalMixture.mean_of(parts, weights), (scores + log_weights[:, None]).logsumexp(0)

    def score(self, size: int) -> Tensor:
        """The log-density (h,) of all rows held out, each under the mixtures of this size that have not seen it."""
        if size not in self.fits:
            self.fits[size] = [self._fit(size, fold) for fold in self.folds]
        return torch.cat([fit.score for fit in self.fits[size]])

    def _lost(self, size: int) -> bool:
        """Whether rows held out surely like the mixtures of half the size better."""
        loss = self.score(size // 2) - self.score(size)
        return float(loss.mean()) > SURE * float(loss.std()) / math.sqrt(len(loss))

    def _mean(self, size: int) -> float:
        return float(self.score(size).mean())

    def _fit(self, size: int, fold: Fold) -> Fit:
        mixtures = []
        for start in range(self.starts if size > 1 else 1):
            generator = torch.Generator().manual_seed((fold.seed * STARTS + start) * 1_000_003 + size)
            sums = cells(fold.fitted, size, generator)
            mixtures.append(NormalMixture.of_sums(sums, self.prior, self.shrinkage))
        return self._climbed(mixtures, fold, STEPS if size > 1 else 0)

    def _climbed(self, mixtures: list[NormalMixture], fold: Fold, steps: int) -> Fit:
        """The mixtures after some more steps of expectation maximisation."""
        mixtures = [m.climbed(fold.fitted, self.prior, self.shrinkage, steps, STILL) for m in mixtures]
        scores = torch.stack([mixture.log_density(fold.held_out, self.given) for mixture in mixtures])
        return Fit(mixtures, scores.logsumexp(0) - math.log(len(mixtures)))

    def _tune(self, size: int) -> None:
        """Halve the prior as long as the rows held out gain by it, or double it.

        Where the prior is no more than the least, these are a few more steps with it: they pay as long.
        """
        for factor in (0.5, 2.0):
            start = self.prior
            while self._with_prior(max(LEAST_PRIOR, factor * self.prior), size) > STILL_GAIN:
                pass
            if self.prior != start:
                return

    def _with_prior(self, prior: float, size: int) -> float:
        """Climb a few steps with another prior, and back where the rows held out lose by it; what they gain."""
        before, fits, score = self.prior, self.fits[size], self._mean(size)
        self.prior = prior
        pairs = zip(fits, self.folds, strict=True)
        self.fits[size] = [self._climbed(fit.mixtures, fold, MORE_STEPS) for fit, fold in pairs]
        gain = self._mean(size) - score
        if gain <= 0:
            self.prior, self.fits[size] = before, fits
        return gain


def grown_mixture(rows: Rows, given: int, most: int, seed: int = 0) -> tuple[Tensor, Tensor, NormalMixture]:
    """Fit a mixture to rows and their context, with as many components as rows held out confirm.

    Parameters
    ----------
    rows
        N rows of D coordinates.
    given
        Number of context coordinates C, or 0 to leave them out. The mixture is that of context and coordinates
        together, in this order, and is judged by the density of the coordinates given the context.
    most
        The largest number of components in all.
    seed
        Decides the folds and the starts.

    Returns
    -------
    loc, scale
        Units (C + D,), float64.
    mixture
        In these units. Where nothing is confirmed: one standard normal component, in units of one.
    """
    samples = _samples(rows, given, seed)
    loc, scale, shrinkage = _units(samples[0])
    standard = torch.zeros_like(loc), torch.ones_like(loc), NormalMixture.standard(loc)
    if len(samples[0]) < FEWEST_ROWS:
        return standard
    folds = [_fold((u - loc) / scale, i) for i, u in enumerate(samples)]
    growth = Growth(folds, given, shrinkage)
    size = growth.grow(3 * most // (4 * min(STARTS * len(folds), max(1, most // FEW_COMPONENTS))))
    mixture, score = growth.bag(size, most)
    if size > 1 and not _surely(score - growth.score(1)):
        mixture, score = growth.bag(1, most)
    held_out = torch.cat([fold.held_out for fold in folds])[:, given:] * scale[given:] + loc[given:]
    plain = scale[given:].log().sum() - 0.5 * (held_out.square() + math.log(2 * math.pi)).sum(1)
    return (loc, scale, mixture) if _surely(score - plain) else standard


def held_out_scores(x: Tensor, context: Tensor | None) -> tuple[Tensor, Tensor]:
    """How well a mixture would do, from one fit: an eighth of the rows x (n, D), by index (h,), and their log-density.

    The log-density (h,) is that under a single mixture fitted to the other rows, as large as they confirm.
    """
    given = 0 if context is None else context.shape[1]
    u = (x if context is None else torch.cat([context, x], 1)).double()
    loc, scale, shrinkage = _units(u)
    growth = Growth([_fold((u - loc) / scale, 0)], given, shrinkage, starts=1)
    scores = growth.score(growth.grow(len(u)))
    return torch.arange(0, len(u), PARTS, device=u.device), scores - scale[given:].log().sum()


def _samples(rows: Rows, given: int, seed: int) -> list[Tensor]:
    """For every fold the rows (n, C + D) that it is made of, in an order of the seed."""
    folds, samples = FOLDS if rows.n <= FEW_ROWS else FOLDS // 2, []
    size = min(FIT_ROWS, max(FEW_ROWS, FIT_NUMBERS // (rows.dim + given) ** 2 * 2))
    for fold in range(folds if rows.n > size else 1):
        x, c = rows.sample(size, seed * folds + fold)
        u = (x if c is None or not given else torch.cat([c, x], 1)).double()
        samples.append(u[torch.randperm(len(u), generator=torch.Generator().manual_seed(seed)).to(u.device)])
    return samples if rows.n > size else samples * folds


def _fold(u: Tensor, index: int) -> Fold:
    held_out = torch.arange(len(u), device=u.device) % PARTS == index
    return Fold(Quadratic(u[~held_out]), u[held_out], index)


def _units(u: Tensor) -> tuple[Tensor, Tensor, float]:
    """Means and standard deviations (M,), 1 for a constant, and the shrinkage of the correlations."""
    rows = as_rows(u)
    frame = Frame.of(rows)
    moments, shrinkage = moments_and_shrinkage(rows, frame)
    scale = moments.about(moments.mean).diagonal().clamp(min=0).sqrt()
    scale = torch.where(frame.constant | (scale <= 1e-12), 1.0, scale * frame.half)
    return moments.mean * frame.half + frame.middle, scale, shrinkage


def _surely(gain: Tensor) -> bool:
    """Whether gains (h,) have a mean that is positive beyond its error; no row counts for more than so many nats."""
    gain = gain.clamp(max=MOST_OF_A_ROW)
    error = float(gain.std()) / math.sqrt(len(gain))
    return float(gain.mean()) > STANDARD_ERRORS * error
