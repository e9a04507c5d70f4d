"""Measures of two sets of points: neighbourhoods, moments, copies, spread."""

from __future__ import annotations

import math
from typing import NamedTuple

import torch
from torch import Tensor

from gaussflow._check import check_int
from gaussflow.apps._closeness import frechet, nearest, neighbourhoods

NEAR = 0.01  # share of new images that lie as near to the training images as what is called a near copy


class Neighbourhoods(NamedTuple):
    """What the k nearest neighbours of real and generated points say; `neighbourhood_scores` describes each.

    Attributes
    ----------
    precision, recall, density, coverage
        Shares, but for the density, whose expectation is 1 where both sets follow one law.

    Examples
    --------
    >>> from gaussflow.apps.judge import Neighbourhoods
    >>> Neighbourhoods(precision=1.0, recall=0.5, density=1.0, coverage=0.9).coverage
    0.9
    """

    precision: float
    recall: float
    density: float
    coverage: float


class Memorisation(NamedTuple):
    """How near generated images lie to those trained on; `memorisation` describes each.

    Attributes
    ----------
    nearer, copies, near_copies
        Shares of the generated images: 0.5, 0 and 0.01 where nothing is memorised.

    Examples
    --------
    >>> from gaussflow.apps.judge import Memorisation
    >>> Memorisation(nearer=0.5, copies=0.0, near_copies=0.01).nearer
    0.5
    """

    nearer: float
    copies: float
    near_copies: float


def neighbourhood_scores(real: Tensor, generated: Tensor, k: int = 5) -> Neighbourhoods:
    """Precision, recall, density and coverage of generated points beside real ones.

    The neighbourhood of a point is the ball that reaches to its k-th neighbour in its own set. Precision is the share
    of generated points in the neighbourhood of a real one, recall the reverse; density counts in how many, divided by
    k; coverage is the share of real neighbourhoods with a generated point in them, which outliers do not widen.

    Parameters
    ----------
    real, generated
        Points, features of a `Judge` for instance, shapes (n, D) and (m, D).
    k
        Neighbours; both sets must have more points.

    Returns
    -------
    scores
        A `Neighbourhoods`.

    Raises
    ------
    ValueError
        For sets of k points or fewer, of two dimensions, or with a NaN.

    Notes
    -----
    Sources: Kynkäänniemi et al. (2019); Naeem et al. (2020). With k = 5 and as many real as generated points of one
    law, coverage is about 1 - 1/2^k = 0.97.

    Examples
    --------
    >>> import torch
    >>> from gaussflow.apps.judge import neighbourhood_scores
    >>> x = torch.randn(200, 4)
    >>> neighbourhood_scores(x, x).coverage, neighbourhood_scores(x, x + 100).coverage
    (1.0, 0.0)
    """
    _check_points("neighbourhood_scores", real, generated, check_int("neighbourhood_scores", "k", k, 1))
    return Neighbourhoods(*neighbourhoods(real.double(), generated.double(), k))


def frechet_distance(real: Tensor, generated: Tensor) -> float:
    r"""The Fréchet distance between the Gaussians with the moments of two sets of points.

    .. math:: \|\mu_a - \mu_b\|^2 + \operatorname{tr}\bigl(\Sigma_a + \Sigma_b
              - 2 (\Sigma_a^{1/2} \Sigma_b \Sigma_a^{1/2})^{1/2}\bigr)

    In the squared unit of the points; in the features of one judge it compares sets with each other, and says nothing
    beside a figure from another judge.

    Parameters
    ----------
    real, generated
        Points, shapes (n, D) and (m, D), at least two each.

    Returns
    -------
    distance
        At least 0. A small set is farther from its own law than a large one: compare sets of one size.

    Raises
    ------
    ValueError
        For sets of fewer than two points, of two dimensions, or with a NaN.

    Notes
    -----
    Sources: Dowson and Landau (1982); Heusel et al. (2017).

    Examples
    --------
    >>> import torch
    >>> from gaussflow.apps.judge import frechet_distance
    >>> x = torch.randn(200, 4)
    >>> round(frechet_distance(x, x + 1), 6)
    4.0
    """
    _check_points("frechet_distance", real, generated, 1)
    return frechet(real, generated)


