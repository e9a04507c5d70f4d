"""A set of labelled images as rows, and the checks that turn arrays of the usual layouts into one."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor

from gaussflow._check import check_int
from gaussflow.models import one_hot
from gaussflow.rows import Rows, as_rows

Size = int | tuple[int, int] | None
CHANNELS = (1, 3)  # grey and colour
LUMA = torch.tensor([0.299, 0.587, 0.114])  # ITU-R BT.601, as Pillow has it


@dataclass(frozen=True)
class Images:
    """Images as rows, with a label each where they have classes.

    Attributes
    ----------
    x
        Pixels in [0, 1], channel first within a row, float32, shape (N, D).
    labels
        The class of each image, a place in ``classes``, int64, shape (N,); None without classes.
    image_shape
        Channels, height and width (C, H, W) with D = C H W.
    classes
        Names of the classes; empty without.

    Examples
    --------
    >>> import numpy as np
    >>> from gaussflow.apps.images import read_images
    >>> images = read_images(np.zeros((5, 28, 28), np.uint8), labels=[0, 1, 0, 1, 0])
    >>> images.x.shape, images.image_shape, images.classes, images.counts
    (torch.Size([5, 784]), (1, 28, 28), ('0', '1'), (3, 2))
    """

    x: Tensor
    labels: Tensor | None
    image_shape: tuple[int, int, int]
    classes: tuple[str, ...] = ()

    def __len__(self) -> int:
        return len(self.x)

    @property
    def counts(self) -> tuple[int, ...]:
        """Number of images in each class."""
        return () if self.labels is None else tuple(self.labels.bincount(minlength=len(self.classes)).tolist())

    @property
    def known_labels(self) -> Tensor:
        """The labels, shape (N,); ValueError for images without."""
        if self.labels is None:
            raise ValueError("These images have no labels; read them with labels, or from a folder for each class.")
        return self.labels

    def rows(self) -> Rows:
        """What `train` takes: the rows, with their labels one-hot for context."""
        return as_rows(self.x, None if self.labels is None else one_hot(self.labels, len(self.classes)))

    def take(self, index: Tensor | slice) -> Images:
        """The images of these places."""
        labels = None if self.labels is None else self.labels[index]
        return Images(self.x[index], labels, self.image_shape, self.classes)

    def bytes(self) -> np.ndarray[Any, np.dtype[np.uint8]]:
        """Pixels from 0 to 255: (N, H, W), or (N, H, W, C) in colour."""
        pixels = (255 * self.x).round().to(torch.uint8).reshape(len(self.x), *self.image_shape).cpu().numpy()
        return pixels[:, 0] if self.image_shape[0] == 1 else pixels.transpose(0, 2, 3, 1)


class Shaping(NamedTuple):
    """What is done to every image on its way in; `read_images` describes each."""

    size: Size = None
    crop: int | None = None
    colour: bool | None = None


def from_array(array: object, labels: object, classes: Sequence[str] | None, shaping: Shaping) -> Images:
    """Images from an array or tensor (N, H, W), (N, H, W, C) or (N, C, H, W)."""
    pixels = shaped(unit(channel_first(as_tensor(array))), shaping)
    places, names = classes_of(labels, classes, len(pixels))
    channels, height, width = pixels.shape[1:]
    return Images(pixels.flatten(1).contiguous(), places, (channels, height, width), names)


def as_tensor(array: object) -> Tensor:
    """A tensor of an array of numbers."""
    if isinstance(array, Tensor):
        return array.detach().cpu()
    found = np.asarray(array)
    if found.dtype.kind not in "buif":
        raise TypeError(f"read_images wants numbers for pixels; got an array of {found.dtype}.")
    return torch.from_numpy(np.ascontiguousarray(found if found.dtype != np.uint16 else found.astype(np.int64)))


def channel_first(pixels: Tensor) -> Tensor:
    """Images (N, C, H, W), whichever way round they came."""
    shape = tuple(pixels.shape)
    if pixels.dim() == 3:
        pixels = pixels[:, None]
    elif pixels.dim() == 4 and shape[1] in CHANNELS and shape[3] in CHANNELS and shape[1:] != (1, 1, 1):
        raise ValueError(
            f"read_images cannot tell which axis of {shape} holds the channels; permute the images to (N, C, H, W) "
            "with sides other than 1 and 3."
        )
    elif pixels.dim() == 4 and shape[3] in CHANNELS:
        pixels = pixels.permute(0, 3, 1, 2)
    elif pixels.dim() != 4 or shape[1] not in CHANNELS:
        raise ValueError(
            f"read_images wants images of shape (N, H, W), (N, H, W, C) or (N, C, H, W) with 1 or 3 channels; "
            f"got {shape}. Reshape rows to images first."
        )
    if not pixels.numel():
        raise ValueError(f"read_images wants at least one image with pixels; got shape {shape}.")
    return pixels


def unit(pixels: Tensor) -> Tensor:
    """Pixels in [0, 1] as float32: integers are 0 to 255, truth values 0 and 1, floats in [0, 1] already."""
    if pixels.dtype == torch.bool:
        return pixels.float()
    whole = not pixels.is_floating_point()
    if not whole and not bool(torch.isfinite(pixels).all()):
        first = int((~torch.isfinite(pixels)).flatten(1).any(1).nonzero()[0])
        raise ValueError(f"read_images wants finite pixels; got a NaN or an infinity, the first in image {first}.")
    low, high = (float(end) for end in pixels.aminmax())
    if low < 0 or high > (255 if whole else 1):
        wanted = "integers from 0 to 255" if whole else "floats in [0, 1]"
        raise ValueError(
            f"read_images wants {wanted} for pixels; got {pixels.dtype} from {low:.6g} to {high:.6g}. Scale them "
            "first: divide bytes that are floats by 255."
        )
    return pixels.float() / 255 if whole else pixels.float()


def shaped(pixels: Tensor, shaping: Shaping) -> Tensor:
    """Made grey or coloured, cut to the middle square, resized with antialiasing; None leaves out a step."""
    size, crop, colour = shaping
    if colour is False and pixels.shape[1] == 3:
        pixels = (pixels * LUMA.reshape(3, 1, 1)).sum(1, keepdim=True)
    elif colour and pixels.shape[1] == 1:
        pixels = pixels.expand(-1, 3, -1, -1)
    height, width = pixels.shape[2:]
    if crop is not None:
        check_int("read_images", "crop", crop, 1)
        if crop > min(height, width):
            raise ValueError(f"read_images wants crop of at most the shorter side, {min(height, width)}; got {crop}.")
        top, left = (height - crop) // 2, (width - crop) // 2
        pixels = pixels[:, :, top : top + crop, left : left + crop]
    if size is not None:
        sides = [check_int("read_images", "size", s, 1) for s in ((size, size) if isinstance(size, int) else size)]
        if len(sides) != 2:
            raise ValueError(f"read_images wants one side or (height, width) for size; got {size}.")
        if tuple(sides) != tuple(pixels.shape[2:]):
            blocks = [F.interpolate(p, sides, mode="bilinear", antialias=True) for p in pixels.split(512)]
            pixels = torch.cat(blocks).clamp(0, 1)
    return pixels


def classes_of(labels: object, classes: Sequence[str] | None, count: int) -> tuple[Tensor | None, tuple[str, ...]]:
    """Labels as places in the names of the classes. Without names, the distinct labels in their order are the names."""
    if labels is None:
        return None, ()
    found = np.asarray(labels.cpu() if isinstance(labels, Tensor) else labels)
    if found.shape != (count,):
        raise ValueError(f"read_images wants one label for each of {count} images; got shape {found.shape}.")
    if found.dtype.kind == "f" and bool((found == np.round(found)).all()):
        found = found.astype(np.int64)
    if found.dtype.kind not in "biuUS":
        raise ValueError("read_images wants integers or names for labels; got something else, or no whole numbers.")
    if classes is None:
        names, places = np.unique(found, return_inverse=True)
        return torch.from_numpy(places.astype(np.int64)), tuple(str(name) for name in names)
    if found.dtype.kind not in "biu" or int(found.min(initial=0)) < 0 or int(found.max(initial=0)) >= len(classes):
        raise ValueError(
            f"read_images wants labels from 0 to {len(classes) - 1}, places in classes; got {np.unique(found)[:10]}."
        )
    return torch.from_numpy(found.astype(np.int64)), tuple(map(str, classes))
