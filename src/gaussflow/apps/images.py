"""Images in: from a folder, a data set, arrays, NPZ or CSV, as rows with labels; and a picture of them out."""

from __future__ import annotations

import os
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from gaussflow._check import check_int
from gaussflow._files import whole
from gaussflow.apps._folder import decoded, from_folder
from gaussflow.apps._images import Images, Shaping, Size, channel_first, classes_of, from_array, shaped, unit
from gaussflow.apps._labelled_files import from_csv, from_npz
from gaussflow.apps._plots import new_figure

__all__ = ["Images", "grid_picture", "read_images"]


def read_images(
    source: object,
    size: Size = None,
    *,
    crop: int | None = None,
    colour: bool | None = None,
    labels: object = None,
    classes: Sequence[str] | None = None,
    image_shape: tuple[int, int, int] | None = None,
) -> Images:
    """Read images as rows with pixels in [0, 1].

    Parameters
    ----------
    source
        One of: a folder, whose subfolders are the classes (without subfolders the images have none); a ``.npz`` or
        ``.csv`` file as `write_labelled_set` writes; a data set in the manner of torchvision, that is anything with
        ``len`` and items (image, label), the image a tensor (C, H, W), an array or a Pillow image; a numpy array or a
        tensor (N, H, W), (N, H, W, C) or (N, C, H, W). Integers are read as 0 to 255, floats must lie in [0, 1].
    size
        Side, or (height, width), to resize to; None leaves the size, and then all images must have one.
    crop
        Side of the middle square to take before that; None for the whole image.
    colour
        True for three channels, False for grey; None leaves what is there, and takes a folder of both for colour.
    labels
        Of an array: one integer or name for each image, or None for images without classes.
    classes
        Names of the classes 0, 1, ...; None takes the names that the source has, or the distinct labels in order.
    image_shape
        Of a CSV file: (C, H, W); None for a square grey image.

    Returns
    -------
    images
        An `Images`: rows x (N, D), labels (N,) or None, image_shape (C, H, W) and the names of the classes.

    Raises
    ------
    ValueError
        For mixed sizes, a file that is no image (named), an empty folder, pixels that are NaN or out of range, labels
        that do not fit the images.
    TypeError
        For a source of another kind.
    ImportError
        When a folder is to be read and Pillow is not installed.
    OSError
        When a file cannot be read.

    Examples
    --------
    >>> import torch
    >>> from gaussflow.apps.images import read_images
    >>> images = read_images(torch.rand(6, 3, 40, 30), size=(20, 15), labels=[2, 2, 5, 5, 7, 7])
    >>> images.x.shape, images.image_shape, images.labels.tolist(), images.classes
    (torch.Size([6, 900]), (3, 20, 15), [0, 0, 1, 1, 2, 2], ('2', '5', '7'))
    """
    shaping = Shaping(size, crop, colour)
    if isinstance(source, (str, os.PathLike)):
        path = Path(source)
        if path.is_dir():
            return from_folder(path, classes, shaping)
        if path.suffix.lower() == ".npz":
            return from_npz(path, classes, shaping)
        if path.suffix.lower() == ".csv":
            return from_csv(path, classes, shaping, image_shape)
        if not path.exists():
            raise FileNotFoundError(2, "No such file or folder", str(path))
        raise ValueError(f"read_images wants a folder, a .npz or a .csv file; got {path}.")
    if isinstance(source, (Tensor, np.ndarray)):
        return from_array(source, labels, classes, shaping)
    if hasattr(source, "__len__") and hasattr(source, "__getitem__") and labels is None:
        return _from_dataset(source, classes, shaping)
    raise TypeError(
        f"read_images wants a folder, a file, a data set of pairs (image, label), or an array; got "
        f"{type(source).__name__}."
    )


