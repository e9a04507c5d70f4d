"""Images scale by scale: coarse averages by one joint mixture, differences by mixtures that all places share."""

from __future__ import annotations

import time
from collections.abc import Sequence
from itertools import product

import torch
from torch import Tensor
from tqdm import tqdm

from gaussflow._check import check_int
from gaussflow.models.dequantized import Dequantized
from gaussflow.models.flow import Flow
from gaussflow.recipes._grey import grey_spline
from gaussflow.recipes._joint import joint_transport
from gaussflow.recipes._patches import Patches, patch_transport
from gaussflow.rows import Data, Rows, as_rows
from gaussflow.training._held_out import held_out_from
from gaussflow.training._history import History
from gaussflow.transforms.base import Chain, Transform
from gaussflow.transforms.given import ABSENT, Given
from gaussflow.transforms.haar_step import HaarStep
from gaussflow.transforms.mixture_transport import MixtureTransport

IMAGES = 2**16  # that are looked at
HELD_OUT_IMAGES = 2000
COARSEST = 256  # pixels of the coarsest image, at most, which have a joint law
BEFORE = ((0, -1), (-1, -1), (-1, 0), (-1, 1))  # blocks that come before one, as (down, right)
AROUND = tuple(product((-1, 0, 1), repeat=2))  # averages that a block is given
CORNERS = {3: ((0, 1), (1, 0), (1, 1)), 2: ((1, 0),), 1: ((0, 1),)}  # differences of blocks: whole, high, wide


def image_flow(
    x: Data,
    shape: Sequence[int],
    *,
    levels: int = 256,
    valid: Data | None = None,
    most: int = 256,
    seed: int = 0,
    progress: bool = True,
) -> tuple[Dequantized, History]:
    r"""The law of grey images, fitted scale by scale in closed form.

    .. math:: p(x) = p(a_S) \prod_{s=1}^S \prod_b p\bigl(d_{s,b} \mid a_s \text{ around } b,\ d_s \text{ before } b
        \bigr), \qquad a_s, d_s = H a_{s-1}, \quad a_0 = g(x + u)

    Grey values with noise u of one step go through a monotone spline g, made of their histogram. Then an orthonormal
    `HaarStep` H takes each image apart into averages of blocks of four pixels and three differences a block, and its
    averages again, until at most 256 are left. All these have one joint law, a mixture of normal laws: it knows the
    whole sign. Where the context is a label, each label has a mixture of its own. Many images are first cut into parts
    that look alike; each part has principal axes of its own, and components that differ along the leading ones. The
    differences of a block have a law given the averages around it and the differences of four blocks before it, a
    `MixtureTransport` that all blocks of a scale share (`Given`). How many parts, axes and components there are, and
    how far covariances differ, is decided on held-out images. At most :math:`2^{16}` images are looked at.

    Parameters
    ----------
    x
        Images (N, H W) of grey values k / (levels - 1), so in [0, 1]: a tensor, a re-iterable of chunks, or a `Rows`.
        Pass ``as_rows(x, context)`` for the law given context, labels as `one_hot` for example; the coarsest scale
        depends on it. A context that takes at most 64 values, each 20 times or more, is taken for a label.
    shape
        Height H and width W.
    levels
        Number of grey values.
    valid
        Held-out images; None holds out about a tenth, chosen by the seed.
    most
        The largest number of components of the finest mixture at each scale, of all parts together.
    seed
        Decides held-out rows, noise and starts.
    progress
        Whether to show a progress bar on stderr.

    Returns
    -------
    law, history
        A `Dequantized`: ``log_prob`` is a bound on the log-probability of an image, in nats, ``sample`` gives
        images of grey values. And a record for each block: scale (1 for the averages that are left, then the finer
        ones), coordinates, components, valid (held-out nats of the block, an image) and seconds.

    Raises
    ------
    ValueError
        For images that do not fit the shape, or pixels that are none of the grey values.

    Notes
    -----
    Source: Haar (1910) for the scales; Rosenblatt (1952) for one law after the other; Dempster, Laird and Rubin (1977)
    for the mixtures; Richardson and Weiss (2018) for mixtures of whole images, each component with axes of its own;
    Domke, Karapurkar and Aloimonos (2008) for mixtures of pixels given those before them.

    Examples
    --------
    >>> import torch
    >>> from gaussflow import image_flow
    >>> x = (torch.rand(200, 1) < 0.5).float() * torch.randint(5, (200, 36)) / 4
    >>> law, history = image_flow(x, (6, 6), levels=5, progress=False)
    >>> law.log_prob(x).shape, law.sample(7).shape, history.column("coordinates")
    (torch.Size([200]), torch.Size([7, 36]), [36])
    """
    height, width = (check_int("image_flow", "side", side, 1) for side in shape)
    step = 1 / (check_int("image_flow", "levels", levels, 2) - 1)
    check_int("image_flow", "most", most, 1)
    rows = as_rows(x)
    if rows.dim != height * width:
        raise ValueError(f"image_flow wants images of {height} x {width} = {height * width} pixels; got {rows.dim}.")
    generator = torch.Generator().manual_seed(check_int("image_flow", "seed", seed, 0))
    train, held_out = held_out_from("image_flow", rows, valid, seed)
    fitted, others = _noisy(train, IMAGES, step, generator), _noisy(held_out, HELD_OUT_IMAGES, step, generator)
    grey = _grey(fitted, step, levels)
    scales = Scales((height, width), fitted.through(grey), others.through(grey), most, generator)
    scales.fit(progress)
    steps = torch.full((rows.dim,), step, dtype=rows.dtype, device=rows.device)
    return Dequantized(Flow(Chain(grey, *scales.parts)), steps, points=1), History(scales.records[::-1])


