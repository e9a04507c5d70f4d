"""Whether code may look at values and go another way because of them, and the way that large tensors then go."""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor

PIECE = 2**15  # elements of a temporary: a dozen of them stay in the second cache, and none is page-faulted anew


def plain_eager() -> bool:
    """Whether tensors are plain here: no gradients are taken, nothing is compiled, nor mapped by `torch.func`."""
    if torch.is_grad_enabled() or torch.compiler.is_compiling():
        return False
    return not torch._C._are_functorch_transforms_active()


def in_pieces(f: Callable[..., Tensor], *tensors: Tensor) -> Tensor:
    """``f`` of tensors of one shape (...), element by element, a cache full at a time where tensors are plain."""
    first = tensors[0]
    same = all(t.shape == first.shape and t.is_contiguous() for t in tensors)
    if first.numel() <= 2 * PIECE or not same or not plain_eager():
        return f(*tensors)
    out = torch.empty_like(first)
    flat = (t.view(-1).split(PIECE) for t in tensors)
    for piece, *parts in zip(out.view(-1).split(PIECE), *flat, strict=True):
        piece.copy_(f(*parts))
    return out
