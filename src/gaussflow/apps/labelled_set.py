"""A labelled set drawn from a conditional model: equal counts of each class, as CSV or NPZ."""

from __future__ import annotations

import os
from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Protocol

import torch
from torch import Tensor

from gaussflow._check import check_int
from gaussflow.apps._images import Images
from gaussflow.apps._labelled_files import write_csv, write_npz
from gaussflow.models import PixelNoise, one_hot

ROUNDS = 20  # how often an image is drawn anew

__all__ = ["draw_labelled_set", "write_labelled_set"]


class Conditional(Protocol):
    """What a labelled set is drawn from: `ConditionalVAE` and a `Flow` with context are such models."""

    context_dim: int

    def sample(self, shape: int = ..., context: Tensor | None = ..., generator: torch.Generator | None = ...) -> Tensor:
        """Images as rows, (shape, N, D), of one-hot context (N, classes)."""


class Classifies(Protocol):
    """What drawn images are checked by: a `Judge` is such a classifier."""

    def predict(self, images: Images) -> Tensor:
        """The most probable class of each image, shape (N,)."""


def draw_labelled_set(
    model: Conditional,
    per_class: int,
    *,
    classes: Sequence[str] | None = None,
    image_shape: tuple[int, int, int] | None = None,
    noise: bool = True,
    checked_by: Classifies | None = None,
    seed: int | None = None,
) -> Images:
    """Draw as many images of each class from a conditional model, in 256 grey values.

    Some of what is drawn does not look like its label. A classifier of the real images can find it: with ``checked_by``
    an image that it takes for another class is drawn anew. Labels are then right more often, and images near the border
    of two classes are rarer than they are among real ones.

    Parameters
    ----------
    model
        A `ConditionalVAE`, or another model with ``context_dim`` classes and ``sample(shape, context, generator)``.
    per_class
        Images of each class.
    classes
        Names of the classes; None for their numbers.
    image_shape
        (C, H, W) of a model without that attribute; None takes the model's own.
    noise
        Whether a model that has measured the noise of its pixels (`PixelNoise`) adds it; without, mean images.
    checked_by
        A `Judge` fitted to the images that the model learned from, or another object with ``predict(images)``; None
        keeps all that is drawn.
    seed
        The same seed gives the same images; None gives others each time.

    Returns
    -------
    images
        An `Images` of ``per_class`` times the number of classes, class after class. Its pixels are whole multiples of
        1/255; values that the model gives outside [0, 1] are moved to the nearer end.

    Raises
    ------
    TypeError, ValueError
        For a model without classes, a wrong number of names, rows that are no image of that shape, samples that
        hold a NaN, and when images of a class are taken for another twenty times in a row.

    Notes
    -----
    Source of the check: Razavi, van den Oord and Vinyals (2019), classifier-based rejection sampling.

    Examples
    --------
    >>> from gaussflow import conditional_vae_28
    >>> from gaussflow.apps.labelled_set import draw_labelled_set
    >>> images = draw_labelled_set(conditional_vae_28(6), 5, seed=1)
    >>> images.x.shape, images.counts, images.bytes().dtype.name
    (torch.Size([30, 784]), (5, 5, 5, 5, 5, 5), 'uint8')
    """
    check_int("draw_labelled_set", "per_class", per_class, 1)
    count = int(getattr(model, "context_dim", 0))
    if count < 1:
        raise TypeError(f"draw_labelled_set wants a model with context; {type(model).__name__} has none.")
    names = tuple(classes) if classes is not None else tuple(map(str, range(count)))
    if len(names) != count:
        raise ValueError(f"draw_labelled_set wants {count} names of classes; got {len(names)}.")
    generator = torch.Generator() if seed is None else torch.Generator().manual_seed(seed)
    if seed is None:
        generator.seed()
    labels = torch.arange(count).repeat_interleave(per_class)

    def draw(labels: Tensor) -> Images:
        x = _draw(model, one_hot(labels, count), noise, generator)
        return Images(x, labels, _shape(model, x.shape[1], image_shape), names)

    images = draw(labels)
    return images if checked_by is None else _drawn_anew(images, draw, checked_by)


