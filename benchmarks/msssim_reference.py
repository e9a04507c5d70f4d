"""MS-SSIM in float64, step by step from the paper, and the pairs of images that programs are compared on.

Slow and plain on purpose: every window is centred before it is squared, and nothing is shared with the package.
Where a mean contrast is negative its power is taken for zero, which is what programs that give a number there give.
"""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray
from scipy.ndimage import gaussian_filter

Array = NDArray[np.float64]
WEIGHTS = (0.0448, 0.2856, 0.3001, 0.2363, 0.1333)


class Pair(NamedTuple):
    """Two images (N, C, H, W) and the width of what they can be."""

    x: Array
    y: Array
    data_range: float


def window_weights(window: int, sigma: float) -> Array:
    """The Gaussian weights (window, window) of a window, which sum to one."""
    places = np.arange(window) - (window - 1) / 2
    weights = np.exp(-(places[:, None] ** 2 + places**2) / (2 * sigma**2))
    return weights / weights.sum()


def local_terms(x: Array, y: Array, data_range: float, window: int = 11, sigma: float = 1.5) -> tuple[Array, Array]:
    """Luminance and contrast-structure of every whole window of x and y (..., H, W)."""
    weights = window_weights(window, sigma)
    rows, columns = x.shape[-2] - window + 1, x.shape[-1] - window + 1
    spots = [(w, slice(i, i + rows), slice(j, j + columns)) for (i, j), w in np.ndenumerate(weights)]
    mx = sum(w * x[..., a, b] for w, a, b in spots)
    my = sum(w * y[..., a, b] for w, a, b in spots)
    vx = sum(w * (x[..., a, b] - mx) ** 2 for w, a, b in spots)
    vy = sum(w * (y[..., a, b] - my) ** 2 for w, a, b in spots)
    vxy = sum(w * (x[..., a, b] - mx) * (y[..., a, b] - my) for w, a, b in spots)
    c1, c2 = (0.01 * data_range) ** 2, (0.03 * data_range) ** 2
    return (2 * mx * my + c1) / (mx**2 + my**2 + c1), (2 * vxy + c2) / (vx + vy + c2)


def halve(x: Array) -> Array:
    """The 2 x 2 mean filter with symmetric extension, then every other pixel, as in the authors' program."""
    wide = np.pad(x, [(0, 0)] * (x.ndim - 2) + [(0, 1), (0, 1)], mode="symmetric")
    means = (wide[..., :-1, :-1] + wide[..., 1:, :-1] + wide[..., :-1, 1:] + wide[..., 1:, 1:]) / 4
    return means[..., ::2, ::2]


def mean_terms(x: Array, y: Array, data_range: float, levels: int = 5, window: int = 11, sigma: float = 1.5) -> Array:
    """The means that the index multiplies, (N, C, levels): cs, and at the coarsest scale luminance times cs."""
    found = []
    for level in range(levels):
        light, cs = local_terms(x, y, data_range, window, sigma)
        found.append((cs if level < levels - 1 else light * cs).mean((-2, -1)))
        x, y = halve(x), halve(y)
    return np.stack(found, -1)


def ms_ssim(x: Any, y: Any, data_range: float, weights: Any = WEIGHTS, window: int = 11, sigma: float = 1.5) -> Array:
    """The index of each image (N,): channels apart, then averaged."""
    x, y = np.asarray(x, np.float64), np.asarray(y, np.float64)
    means = mean_terms(x, y, data_range, len(weights), window, sigma)
    return (np.maximum(means, 0) ** np.asarray(weights)).prod(-1).mean(-1)


def ssim(x: Any, y: Any, data_range: float, window: int = 11, sigma: float = 1.5) -> Array:
    """The index of one scale of each image (N,)."""
    x, y = np.asarray(x, np.float64), np.asarray(y, np.float64)
    light, cs = local_terms(x, y, data_range, window, sigma)
    return (light * cs).mean((-3, -2, -1))


def pairs(height: int, width: int, channels: int = 1, seed: int = 0) -> dict[str, Pair]:
    """Pairs of single images (1, C, H, W) of every kind that programs have been seen to differ on."""
    rng = np.random.default_rng(seed)
    shape = (1, channels, height, width)
    texture = np.clip(_scene(rng, shape) + 0.1 * (rng.random(shape) - 0.5), 0, 1)
    sign = (_scene(rng, shape) > 0.5).astype(np.float64)
    noise = rng.standard_normal(shape)
    flat = np.ones(shape)
    return {
        "identical": Pair(texture, texture.copy(), 1),
        "noise": Pair(texture, texture + 0.1 * noise, 1),
        "faint noise": Pair(texture, texture + 1e-4 * noise, 1),
        "blur": Pair(texture, _smooth(texture, 2), 1),
        "contrast": Pair(texture, 0.5 * texture + 0.25, 1),
        "shift": Pair(texture, texture + 0.2, 1),
        "translation": Pair(texture, np.roll(texture, 1, -1), 1),
        "unrelated": Pair(texture, np.clip(_scene(rng, shape), 0, 1), 1),
        "unrelated noise": Pair(rng.random(shape), rng.random(shape), 1),
        "inverted": Pair(texture, 1 - texture, 1),
        "constants": Pair(0.3 * flat, 0.7 * flat, 1),
        "0 against 1": Pair(0 * flat, flat, 1),
        "flat against texture": Pair(0.5 * flat, texture, 1),
        "bright, low variance": Pair(0.95 + 0.005 * texture, 0.95 + 0.005 * rng.random(shape), 1),
        "0 to 255": Pair(np.round(255 * texture), np.round(np.clip(255 * (texture + 0.1 * noise), 0, 255)), 255),
        "-1 to 1": Pair(2 * texture - 1, _smooth(2 * texture - 1, 1), 2),
        "opposite signs": Pair(2 * texture, -1 - texture, 4),
        "sign": Pair(0.93 * sign, 0.6 * np.roll(sign, 3, -1) + 0.17, 1),
        "sign, noise": Pair(sign, sign + 0.03 * noise, 1),
        "checks": Pair(np.broadcast_to(np.indices(shape[2:]).sum(0) % 2, shape).astype(np.float64), texture, 1),
        "a thousandth": Pair(1e-3 * texture, 1e-3 * (texture + 0.1 * noise), 1e-3),
    }


def _smooth(x: Array, sigma: float) -> Array:
    return gaussian_filter(x, (0, 0, sigma, sigma), mode="wrap")


def _scene(rng: np.random.Generator, shape: tuple[int, ...]) -> Array:
    """Soft blobs between 0 and 1."""
    blobs = _smooth(rng.random(shape), 3)
    return (blobs - blobs.min()) / (blobs.max() - blobs.min())
