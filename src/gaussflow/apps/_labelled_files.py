"""Labelled sets as files: CSV with the label first, and NPZ."""

from __future__ import annotations

import io
import math
import zipfile
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch

from gaussflow._files import whole
from gaussflow.apps._images import Images, Shaping, from_array


def write_csv(images: Images, path: Path) -> None:
    """One line for each image: the label, then D pixels from 0 to 255, channel first; a header above."""
    pixels = (255 * images.x).round().to(torch.uint8).cpu().numpy()
    labels = _labels(images)
    with whole(path) as file:
        file.write(",".join(["label", *(f"pixel{i}" for i in range(pixels.shape[1]))]) + "\n")
        for label, row in zip(labels.tolist(), pixels, strict=True):
            file.write(f"{label}," + ",".join(map(str, row.tolist())) + "\n")


def write_npz(images: Images, path: Path) -> None:
    """Arrays ``images`` (N, H, W) or (N, H, W, C), ``labels`` (N,), ``classes``; the same set gives the same file."""
    arrays: dict[str, np.ndarray[Any, Any]] = {
        "images": images.bytes(),
        "labels": _labels(images),
        "classes": np.array(images.classes),
    }
    with whole(path, "wb") as file, zipfile.ZipFile(file, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, array in arrays.items():
            buffer = io.BytesIO()
            np.lib.format.write_array(buffer, array, allow_pickle=False)
            archive.writestr(zipfile.ZipInfo(f"{name}.npy"), buffer.getvalue(), zipfile.ZIP_DEFLATED)


def from_npz(path: Path, classes: Sequence[str] | None, shaping: Shaping) -> Images:
    """Read what `write_npz` wrote; ``labels`` and ``classes`` may be missing."""
    try:
        with np.load(path, allow_pickle=False) as archive:
            held = {name: archive[name] for name in archive.files if name in ("images", "labels", "classes")}
            names = archive.files
    except (zipfile.BadZipFile, ValueError, EOFError, KeyError) as error:
        raise ValueError(f"{path} is no NPZ file of numbers [{error}].") from error
    if "images" not in held:
        raise ValueError(f"{path} wants an array 'images'; it holds {', '.join(names[:10]) or 'nothing'}.")
    named = classes if classes is not None else held["classes"].tolist() if "classes" in held else None
    try:
        return from_array(held["images"], held.get("labels"), named, shaping)
    except (ValueError, TypeError) as error:
        raise ValueError(f"{path}: {error}") from error


def from_csv(path: Path, classes: Sequence[str] | None, shaping: Shaping, shape: tuple[int, int, int] | None) -> Images:
    """Read what `write_csv` wrote."""
    with open(path, encoding="utf-8-sig") as file:
        names = file.readline().strip().split(",")
        if len(names) < 2 or names[0].strip().lower() != "label":
            raise ValueError(f"{path} wants a header, label first and then the pixels; got {names[0][:40]!r}.")
        lines = [line for line in file if line.strip()]
        try:
            numbers = np.loadtxt(lines, delimiter=",", dtype=np.int64, ndmin=2) if lines else np.empty((0, 0))
        except ValueError as error:
            raise ValueError(f"{path} wants whole numbers, label first, in lines of one length [{error}].") from error
    if not numbers.size or numbers.shape[1] != len(names):
        raise ValueError(f"{path} wants lines of {len(names)} numbers below its header; got shape {numbers.shape}.")
    side = math.isqrt(len(names) - 1)
    shape = shape or (1, side, side)
    if math.prod(shape) != len(names) - 1:
        raise ValueError(f"{path} holds {len(names) - 1} pixels a line, no image of {shape}; give image_shape.")
    try:
        return from_array(numbers[:, 1:].reshape(-1, *shape), numbers[:, 0], classes, shaping)
    except ValueError as error:
        raise ValueError(f"{path}: {error}") from error


def _labels(images: Images) -> np.ndarray[tuple[int], np.dtype[np.int64]]:
    if images.labels is None:
        raise ValueError("a labelled set wants a label for each image; these have none.")
    labels: np.ndarray[tuple[int], np.dtype[np.int64]] = images.labels.cpu().numpy()
    return labels
