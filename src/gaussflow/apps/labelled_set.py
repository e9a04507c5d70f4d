"""A labelled set drawn from a conditional model: equal counts of each class, as CSV or NPZ."""

from __future__ import annotations

import os
from collections.abc import Sequence
from pathlib import Path
from typing import Protocol

import torch
from torch import Tensor

from gaussflow._check import check_int
from gaussflow.apps._images import Images
from gaussflow.apps._labelled_files import write_csv, write_npz
from gaussflow.models import PixelNoise, one_hot

__all__ = ["draw_labelled_set", "write_labelled_set"]


class Conditional(Protocol):
    """What a labelled set is drawn from: `ConditionalVAE` and a `Flow` with context are such models."""

    context_dim: int

    def sample(self, shape: int = ..., context: Tensor | None = ..., generator: torch.Generator | None = ...) -> Tensor:
        """Images as rows, (shape, classes, D), of one-hot context (classes, classes)."""


def draw_labelled_set(
    model: Conditional,
    per_class: int,
    *,
    classes: Sequence[str] | None = None,
    image_shape: tuple[int, int, int] | None = None,
    noise: bool = True,
    seed: int | None = None,
) -> Images:
    """Draw as many images of each class from a conditional model, in 256 grey values.

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
        For a model without classes, a wrong number of names, rows that are no image of that shape, and samples that
        hold a NaN.

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
    drawn = model.sample(per_class, one_hot(torch.arange(count), count), generator)
    law = getattr(model, "likelihood", None)
    if noise and isinstance(law, PixelNoise):
        drawn = law.draw(drawn, generator)
    x = drawn.float().transpose(0, 1).reshape(per_class * count, -1)
    if bool(x.isnan().any()):
        raise ValueError(f"{type(model).__name__} drew {int(x.isnan().any(1).sum())} images with a NaN; train it anew.")
    x = (255 * x.clamp(0, 1)).round() / 255
    labels = torch.arange(count).repeat_interleave(per_class)
    return Images(x, labels, _shape(model, x.shape[1], image_shape), names)


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
