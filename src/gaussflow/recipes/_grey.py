"""A monotone map of grey values, the same for all pixels, under which normal laws fit better."""

from __future__ import annotations

import torch
from torch import Tensor

from gaussflow.transforms.marginal_spline import MarginalSpline

COMMON = 0.1  # share of all pixels from which a grey value is a ground of its own
RANGE = 10.0  # height of all other grey values together, in standard deviations of the noise of a ground
EDGE = 0.03  # of a step, on either side of its ends, where the slope changes
REACH = 2.0  # standard deviations of the noise of a ground to either side: what lies beyond comes out as another grey
KNOTS = 17  # in a ground
UNSEEN = 1e-4  # share of the pixels that all grey values have without having been seen


def grey_spline(shares: Tensor, step: float, dtype: torch.dtype) -> MarginalSpline:
    r"""A spline of grey values with uniform noise of one step, made of the shares (L,) of the L grey values.

    A grey value that is common is a ground: its noise becomes normal, of variance one. All others share a range of
    heights as their pixels are distributed: what is rarely told apart lies close together. So sums of the pixels of a
    flat patch are normal, and a patch of an edge varies some ten times as much, not a thousand times.
    """
    ground = shares >= COMMON
    others = torch.where(ground, 0.0, shares + UNSEEN / len(shares))
    slopes = RANGE * others / others.sum().clamp(min=1e-12)
    q = torch.linspace(-REACH, REACH, KNOTS, dtype=torch.float64)
    inside, steep = torch.special.ndtr(q), (2 * torch.pi) ** 0.5 * (q.square() / 2).exp()
    margin = float(inside[0] * steep[0])
    ends = torch.tensor([EDGE, 1 - EDGE], dtype=torch.float64)
    xs, zs, ds, height = [], [], [], 0.0
    for k, (common, slope) in enumerate(zip(ground.tolist(), slopes.tolist(), strict=True)):
        xs.append(k + (inside if common else ends))
        zs.append(height + (margin + q + REACH if common else ends * slope))
        ds.append(steep if common else torch.full_like(ends, slope))
        height += 2 * (REACH + margin) if common else slope
    knots, heights, steepness = (torch.cat(lists)[:, None] for lists in (xs, zs, ds))
    spline = MarginalSpline(1, len(knots), dtype=dtype)
    return spline.set_knots(knots * step, heights, steepness / step)
