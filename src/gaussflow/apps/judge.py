"""Judging generated images beside real ones, with nothing downloaded: a judge trained on real images, and distances."""

from __future__ import annotations

import math
from dataclasses import asdict
from typing import Any, NamedTuple, Self

import torch
from torch import Tensor

from gaussflow._check import check_int
from gaussflow.apps._classifier import Classifier, train_classifier
from gaussflow.apps._closeness import frechet, nearest, neighbourhoods
from gaussflow.apps._images import Images
from gaussflow.apps._report import JudgeReport, Scores

__all__ = [
    "Judge",
    "JudgeReport",
    "Memorisation",
    "Neighbourhoods",
    "Scores",
    "classifier_score",
    "diversity",
    "frechet_distance",
    "judge_images",
    "memorisation",
    "neighbourhood_scores",
]

NEAR = 0.01  # share of new images that lie as near to the training images as what is called a near copy


class Judge:
    """A small convolutional classifier trained on real labelled images, whose features also measure distances.

    Parameters
    ----------
    seed
        Decides the weights at the start and the batches: the same seed gives the same judge.
    epochs
        How often training goes through the images; None for 320 steps, at least 12 epochs.
    progress
        Whether to show a progress bar.

    Attributes
    ----------
    classes, image_shape
        Those of the images it was fitted to.

    Raises
    ------
    ValueError
        Before `fit`; for images of another shape or of other classes, without labels, or of one class only.

    Examples
    --------
    >>> import torch
    >>> from gaussflow.apps.images import read_images
    >>> from gaussflow.apps.judge import Judge
    >>> images = read_images(torch.rand(64, 8, 8), labels=torch.arange(64) % 2)
    >>> judge = Judge(epochs=5).fit(images)
    >>> judge.predict(images).shape, judge.features(images).shape, len(judge.class_accuracy(images))
    (torch.Size([64]), torch.Size([64, 64]), 2)
    """

    def __init__(self, *, seed: int = 0, epochs: int | None = None, progress: bool = False) -> None:
        self.seed, self.progress = check_int("Judge", "seed", seed, 0), progress
        self.epochs = epochs if epochs is None else check_int("Judge", "epochs", epochs, 1)
        self.classes: tuple[str, ...] = ()
        self.image_shape: tuple[int, int, int] = (0, 0, 0)
        self._net: Classifier | None = None

    def fit(self, images: Images) -> Self:
        """Train on labelled images; returns the judge itself."""
        if images.labels is None or len(images.classes) < 2 or 0 in images.counts:
            raise ValueError("Judge wants labelled images of at least two classes, and some of each.")
        self.classes, self.image_shape = images.classes, images.image_shape
        self._net = train_classifier(images, self.seed, self.epochs, self.progress)
        return self

    def predict(self, images: Images) -> Tensor:
        """The most probable class of each image, shape (N,)."""
        return self._look(images)[1]

    def features(self, images: Images) -> Tensor:
        """The features of each image, shape (N, 64): what the last layer sees."""
        return self._look(images)[0]

    def class_accuracy(self, images: Images) -> tuple[float, ...]:
        """The share of the images of each class that it takes for that class; NaN for a class without images."""
        labels = self._labels(images)
        right = self.predict(images) == labels
        return tuple(float(right[labels == k].double().mean()) for k in range(len(self.classes)))

    def accuracy(self, images: Images) -> float:
        """The share of all images that it takes for what their labels say."""
        return float((self.predict(images) == self._labels(images)).double().mean())

    def _look(self, images: Images) -> tuple[Tensor, Tensor]:
        if self._net is None:
            raise ValueError("Judge wants to be fitted to real images first; call fit(images).")
        if images.image_shape != self.image_shape:
            raise ValueError(f"Judge was fitted to images of {self.image_shape}; got {images.image_shape}.")
        return self._net.look(images.x)

    def _labels(self, images: Images) -> Tensor:
        if images.labels is None or images.classes != self.classes:
            raise ValueError(f"Judge knows the classes {self.classes}; got images of {images.classes}.")
        return images.labels