def _from_dataset(source: Any, classes: Sequence[str] | None, shaping: Shaping) -> Images:
    """Images from anything with len and items (image, label)."""
    images: list[Tensor] = []
    labels: list[int] = []
    for i in range(len(source)):
        item = source[i]
        if not isinstance(item, (tuple, list)) or len(item) != 2:
            raise TypeError(f"read_images wants items (image, label) from a data set; got {type(item).__name__}.")
        image, label = item
        pixels = decoded(image) if hasattr(image, "convert") else torch.as_tensor(np.asarray(image))
        pixels = unit(channel_first(pixels[None] if pixels.dim() in (2, 3) else pixels))
        images.append(shaped(pixels, shaping)[0])
        labels.append(int(label))
    if not images:
        raise ValueError("read_images wants at least one image; the data set is empty.")
    if len(shapes := {tuple(image.shape) for image in images}) > 1:
        raise ValueError(f"read_images wants images of one size; got {sorted(shapes)[:3]} (C, H, W). Give a size.")
    names = classes if classes is not None else getattr(source, "classes", None)
    places, known = classes_of(np.array(labels), names, len(images))
    channels, height, width = images[0].shape
    return Images(torch.stack(images).flatten(1), places, (channels, height, width), known)


def grid_picture(
    images: Images | Sequence[Images],
    path: str | os.PathLike[str],
    *,
    columns: int = 12,
    titles: Sequence[str] = (),
) -> None:
    """Write a picture of images as PNG: one line of the grid for each class, whole or not at all.

    Parameters
    ----------
    images
        One `Images`, or several to set side by side, real beside generated for instance.
    path
        The file.
    columns
        Images drawn of each class.
    titles
        A title for each of several.

    Raises
    ------
    ImportError
        When matplotlib is not installed.
    FileNotFoundError
        When the folder is not there.

    Examples
    --------
    >>> from pathlib import Path
    >>> from tempfile import TemporaryDirectory
    >>> import torch
    >>> from gaussflow.apps.images import grid_picture, read_images
    >>> images = read_images(torch.rand(9, 28, 28), labels=[0, 0, 0, 1, 1, 1, 2, 2, 2])
    >>> with TemporaryDirectory() as folder:
    ...     grid_picture(images, f"{folder}/grid.png", columns=3)
    ...     Path(folder, "grid.png").read_bytes()[1:4]
    b'PNG'
    """
    check_int("grid_picture", "columns", columns, 1)
    sets = [images] if isinstance(images, Images) else list(images)
    grids = [_grid(each, columns) for each in sets]
    height, width = max(grid.shape[0] for grid in grids), sum(grid.shape[1] for grid in grids)
    figure = new_figure(max(2.0, width / 50 + 1), max(1.0, height / 50 + 0.5))
    for k, (each, grid) in enumerate(zip(sets, grids, strict=True)):
        axis = figure.add_subplot(1, len(sets), k + 1)
        axis.imshow(grid.squeeze(-1).numpy(), cmap="gray", vmin=0, vmax=1, interpolation="nearest")
        side = each.image_shape[1]
        names = each.classes if k == 0 else ()
        axis.set_yticks([side / 2 + i * (side + 1) for i in range(len(names))], names)
        axis.set_xticks([])
        axis.tick_params(length=0)
        axis.spines[:].set_visible(False)
        axis.set_title(titles[k] if k < len(titles) else "", fontsize="medium")
    with whole(path, "wb") as file:
        figure.savefig(file, format="png", dpi=100)


def _grid(images: Images, columns: int) -> Tensor:
    """The pixels (height, width, C) of a grid with a line for each class, or as many lines as are needed."""
    channels, height, width = images.image_shape
    if images.labels is None:
        lines = list(images.x[: 10 * columns].split(columns))
    else:
        lines = [images.x[images.labels == k][:columns] for k in range(len(images.classes))]
    grid = torch.ones(len(lines) * (height + 1) - 1, columns * (width + 1) - 1, channels)
    for i, line in enumerate(lines):
        for j, image in enumerate(line.reshape(-1, channels, height, width)):
            top, left = i * (height + 1), j * (width + 1)
            grid[top : top + height, left : left + width] = image.permute(1, 2, 0)
    return grid