def _draw(model: Conditional, context: Tensor, noise: bool, generator: torch.Generator) -> Tensor:
    """An image of whole grey values for each row of the context."""
    drawn = model.sample(1, context, generator)
    law = getattr(model, "likelihood", None)
    if noise and isinstance(law, PixelNoise):
        drawn = law.draw(drawn, generator)
    x = drawn.float()[0]
    if bool(x.isnan().any()):
        raise ValueError(f"{type(model).__name__} drew {int(x.isnan().any(1).sum())} images with a NaN; train it anew.")
    return (255 * x.clamp(0, 1)).round() / 255


def _drawn_anew(images: Images, draw: Callable[[Tensor], Images], checked_by: Classifies) -> Images:
    """The images, with those that the classifier takes for another class drawn anew until it does not."""
    x, labels = images.x, images.known_labels
    doubtful = _doubtful(images, checked_by)
    for _ in range(ROUNDS if len(doubtful) else 0):
        anew = draw(labels[doubtful])
        x[doubtful] = anew.x
        doubtful = doubtful[_doubtful(anew, checked_by)]
        if not len(doubtful):
            break
    if len(doubtful):
        names = ", ".join(images.classes[k] for k in labels[doubtful].unique().tolist())
        raise ValueError(
            f"draw_labelled_set drew {len(doubtful)} images of {names} {ROUNDS + 1} times, and the classifier took "
            "them for another class each time; train the model for longer, or draw without checked_by."
        )
    return replace(images, x=x)


def _doubtful(images: Images, checked_by: Classifies) -> Tensor:
    """Places of the images that are taken for another class than theirs."""
    labels = images.known_labels
    return torch.ne(checked_by.predict(images).to(labels), labels).nonzero()[:, 0]


def write_labelled_set(images: Images, path: str | os.PathLike[str]) -> None:
    """Write a labelled set, whole or not at all: a ``.csv`` or a ``.npz`` file.

    CSV has a header and one line for each image: the label, then the D pixels from 0 to 255, channel first; for 28x28
    that is 785 columns. NPZ has the arrays ``images`` (N, H, W) or (N, H, W, C), bytes, ``labels`` (N,), integers, and
    ``classes``, the names. `read_images` reads both.

    Parameters
    ----------
    images
        The images, with labels.
    path
        The file.

    Raises
    ------
    ValueError
        For images without labels, and for another suffix.
    FileNotFoundError
        When the folder is not there.

    Examples
    --------
    >>> from pathlib import Path
    >>> from tempfile import TemporaryDirectory
    >>> import torch
    >>> from gaussflow.apps.images import read_images
    >>> from gaussflow.apps.labelled_set import write_labelled_set
    >>> images = read_images(torch.rand(4, 28, 28), labels=[0, 0, 1, 1])
    >>> with TemporaryDirectory() as folder:
    ...     write_labelled_set(images, f"{folder}/set.csv")
    ...     line = Path(folder, "set.csv").read_text().splitlines()[1]
    >>> len(line.split(","))
    785
    """
    target = Path(path)
    writer = {".csv": write_csv, ".npz": write_npz}.get(target.suffix.lower())
    if writer is None:
        raise ValueError(f"write_labelled_set writes .csv and .npz files; got {target.name}.")
    writer(images, target)


def _shape(model: object, dim: int, given: tuple[int, int, int] | None) -> tuple[int, int, int]:
    """The image shape of rows of that length."""
    shape = tuple(given if given is not None else getattr(model, "image_shape", ()))
    if len(shape) != 3 or shape[0] * shape[1] * shape[2] != dim:
        raise ValueError(f"draw_labelled_set wants an image_shape (C, H, W) for rows of {dim} pixels; got {shape}.")
    return (shape[0], shape[1], shape[2])
