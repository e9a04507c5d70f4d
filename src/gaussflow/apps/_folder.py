"""Images from a folder: its subfolders are the classes, and whatever is no image is named."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from gaussflow.apps._images import Images, Shaping, shaped, unit
from gaussflow.apps._optional import need

GREY = ("1", "L")  # modes of Pillow; deeper grey is refused, since Pillow would cut it off at 255


def from_folder(folder: Path, classes: Sequence[str] | None, shaping: Shaping) -> Images:
    """Images of a folder; classes are the names of its subfolders, in order (numbers by size)."""
    opener = need("PIL.Image", "reading images from a folder")
    groups, names = _groups(folder, classes)
    images, places = [], []
    for place, files in enumerate(groups):
        for file in files:
            images.append((file, shaped(unit(_open(opener, file)[None]), shaping)[0]))
            places.append(place)
    if len({image.shape[0] for _, image in images}) > 1:
        images = [(file, image.expand(3, -1, -1)) for file, image in images]
    first, shape = images[0][0], tuple(images[0][1].shape)
    for file, image in images:
        if tuple(image.shape) != shape:
            raise ValueError(
                f"read_images wants images of one size; {first} is {shape[1]}x{shape[2]} and {file} is "
                f"{image.shape[1]}x{image.shape[2]} (height x width). Give a size to resize them to."
            )
    x = torch.stack([image for _, image in images]).flatten(1)
    channels, height, width = shape
    return Images(x, torch.tensor(places) if names else None, (channels, height, width), tuple(names))


def _groups(folder: Path, classes: Sequence[str] | None) -> tuple[list[list[Path]], list[str]]:
    """The files of each class, and the names of the classes."""
    folders, files = _inside(folder)
    if folders and files:
        raise ValueError(f"{folder} holds files beside its class folders, {files[0].name} for one; move them away.")
    if not folders and not files:
        raise ValueError(f"{folder} is empty; a folder of images, or of one folder for each class, is wanted.")
    if files:
        return [files], []
    found = [each.name for each in folders]
    if classes is not None and sorted(classes) != sorted(found):
        raise ValueError(f"{folder} holds the classes {', '.join(found[:10])}; wanted are {', '.join(classes)}.")
    names = list(classes) if classes is not None else sorted(found, key=_order)
    groups = []
    for name in names:
        deeper, inner = _inside(folder / name)
        if deeper or not inner:
            what = f"the folder {deeper[0].name}" if deeper else "no image"
            raise ValueError(f"{folder / name} holds {what}; a class folder holds images and nothing else.")
        groups.append(inner)
    return groups, names


def _inside(folder: Path) -> tuple[list[Path], list[Path]]:
    """Folders and files, in order; hidden ones and those that file managers leave behind are passed over."""
    entries = sorted(p for p in folder.iterdir() if not p.name.startswith(".") and p.name != "Thumbs.db")
    return [p for p in entries if p.is_dir()], [p for p in entries if not p.is_dir()]


def _order(name: str) -> tuple[int, int, str]:
    return (0, int(name), name) if name.isascii() and name.isdigit() else (1, 0, name)


def _open(opener: Any, file: Path) -> Tensor:
    try:
        with opener.open(file) as image:
            image.load()
            return decoded(image)
    except ValueError as error:
        raise ValueError(f"{file}: {error}") from error
    except (OSError, SyntaxError, EOFError) as error:  # what Pillow raises for files of all kinds
        raise ValueError(f"{file} is no image that can be read [{error}]; move it away or save it anew.") from error


def decoded(image: Any) -> Tensor:
    """A Pillow image as bytes (C, H, W), C being 1 or 3."""
    if image.mode in ("I", "F") or image.mode.startswith("I;"):
        raise ValueError(f"an image of mode {image.mode} has more than 8 bits a pixel; save it with 8.")
    if "A" in image.getbands() or "transparency" in image.info:
        image = image.convert("RGBA")
        if image.getextrema()[3][0] < 255:
            raise ValueError("an image with transparent pixels has no colour there; save it on a background.")
        image = image.convert("RGB")
    grey = image.mode in GREY
    pixels = np.array(image.convert("L" if grey else "RGB"))
    return torch.from_numpy(pixels[None] if grey else pixels.transpose(2, 0, 1).copy())
