"""Whether code may look at values and go another way because of them, and the way that large tensors then go."""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor

from gaussflow.ops._recompute import is_transformed

PIECE = 2**15  # elements of a temporary: a dozen of them stay in the second cache, and none is page-faulted anew

# GNU malloc hands freed memory at the end of its heap back to the system at once, temporaries of a piece too, so that
# the next piece page-faults them anew; until it has freed a larger block, and from then on it keeps up to twice that.
# This block, just below the largest that counts (32 MiB), is never written and costs nothing.
torch.empty(2**25 - 2**16, dtype=torch.uint8)


def plain_eager(*tensors: Tensor) -> bool:
    """Whether tensors are plain here: no gradients are taken, nothing is compiled, nor mapped by `torch.func`.

    Where all tensors that count are given, gradients may be enabled as long as none of these asks for its own.
    """
    if torch.compiler.is_compiling():
        return False
    if torch.is_grad_enabled() and (not tensors or any(t.requires_grad for t in tensors)):
        return False
    return not is_transformed(tensors)


def in_pieces(f: Callable[..., Tensor], *tensors: Tensor) -> Tensor:
    """``f`` of tensors of one shape (...), element by element, a cache full at a time where tensors are plain."""
    first = tensors[0]
    same = all(t.shape == first.shape and t.is_contiguous() for t in tensors)
    if first.numel() <= 2 * PIECE or not same or not plain_eager(*tensors):
        return f(*tensors)
    out = torch.empty_like(first)
    flat = (t.view(-1).split(PIECE) for t in tensors)
    for piece, *parts in zip(out.view(-1).split(PIECE), *flat, strict=True):
        piece.copy_(f(*parts))
    return out
