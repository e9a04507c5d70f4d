"""The kinds of blocks that a hybrid is made of, and which of them it begins with."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import TypeAlias

import torch
from torch import Tensor

from gaussflow.recipes._rotations import sliced_rotation
from gaussflow.rows import Rows, as_rows
from gaussflow.transforms._mixture_growth import held_out_scores
from gaussflow.transforms._subspaces import SEARCH_ROWS
from gaussflow.transforms.affine import Whiten
from gaussflow.transforms.axes import independent_subspaces
from gaussflow.transforms.base import Chain, Transform
from gaussflow.transforms.given import Given
from gaussflow.transforms.marginal_spline import MarginalSpline
from gaussflow.transforms.mixture_transport import MixtureTransport
from gaussflow.transforms.radial_spline import RadialSpline
from gaussflow.transforms.rotation import Rotation

MOST_KNOTS, FEWEST_KNOTS, ROWS_A_KNOT = 400, 48, 3
PROBED, FEWEST_PROBED = 2**11, 200  # rows that say what to begin with
MOST_OF_A_ROW = 50.0  # nats that one of them may say
WORTH, SURE = 0.005, 2.0  # nats a coordinate that another beginning has to buy, beyond so many standard errors
HOPELESS = 0.06  # nats a coordinate: what is worse by more on few rows is not tried on more of them
COMPONENTS, FEWEST_OF_A_GROUP = 2**12, 64  # of the mixtures of all groups together, and of each
FITTED = 2**17  # rows that what comes behind the turn to subspaces is fitted to
WIDEST, ROWS_AN_AXIS = 256, 30  # subspaces are looked for in so many coordinates at most, with so many rows for each

Fit: TypeAlias = Callable[[Rows, int], Transform]
"""Fits a block to rows; the integer is a seed."""


def marginals(rows: Rows, seed: int) -> Transform:
    """A spline for every coordinate, with as many knots as the rows can tell of."""
    knots = min(MOST_KNOTS, max(FEWEST_KNOTS, rows.n // ROWS_A_KNOT))
    return MarginalSpline(rows.dim, knots, dtype=rows.dtype, device=rows.device).fit(rows)


def mixture(rows: Rows, seed: int) -> Transform:
    """A bag of normal mixtures, with as many components as rows held out from them confirm."""
    return MixtureTransport.of(rows, seed=seed)


def turn(rows: Rows, seed: int) -> Transform:
    """White rows turned to directions far from normal, as far as other rows confirm them, and a spline for each."""
    rotation = sliced_rotation(rows.dim, torch.Generator().manual_seed(seed))
    block = Chain(Whiten(rows.dim), rotation, MarginalSpline(rows.dim, FEWEST_KNOTS))
    return block.to(dtype=rows.dtype, device=rows.device).fit(rows)


def radial(rows: Rows, seed: int) -> Transform:
    """White rows moved along the lines through their mean, by a spline of the distance."""
    whiten = Whiten(rows.dim, dtype=rows.dtype, device=rows.device).fit(rows)
    spline = RadialSpline(rows.dim, FEWEST_KNOTS, dtype=rows.dtype, device=rows.device)
    return Chain(whiten, spline.fit(rows.through(whiten)))


def subspaces(rows: Rows, seed: int) -> Transform:
    """White rows turned to groups of axes that are independent of one another, a mixture for each group, marginals."""
    turned, groups = turned_apart(rows, seed)
    parts, rows = [turned], as_rows(*rows.sample(FITTED, seed)).through(turned)
    for group in groups:
        if len(group) > 1:
            parts.append(_mixture_of(group, rows, max(FEWEST_OF_A_GROUP, COMPONENTS // len(groups)), seed))
            rows = rows.through(parts[-1])
    return Chain(*parts, marginals(rows, seed))


def turned_apart(rows: Rows, seed: int) -> tuple[Transform, list[list[int]]]:
    """White rows turned to axes, and the groups of these that are independent of one another."""
    whiten = Whiten(rows.dim, dtype=rows.dtype, device=rows.device).fit(rows)
    axes, groups = independent_subspaces(rows.through(whiten), seed=seed)
    return Chain(whiten, Rotation(rows.dim, axes, dtype=rows.dtype, device=rows.device)), groups


def first(rows: Rows, seed: int) -> dict[str, Fit]:
    """What to begin with: marginals, unless rows held out like mixtures better without, of all axes or of subspaces.

    Marginals nearly always pay, but what they bend is not found again: natural images are sums of normal laws of one
    shape and many sizes, and no longer so when every pixel has been made normal; and independent sources that were
    mixed by a matrix are no longer to be had by a matrix.
    """
    x, context = rows.sample(SEARCH_ROWS, seed)
    order = torch.randperm(len(x), generator=torch.Generator().manual_seed(seed)).to(x.device)
    x, context = x[order], None if context is None else context[order]
    if len(x) < FEWEST_PROBED:
        return {"marginals": marginals}
    scores = probed(x[:PROBED], None if context is None else context[:PROBED], seed)
    best = best_beginning(scores, rows.dim)
    unknown = "subspaces" not in scores and _enough(x, context)
    hopeful = [float(score.mean()) > -HOPELESS * rows.dim for kind, score in scores.items() if kind != "mixture"]
    if best == "marginals" and (unknown or any(hopeful)) and len(x) >= 2 * PROBED:
        best = best_beginning(probed(x, context, seed), rows.dim)
    return {best: BEGINNINGS[best]}


def best_beginning(scores: dict[str, Tensor], dim: int) -> str:
    """The kind of the first block that gains most (h,) over marginals, where one surely does."""
    sure = {kind: float(score.mean() - SURE * score.std() / len(score) ** 0.5) for kind, score in scores.items()}
    best = max(sure, key=sure.__getitem__)
    return best if sure[best] > WORTH * dim else "marginals"


@torch.no_grad()
def probed(x: Tensor, context: Tensor | None, seed: int) -> dict[str, Tensor]:
    """What rows held out (h,) gain where a mixture comes first, or subspaces, rather than marginals and then a mixture.

    All are fitted to the other rows of x (n, D).
    """
    z, ladj = marginals(as_rows(x, context), seed)(x)
    held_out, bent = held_out_scores(z, context)
    scores = {"mixture": held_out_scores(x, context)[1]}
    known = torch.ones(len(x), dtype=torch.bool, device=x.device).index_fill(0, held_out, False)
    if context is None:
        y, its_ladj = radial(as_rows(x[known]), seed)(x[held_out])
        scores["radial"] = its_ladj.double() - 0.5 * (y.double().square() + math.log(2 * math.pi)).sum(1)
    if _enough(x, context):
        turned, groups = turned_apart(as_rows(x[known]), seed)
        y, its_ladj = turned(x)
        parts = [held_out_scores(y[:, group], None)[1] for group in groups]
        scores["subspaces"] = torch.stack(parts).sum(0) + its_ladj[held_out].double()
    plain = bent + ladj[held_out].double()
    return {kind: (score - plain).clamp(-MOST_OF_A_ROW, MOST_OF_A_ROW) for kind, score in scores.items()}


BEGINNINGS: dict[str, Fit] = {"marginals": marginals, "mixture": mixture, "radial": radial, "subspaces": subspaces}
FURTHER: dict[str, Fit] = {"radial": radial, "turn": turn, "mixture": mixture}  # what is had sooner first


def _enough(x: Tensor, context: Tensor | None) -> bool:
    """Whether rows x (n, D) may tell of subspaces."""
    return context is None and x.shape[1] <= WIDEST and len(x) >= ROWS_AN_AXIS * x.shape[1]


def _mixture_of(group: list[int], rows: Rows, most: int, seed: int) -> Given:
    """The mixture of a group of coordinates."""
    x, _ = rows.sample(FITTED, seed)
    return Given(MixtureTransport.of(x[:, group], most=most, seed=seed), rows.dim, [group], [[]])
