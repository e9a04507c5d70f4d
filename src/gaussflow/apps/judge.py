"""Judging generated images beside real ones, with nothing downloaded: a judge trained on real images, and distances."""

from __future__ import annotations

from dataclasses import replace
from typing import Any, Self

import torch
from torch import Tensor

from gaussflow._check import check_int
from gaussflow.apps._classifier import Classifier, train_classifier
from gaussflow.apps._images import Images
from gaussflow.apps._measures import (
    Memorisation,
    Neighbourhoods,
    diversity,
    frechet_distance,
    memorisation,
    neighbourhood_scores,
)
from gaussflow.apps._report import JudgeReport, Scores
from gaussflow.training._settings import Augment

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


class Judge:
    """A small convolutional classifier trained on real labelled images, whose features also measure distances.

    Parameters
    ----------
    seed
        Decides the weights at the start and the batches: the same seed gives the same judge.
    epochs
        How often training goes through the images; None for 320 steps, twice as many with ``augment``, at least 12
        epochs.
    progress
        Whether to show a progress bar.
    augment
        As for `train`: an `AffineJitter` makes more of few images.

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

    def __init__(
        self, *, seed: int = 0, epochs: int | None = None, progress: bool = False, augment: Augment | None = None
    ) -> None:
        self.augment = augment
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
        self._net = train_classifier(images, self.seed, self.epochs, self.progress, self.augment)
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
            raise ValueError(
                f"Judge knows the classes {', '.join(self.classes)}; got images of {', '.join(images.classes)}. "
                "Give all sets the same classes, in the same order."
            )
        return images.labels


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

    Classifiers are trained on as many generated images as there are real ones, or on all of fewer. The other scores are
    of all images; precision, recall, density and coverage hang on the sizes of the sets, so draw as many as are held
    out.

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
    scores = []
    for images in (generated, train):
        score = classifier_score(_as_many(images, len(train), seed), held_out, seed=seed, epochs=epochs)
        scores.append(_scores(judge, images, held_out, k, score))
    memory: dict[str, Any] = memorisation(generated.x, train.x, held_out.x, seed)._asdict()
    return JudgeReport(replace(scores[0], **memory), scores[1], judge.accuracy(held_out), judge.classes)


def _as_many(images: Images, count: int, seed: int) -> Images:
    """So many of the images, or all of fewer, in random order."""
    return images.take(torch.randperm(len(images), generator=torch.Generator().manual_seed(seed))[:count])


def _scores(judge: Judge, images: Images, held_out: Images, k: int, score: float) -> Scores:
    """What does not hang on the images trained on."""
    points, real = judge.features(images), judge.features(held_out)
    near: dict[str, Any] = neighbourhood_scores(real, points, k)._asdict()
    return Scores(
        count=len(images),
        judge_accuracy=judge.accuracy(images),
        class_accuracy=judge.class_accuracy(images),
        classifier_score=score,
        **near,
        frechet=frechet_distance(real, points),
        diversity=diversity(points, judge._labels(images), real, judge._labels(held_out)),
    )