def memorisation(generated: Tensor, train: Tensor, held_out: Tensor, seed: int = 0) -> Memorisation:
    """Whether generated points keep nearer to those trained on than new points of the same law do.

    ``nearer`` is the share nearer to a training point than to any held-out point, ties counted by half, the larger of
    the two sets cut to the size of the smaller at random. ``copies`` is the share equal to a training point.
    ``near_copies`` is the share nearer to a training point than all but 1 % of the held-out points are.

    Parameters
    ----------
    generated, train, held_out
        Images as rows, shapes (n, D), (m, D) and (l, D).
    seed
        Decides the cut.

    Returns
    -------
    shares
        A `Memorisation`; without any memory 0.5, 0 and 0.01.

    Raises
    ------
    ValueError
        For a set without points, sets of two dimensions, or a NaN.

    Examples
    --------
    >>> import torch
    >>> from gaussflow.apps.judge import memorisation
    >>> train, held_out = torch.randn(100, 4), torch.randn(100, 4)
    >>> memorisation(train, train, held_out)
    Memorisation(nearer=1.0, copies=1.0, near_copies=1.0)
    """
    for other in (train, held_out):
        _check_points("memorisation", generated, other, 0)
    size, generator = min(len(train), len(held_out)), torch.Generator().manual_seed(seed)
    seen, unseen = (part[torch.randperm(len(part), generator=generator)[:size]] for part in (train, held_out))
    to_seen, to_unseen = nearest(generated, seen), nearest(generated, unseen)
    closest, usual = nearest(generated, train), nearest(held_out, train)
    nearer = (to_seen < to_unseen).double() + 0.5 * (to_seen == to_unseen)
    near = closest < usual.quantile(NEAR)
    shares = (nearer, closest == 0, near | (closest == 0))
    return Memorisation(*(float(share.double().mean()) for share in shares))


def diversity(points: Tensor, labels: Tensor, beside: Tensor, labels_beside: Tensor) -> tuple[float, ...]:
    r"""How widely each class is spread beside another set: :math:`\sqrt{\operatorname{tr} \Sigma_k / \operatorname{tr}
    \Sigma'_k}`, the ratio of root mean square distances within the class.

    Parameters
    ----------
    points, beside
        Points, shapes (n, D) and (m, D).
    labels, labels_beside
        Their classes 0, 1, ..., shapes (n,) and (m,).

    Returns
    -------
    ratios
        One for each class of ``labels_beside``: 1 for as widely, 0 for one image over and over; NaN for a class with
        fewer than two points in either set.

    Examples
    --------
    >>> import torch
    >>> from gaussflow.apps.judge import diversity
    >>> x, labels = torch.randn(100, 4), torch.arange(100) % 2
    >>> [round(ratio, 6) for ratio in diversity(x / 2, labels, x, labels)]
    [0.5, 0.5]
    """
    _check_points("diversity", beside, points, 0)
    ratios = []
    for k in range(int(labels_beside.max()) + 1):
        own, other = points[labels == k].double(), beside[labels_beside == k].double()
        few = len(own) < 2 or len(other) < 2
        ratios.append(math.nan if few else math.sqrt(float(own.var(0).sum() / other.var(0).sum())))
    return tuple(ratios)


def _check_points(owner: str, a: Tensor, b: Tensor, more_than: int) -> None:
    """Raise ValueError unless both are (n, D) with one D, with more than so many rows, and finite."""
    if a.dim() != 2 or b.dim() != 2 or a.shape[1] != b.shape[1]:
        raise ValueError(f"{owner} wants points (n, D) and (m, D); got {tuple(a.shape)} and {tuple(b.shape)}.")
    if min(len(a), len(b)) <= more_than:
        raise ValueError(f"{owner} wants more than {more_than} points in each set; got {len(a)} and {len(b)}.")
    if not bool(torch.isfinite(a).all() and torch.isfinite(b).all()):
        raise ValueError(f"{owner} wants finite points; got a NaN or an infinity.")
