"""Real images at several resolutions: shrunk by averaging areas, and made continuous by uniform noise.

The grey levels of a shrunk image are means over areas, rounded to whole levels 0 ... K - 1; then U[0, 1) is added and
the sum divided by K, K = 256 (17 for scikit-learn's digits). Pixels lie in [0, 1), and the density is in nats per image
of such pixels; divided by their number, per pixel. Adding K's logarithm per pixel bounds the nats of the levels.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from benchmarks.data import Table
from benchmarks.synthetic import Array


@dataclass(frozen=True)
class Source:
    """Images of one kind.

    Attributes
    ----------
    read
        ``read(folder)``: grey levels (N, S, S) of images to train on and to test on; the latter None to split them off.
    levels
        Number of grey levels K.
    sides
        The sides they are shrunk to.
    """

    read: Callable[[Path | None], tuple[Array, Array | None]]
    levels: int
    sides: tuple[int, ...]
    needs_folder: bool = True


def _digits(_: Path | None) -> tuple[Array, None]:
    from sklearn.datasets import load_digits

    return load_digits().images, None


def _mnist(folder: Path | None) -> tuple[Array, Array]:
    with np.load(_file(folder, "mnist.npz"), allow_pickle=False) as held:
        return held["x_train"], held["x_test"]


def _omniglot(folder: Path | None) -> tuple[Array, None]:
    with np.load(_file(folder, "omniglot28_background.npz"), allow_pickle=False) as held:
        return held["x"], None


SOURCES = {
    "digits": Source(_digits, 17, (2, 4, 8), needs_folder=False),
    "mnist": Source(_mnist, 256, (4, 7, 8, 14, 16, 28)),
    "omniglot": Source(_omniglot, 256, (4, 7, 8, 14, 16, 28)),
}


def load(name: str, side: int, folder: Path | None = None, rows: int = 10**9) -> Table:
    """Images (N, side²) as rows: permuted, a tenth each to validate and to test where no test images are set apart.

    At most so many ``rows`` to train, a quarter as many to validate, and half as many to test. The permutation and the
    noise are the same at every call. Raises FileNotFoundError for images that want a folder.
    """
    source = SOURCES[name]
    train, test = source.read(folder)
    train = train[np.random.default_rng(0).permutation(len(train))]
    tenth = len(train) // 10
    if test is None:
        train, test = train[:-tenth], train[-tenth:]
    train, valid = train[:-tenth], train[-tenth:]
    kept = (train[:rows], valid[: max(1, rows // 4)], test[: max(1, rows // 2)])
    noise = np.random.default_rng(1)
    parts = [_continuous(shrink(x, side), source.levels, noise) for x in kept]
    return Table(f"{name}_{side}", parts[0], parts[1], parts[2])


def available(folder: Path | None) -> list[str]:
    """The kinds of images that there are: the built-in ones, and those whose file is in the folder."""
    files = {"mnist": "mnist.npz", "omniglot": "omniglot28_background.npz"}
    there = [name for name, file in files.items() if folder is not None and (folder / file).exists()]
    return [name for name, source in SOURCES.items() if not source.needs_folder or name in there]


def shrink(images: Array, side: int) -> Array:
    """Images (N, S, S) as (N, side, side): means over areas, which share the pixels that lie across their edges."""
    weights = _overlaps(images.shape[-1], side)
    return np.asarray(weights @ images.astype(np.float64) @ weights.T)


def _overlaps(before: int, after: int) -> Array:
    """The share of each area (after, before) that each pixel covers; rows sum to one."""
    if not 1 <= after <= before:
        raise ValueError(f"images of side {before} cannot be shrunk to {after}.")
    width = before / after
    start, pixel = np.arange(after)[:, None] * width, np.arange(before)[None]
    covered = np.minimum(start + width, pixel + 1) - np.maximum(start, pixel)
    return np.asarray(np.clip(covered, 0, None) / width)


def _continuous(images: Array, levels: int, noise: np.random.Generator) -> Array:
    x = np.round(images).reshape(len(images), -1)
    return np.asarray((x + noise.random(x.shape)) / levels)


def _file(folder: Path | None, name: str) -> Path:
    if folder is None:
        raise FileNotFoundError(f"wants --data FOLDER with {name} in it")
    return folder / name
