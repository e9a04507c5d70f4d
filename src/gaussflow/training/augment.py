"""Images moved at random, so that few of them teach as many would."""

from __future__ import annotations

import math
from collections.abc import Sequence

import torch
import torch.nn.functional as F
from torch import Tensor

from gaussflow._check import check_int, check_last


class AffineJitter:
    r"""Shifts, turns, stretches and slants images at random, each by an affine map of its own; for `train`'s augment.

    The map has the matrix :math:`R(a)\,\operatorname{diag}(1 + b)` with a slant :math:`s` added off the diagonal and
    the shift :math:`t`, where each of :math:`a, b_1, b_2, s, t_1, t_2` is normal with the standard deviation given.
    Pixels are interpolated linearly; those from beyond the border are zero.

    Parameters
    ----------
    image_shape
        Channels, height and width (C, H, W).
    shift
        Standard deviation of the shift, in pixels.
    turn
        Of the angle, in radians.
    stretch
        Of the stretch along each axis, as a share.
    slant
        Of the slant, as a share.

    Raises
    ------
    TypeError, ValueError
        For a shape that is none, negative deviations, and in the call for rows of another length.

    Notes
    -----
    Source: Simard, Steinkraus and Platt (2003). Labels must not hang on what is moved: no turns for 6 and 9.

    Examples
    --------
    >>> import torch
    >>> from gaussflow import AffineJitter
    >>> jitter = AffineJitter((1, 28, 28), shift=2)
    >>> jitter(torch.rand(5, 784), torch.Generator().manual_seed(0)).shape
    torch.Size([5, 784])
    """

    def __init__(
        self,
        image_shape: Sequence[int],
        *,
        shift: float = 1.0,
        turn: float = 0.06,
        stretch: float = 0.03,
        slant: float = 0.05,
    ) -> None:
        if len(image_shape) != 3:
            raise ValueError(f"AffineJitter wants an image_shape (C, H, W); got {tuple(image_shape)}.")
        self.image_shape = tuple(check_int("AffineJitter", "every size of image_shape", n, 1) for n in image_shape)
        self.shift, self.turn, self.stretch, self.slant = shift, turn, stretch, slant
        for name in ("shift", "turn", "stretch", "slant"):
            if not 0 <= getattr(self, name) < math.inf:
                raise ValueError(f"AffineJitter wants a finite {name} of at least 0; got {getattr(self, name)}.")

    def __call__(self, x: Tensor, generator: torch.Generator | None = None) -> Tensor:
        """Images x (n, D), each moved by a map of its own: (n, D)."""
        check_last("AffineJitter", x, math.prod(self.image_shape))
        channels, height, width = self.image_shape
        noise = torch.randn(6, len(x), generator=generator).to(x)
        angle, slant = self.turn * noise[0], self.slant * noise[1]
        across, down = 1 + self.stretch * noise[2:4]
        right, low = 2 * self.shift * noise[4] / width, 2 * self.shift * noise[5] / height
        cos, sin = angle.cos(), angle.sin()
        ratio = height / width  # the grid has both sides from -1 to 1; turns are meant in pixels
        first = torch.stack([cos * across, (slant - sin) * down * ratio, right], -1)
        second = torch.stack([sin * across / ratio, cos * down, low], -1)
        images = x.reshape(len(x), channels, height, width)
        grid = F.affine_grid(torch.stack([first, second], 1), list(images.shape), align_corners=False)
        return F.grid_sample(images, grid, align_corners=False).reshape(x.shape)