class Scales:
    """The parts of the map from the finest scale to the coarsest, and the rows that enter the next one.

    A block is fitted where it stands in the chain: what it is given are averages that the next step takes apart. What
    it moves stays as it is in the rows, as no later part looks at it.
    """

    def __init__(
        self, shape: tuple[int, int], train: Rows, held_out: Rows, most: int, generator: torch.Generator
    ) -> None:
        self.shape, self.train, self.held_out, self.most = shape, train, held_out, most
        self.generator = generator
        self.parts: list[Transform] = []
        self.records: list[dict[str, float]] = []

    def fit(self, progress: bool) -> None:
        """Step after step, and after each the blocks that move its differences."""
        strides = [1]
        while len(grid(self.shape, strides[-1])) > COARSEST:
            strides.append(2 * strides[-1])
        scales = range(len(strides), 0, -1)
        for scale, stride in zip(
            scales, tqdm(strides, desc="image_flow", unit="scale", disable=not progress), strict=True
        ):
            if scale == 1:
                self._add(scale, [grid(self.shape, stride)], [[]])
                return
            self._step(HaarStep(self.shape, stride))
            for corners in CORNERS.values():
                moved, given = neighbourhoods(self.shape, stride, corners)
                if moved:
                    self._add(scale, moved, given)

    def _step(self, step: HaarStep) -> None:
        self.parts.append(step)
        self.train, self.held_out = self.train.through(step), self.held_out.through(step)

    def _add(self, scale: int, moved: list[list[int]], given: list[list[int]]) -> None:
        """Fit the block of these places."""
        start, context = time.perf_counter(), self.train.context_dim if scale == 1 else 0
        empty = MixtureTransport(len(moved[0]), 1, len(given[0]) + context, dtype=self.train.dtype)
        places = Given(empty.to(self.train.device), self.train.dim, moved, given)
        patches = Patches.of(places.patches(self.train), places.patches(self.held_out))
        find = joint_transport if scale == 1 else patch_transport
        transport, nats = find(patches, self.most, self.train.dtype, self.generator)
        self.parts.append(Given(transport, self.train.dim, moved, given))
        self.records.append(
            {
                "scale": scale,
                "coordinates": len(moved) * len(moved[0]),
                "components": transport.components,
                "valid": nats * len(moved),
                "seconds": time.perf_counter() - start,
            }
        )


def grid(shape: tuple[int, int], stride: int) -> list[int]:
    """The coordinates of the pixels of a grid."""
    height, width = shape
    return [i * width + j for i in range(0, height, stride) for j in range(0, width, stride)]


def neighbourhoods(
    shape: tuple[int, int], stride: int, corners: Sequence[tuple[int, int]]
) -> tuple[list[list[int]], list[list[int]]]:
    """What moves at each block of that kind after a `HaarStep`, and what it is given.

    Given are the averages of the blocks around it and the differences of those before it that are of its kind.
    """
    rows, columns = -(-shape[0] // stride), -(-shape[1] // stride)

    def at(i: int, j: int) -> int:
        return i * stride * shape[1] + j * stride

    def whole(i: int, j: int) -> bool:
        here = tuple((di, dj) for di, dj in CORNERS[3] if i + di < rows and j + dj < columns)
        return min(i, j) >= 0 and i < rows and j < columns and here == tuple(corners)

    moved, given = [], []
    for i, j in product(range(0, rows, 2), range(0, columns, 2)):
        if whole(i, j):
            moved.append([at(i + di, j + dj) for di, dj in corners])
            around = [(i + 2 * di, j + 2 * dj) for di, dj in AROUND]
            averages = [at(*b) if 0 <= b[0] < rows and 0 <= b[1] < columns else ABSENT for b in around]
            before = [(i + 2 * di, j + 2 * dj) for di, dj in BEFORE]
            differences = [at(b[0] + di, b[1] + dj) if whole(*b) else ABSENT for b in before for di, dj in corners]
            given.append(averages + differences)
    return moved, given


def _noisy(rows: Rows, images: int, step: float, generator: torch.Generator) -> Rows:
    """Images with uniform noise of one step; raises where pixels are no grey values."""
    x, c = rows.sample(images, 0)
    level = x.double() / step
    bad = ~((level >= -1e-3) & (x <= 1 + 1e-6) & ((level - level.round()).abs() < 1e-2))
    if bool(bad.any()):
        raise ValueError(
            f"image_flow wants pixels k / (levels - 1) in [0, 1], of {round(1 / step) + 1} levels; "
            f"got {float(x[bad][0]):.6g}. Divide bytes by 255, or pass levels=..."
        )
    u = torch.rand(x.shape, generator=generator, dtype=torch.float64).to(x.device)
    return as_rows(((level.round() + u) * step).to(x), c)


def _grey(rows: Rows, step: float, levels: int) -> Given:
    """The spline of grey values at every pixel."""

    def count(x: Tensor, c: Tensor | None) -> tuple[Tensor, ...]:
        index = (x / step).long().clamp(0, levels - 1).flatten()
        return (torch.bincount(index, minlength=levels).double(),)

    (counts,) = rows.sum(count)
    spline = grey_spline((counts / counts.sum()).cpu(), step, rows.dtype).to(rows.device)
    return Given(spline, rows.dim, [[i] for i in range(rows.dim)], [[] for _ in range(rows.dim)])
