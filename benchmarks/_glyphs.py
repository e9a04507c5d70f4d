"""Six signs of 28×28 pixels in three look-alike pairs, drawn by code: shifted, turned, scaled, thick or thin, noisy.

The two signs of a pair share a skeleton and differ in one detail: the tail of a ring, the lowest bar of a comb, the
bend of a cup. How far the detail is drawn out varies within a class, and a few signs in a hundred look like their
neighbour, so that no classifier reaches 1.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float64]

SIDE = 28
NAMES = ("ring", "tailed ring", "two bars", "three bars", "cup", "wedge")
DETAIL = (0.2, 0.8)  # mean detail of the first and of the second sign of a pair
SPREAD = 0.125  # its standard deviation: the two overlap in Φ(−0.3 / 0.125) = 0.8 % of the signs
SHIFT, TURN, STRETCH = 1.3, 0.13, 0.09  # pixels, radians, shares: standard deviations, but of ± STRETCH each way
THICKNESS = (1.3, 2.4)  # pixels
NOISE = 0.09  # standard deviation of the grey value of each pixel


def glyphs(n: int, seed: int = 0) -> tuple[NDArray[np.uint8], NDArray[np.int64]]:
    """Images (n, 28, 28) from 0 to 255 and labels (n,) from 0 to 5, as many of each class as n allows, in random order.

    Examples
    --------
    >>> images, labels = glyphs(12, seed=3)
    >>> images.shape, images.dtype.name, sorted(labels.tolist()) == sorted([0, 1, 2, 3, 4, 5] * 2)
    ((12, 28, 28), 'uint8', True)
    """
    rng = np.random.default_rng(seed)
    labels = rng.permutation(np.arange(n) % len(NAMES))
    detail = np.clip(rng.normal(np.take(DETAIL, labels % 2), SPREAD), 0, 1)
    images = np.empty((n, SIDE, SIDE), np.uint8)
    for pair in range(3):
        chosen = np.flatnonzero(labels // 2 == pair)
        ink = _draw(SKELETONS[pair](detail[chosen]), rng)
        noisy = ink * rng.uniform(0.85, 1, (len(chosen), 1)) + rng.normal(0, NOISE, ink.shape)
        images[chosen] = np.round(255 * np.clip(noisy, 0, 1)).reshape(-1, SIDE, SIDE)
    return images, labels


def _ring(detail: Floats) -> Floats:
    """A ring with a tail across its lower right side: points (n, 14, 2) of strokes, see `_draw`."""
    angle = np.linspace(0, 2 * np.pi, 13)
    ring = np.stack([0.62 * np.cos(angle), 0.78 * np.sin(angle)], -1)
    start, way = np.array([0.34, 0.42]), np.array([0.5, 0.5])
    tail = np.stack([np.broadcast_to(start, (len(detail), 2)), start + way * detail[:, None]], 1)
    return _strokes([np.broadcast_to(ring, (len(detail), *ring.shape)), tail])


def _comb(detail: Floats) -> Floats:
    """A stem with two bars to the right, and a third at the bottom."""
    n = len(detail)
    fixed = [[[-0.5, -0.8], [-0.5, 0.8]], [[-0.5, -0.75], [0.55, -0.75]], [[-0.5, 0.0], [0.4, 0.0]]]
    lowest = np.tile(np.array([[-0.5, 0.75], [-0.5, 0.75]]), (n, 1, 1))
    lowest[:, 1, 0] += 1.05 * detail
    return _strokes([*(np.broadcast_to(np.array(line), (n, 2, 2)) for line in fixed), lowest])


def _cup(detail: Floats) -> Floats:
    """Two arms that meet below: in a bow for detail 0, in a point for detail 1."""
    t = np.linspace(-1, 1, 13)
    round_, sharp = -0.75 + 1.5 * (1 - np.abs(t) ** 5), -0.75 + 1.5 * (1 - np.abs(t))
    y = round_ + detail[:, None] * (sharp - round_)
    return _strokes([np.stack([np.broadcast_to(0.62 * t, y.shape), y], -1)])


SKELETONS = (_ring, _comb, _cup)


def _strokes(lines: list[Floats]) -> Floats:
    """Segments (n, S, 2 ends, 2) of polylines (n, points, 2)."""
    return np.concatenate([np.stack([line[:, :-1], line[:, 1:]], 2) for line in lines], 1)


def _draw(segments: Floats, rng: np.random.Generator) -> Floats:
    """Ink (n, 784) in [0, 1] of segments (n, S, 2 ends, 2), each sign moved and drawn with a pen of its own."""
    n = len(segments)
    turn, slant = rng.normal(0, TURN, n), rng.normal(0, TURN, n)
    stretch = rng.uniform(1 - STRETCH, 1 + STRETCH, (2, n)) * (SIDE / 2 - 4)
    cos, sin = np.cos(turn), np.sin(turn)
    frame = np.stack([np.stack([cos, slant - sin], -1), np.stack([sin, cos], -1)], -2) * stretch.T[:, :, None]
    shift = (SIDE - 1) / 2 + rng.normal(0, SHIFT, (n, 2))
    placed = np.einsum("nij,nspj->nspi", frame, segments) + shift[:, None, None]
    pen = rng.uniform(*THICKNESS, n)
    y, x = np.divmod(np.arange(SIDE * SIDE), SIDE)
    return np.stack([_ink(one, np.stack([x, y], -1), width) for one, width in zip(placed, pen, strict=True)])


def _ink(segments: Floats, pixels: NDArray[np.int64], width: float) -> Floats:
    """Ink of one sign: 1 within half the width of a segment, falling to 0 over one pixel."""
    start, way = segments[:, None, 0], segments[:, None, 1] - segments[:, None, 0]
    along = ((pixels - start) * way).sum(-1) / np.maximum((way * way).sum(-1), 1e-9)
    nearest = start + np.clip(along, 0, 1)[..., None] * way
    distance = np.sqrt(((pixels - nearest) ** 2).sum(-1)).min(0)
    return np.clip(0.5 + width / 2 - distance, 0, 1)
