"""The doors of the losses on pairs of images."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence

import torch
from torch import Tensor

from gaussflow._check import check_int

Reduction = Callable[[Tensor], Tensor]

RANGES = (1e-30, 1e30)  # far inside float32, so that no constant vanishes or overflows


def check_pair(owner: str, x: object, y: object) -> None:
    """Raise TypeError or ValueError unless x and y are images (N, C, H, W) of one shape and dtype."""
    for name, z in (("x", x), ("y", y)):
        if not isinstance(z, Tensor):
            raise TypeError(f"{owner} works on torch.Tensor; got {name} of {type(z).__name__}. Use torch.as_tensor.")
        if not (z.is_floating_point() or z.dtype == torch.uint8):
            raise TypeError(f"{owner} works on floating or uint8 images; got {name} of {z.dtype}. Convert it first.")
        if z.dim() != 4 or not z.shape[1]:
            raise ValueError(
                f"{owner} works on images (N, C, H, W); got {name} of shape {tuple(z.shape)}. "
                f"Rows of pixels are images after {name}.reshape(-1, C, H, W)."
            )
    if x.shape != y.shape or x.dtype != y.dtype:  # type: ignore[attr-defined]
        raise ValueError(
            f"{owner} compares images of one shape and dtype; got x {tuple(x.shape)} of {x.dtype} and "  # type: ignore[attr-defined]
            f"y {tuple(y.shape)} of {y.dtype}. Expand or convert one of them."  # type: ignore[attr-defined]
        )


def check_numbers(owner: str, data_range: object, window: object, sigma: object) -> None:
    """Raise TypeError or ValueError for a data range, a window or a sigma that make no index."""
    low, high = RANGES
    if not _is_number(data_range) or not low <= data_range <= high:  # type: ignore[operator]
        raise ValueError(
            f"{owner} wants a data_range between {low:g} and {high:g}; got {data_range!r}. "
            "It is the width of what the data can be: 1 for [0, 1], 255 for uint8, 2 for [-1, 1]."
        )
    if check_int(owner, "window", window, 3) % 2 == 0:
        raise ValueError(f"{owner} wants an odd window, which has a middle; got {window}. Take {int(window) + 1}.")  # type: ignore[call-overload]
    if not _is_number(sigma) or not 0.1 <= sigma <= high:  # type: ignore[operator]
        raise ValueError(f"{owner} wants a sigma of at least 0.1 pixels; got {sigma!r}.")


def check_weights(owner: str, weights: Sequence[float]) -> tuple[float, ...]:
    """The weights as numbers; raise ValueError unless there is one and all are positive."""
    found = tuple(weights)
    if not found or not all(_is_number(weight) and 0 < weight < math.inf for weight in found):
        raise ValueError(f"{owner} wants positive numbers for weights, one for each scale; got {found}.")
    return tuple(float(weight) for weight in found)


def check_side(owner: str, x: Tensor, window: int, count: int, fewer_scales: bool) -> int:
    """How many of ``count`` scales images x take; raise ValueError where they do not take all, or, on request, one."""
    side = min(x.shape[-2:])
    fit = next((n for n in range(count, 0, -1) if side >= _smallest_side(window, n)), 0)
    if fit == count or (fit and fewer_scales):
        return fit
    scales = f"{count} scales and a window" if count > 1 and not fewer_scales else "a window"
    least = _smallest_side(window, 1 if fewer_scales else count)
    remedy = f"fewer_scales=True takes the {fit} that fit" if fit else "Pass a smaller window, with a smaller sigma"
    raise ValueError(
        f"{owner} with {scales} of {window} wants images with sides of at least {least} pixels; "
        f"got {x.shape[-2]} x {x.shape[-1]}. {remedy}."
    )


def _smallest_side(window: int, count: int) -> int:
    """The smallest side whose count-th halving, rounded up, holds a window."""
    return (window - 1) * (1 << (count - 1)) + 1


def check_reduction(owner: str, reduction: object) -> None:
    """Raise TypeError unless the reduction is a function or None."""
    if reduction is not None and not callable(reduction):
        raise TypeError(
            f"{owner} wants a function for reduction, such as torch.mean or torch.sum, or None for a value "
            f"per image; got {reduction!r}."
        )


def reduced(owner: str, values: Tensor, reduction: Reduction | None) -> Tensor:
    """The values of the images (N,), or what the reduction makes of them; raise ValueError where there are none."""
    check_reduction(owner, reduction)
    if reduction is None:
        return values
    if not len(values):
        raise ValueError(f"{owner} wants at least one image to reduce; got none. Pass reduction=None for no values.")
    return reduction(values)


def _is_number(value: object) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool)