class Neighbourhoods(NamedTuple):
    """What the k nearest neighbours of real and generated points say; `neighbourhood_scores` describes each.

    Attributes
    ----------
    precision, recall, density, coverage
        Shares, but for the density, whose expectation is 1 where both sets follow one law.
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


def classifier_score(
    train: Images, test: Images, *, seed: int = 0, epochs: int | None = None, progress: bool = False
) -> float:
    """The classification accuracy score: train a classifier on one set, test it on real images.

    A generated set is good when a classifier trained on it does as well as one trained on as many real images.

    Parameters
    ----------
    train
        Labelled images to train on, generated for instance.
    test
        Real labelled images.
    seed, epochs, progress
        Those of the classifier, a `Judge`.

    Returns
    -------
    accuracy
        The share of the test images that it gets right.

    Notes
    -----
    Source: Ravuri and Vinyals (2019).

    Examples
    --------
    >>> import torch
    >>> from gaussflow.apps.images import read_images
    >>> from gaussflow.apps.judge import classifier_score
    >>> labels = torch.arange(64) % 2
    >>> images = read_images(torch.rand(64, 8, 8) * 0.5 + 0.5 * labels[:, None, None], labels=labels)
    >>> classifier_score(images, images, epochs=30)
    1.0
    """
    return Judge(seed=seed, epochs=epochs, progress=progress).fit(train).accuracy(test)


def judge_images(
    generated: Images,
    train: Images,
    held_out: Images,
    *,
    judge: Judge | None = None,
    k: int = 5,
    seed: int = 0,
    epochs: int | None = None,
) -> JudgeReport:
    """Judge a generated set beside the real images that its model was trained on, both against held-out real images.

    Parameters
    ----------
    generated
        The generated images, with labels.
    train
        The real images that the model was trained on.
    held_out
        Real images that it has not seen.
    judge
        A `Judge` fitted to other real images, which is best; None fits one to ``train``.
    k
        Neighbours of `neighbourhood_scores`.
    seed, epochs
        Those of the classifiers trained here; the seed is that of random cuts too.

    Returns
    -------
    report
        A `JudgeReport`: printed it is a table; ``as_dict()`` has the numbers.

    Raises
    ------
    ValueError
        For images without labels, and for sets of different shapes or classes.

    Examples
    --------
    >>> import torch
    >>> from gaussflow.apps.images import read_images
    >>> from gaussflow.apps.judge import judge_images
    >>> real = [read_images(torch.rand(60, 8, 8), labels=torch.arange(60) % 2) for _ in range(3)]
    >>> report = judge_images(*real, epochs=5)
    >>> sorted(report.as_dict())
    ['classes', 'generated', 'judged_held_out', 'real']
    """
    judge = judge or Judge(seed=seed, epochs=epochs).fit(train)
    judged = judge.accuracy(held_out)
    scores = [_scores(judge, images, held_out, k, seed, epochs) for images in (generated, train)]
    memory = memorisation(generated.x, train.x, held_out.x, seed)
    scores[0] = Scores(**{**asdict(scores[0]), **memory._asdict()})
    return JudgeReport(scores[0], scores[1], judged, judge.classes)


def _scores(judge: Judge, images: Images, held_out: Images, k: int, seed: int, epochs: int | None) -> Scores:
    """What does not hang on the images trained on."""
    accuracy, score = judge.class_accuracy(images), classifier_score(images, held_out, seed=seed, epochs=epochs)
    points, real = judge.features(images), judge.features(held_out)
    spread = diversity(points, judge._labels(images), real, judge._labels(held_out))
    near: dict[str, Any] = neighbourhood_scores(real, points, k)._asdict()
    return Scores(
        count=len(images),
        judge_accuracy=judge.accuracy(images),
        class_accuracy=accuracy,
        classifier_score=score,
        **near,
        frechet=frechet_distance(real, points),
        diversity=spread,
    )


def _check_points(owner: str, a: Tensor, b: Tensor, more_than: int) -> None:
    """Raise ValueError unless both are (n, D) with one D, with more than so many rows, and finite."""
    if a.dim() != 2 or b.dim() != 2 or a.shape[1] != b.shape[1]:
        raise ValueError(f"{owner} wants points (n, D) and (m, D); got {tuple(a.shape)} and {tuple(b.shape)}.")
    if min(len(a), len(b)) <= more_than:
        raise ValueError(f"{owner} wants more than {more_than} points in each set; got {len(a)} and {len(b)}.")
    if not bool(torch.isfinite(a).all() and torch.isfinite(b).all()):
        raise ValueError(f"{owner} wants finite points; got a NaN or an infinity.")
