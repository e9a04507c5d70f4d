"""The fast way inside `torch.compile`: two operations that the compiler takes whole.

Traced through, the same computation took a minute to compile, once for every number of images, and ran slower. The
backward operation computes the means anew with their slopes: what it needs from the forward one are the images only.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor

from gaussflow.losses._ssim import Scales
from gaussflow.losses._ssim_planes import gather, plane_means, wanted_signs

_NUMBERS = "float data_range, int window, float sigma, int levels"


def compiled_means(x: Tensor, y: Tensor, scales: Scales) -> Tensor:
    """`scale_means` of planes (n, H, W): (n, levels)."""
    means: Tensor = _means(x, y, *scales)
    return means


@torch.library.custom_op(
    "gaussflow::scale_means", mutates_args=(), schema=f"(Tensor x, Tensor y, {_NUMBERS}) -> Tensor"
)
def _means(x: Tensor, y: Tensor, *numbers: Any) -> Tensor:
    return plane_means(x, y, Scales(*numbers))[0]


@torch.library.custom_op(
    "gaussflow::scale_means_backward",
    mutates_args=(),
    schema=f"(Tensor x, Tensor y, Tensor grad, int[] signs, {_NUMBERS}) -> Tensor[]",
)
def _slopes(x: Tensor, y: Tensor, grad: Tensor, signs: Sequence[int], *numbers: Any) -> list[Tensor]:
    scales = Scales(*numbers)
    _, unit, slopes = plane_means(x, y, scales, signs)
    return gather(x, grad / unit[:, None], slopes, scales, len(signs))


@_means.register_fake
def _(x: Tensor, y: Tensor, *numbers: Any) -> Tensor:
    return x.new_empty(len(x), Scales(*numbers).levels)


@_slopes.register_fake
def _(x: Tensor, y: Tensor, grad: Tensor, signs: Sequence[int], *numbers: Any) -> list[Tensor]:
    return [torch.empty(x.shape, dtype=x.dtype, device=x.device) for _ in signs]


def _keep(ctx: Any, inputs: tuple[Any, ...], output: Tensor) -> None:
    ctx.save_for_backward(*inputs[:2])
    ctx.numbers = inputs[2:]


def _backward(ctx: Any, grad: Tensor) -> tuple[Tensor | None, ...]:
    signs = wanted_signs(ctx)
    found = _slopes(*ctx.saved_tensors, grad, signs, *ctx.numbers)
    return found.pop(0) if 1 in signs else None, found.pop(0) if -1 in signs else None, *(None for _ in ctx.numbers)


_means.register_autograd(_backward, setup_context=_keep)
