"""Rows through parts of a chain without gradients, a cache full at a time, with one part's tables made once for all.

A temporary of all rows is page-faulted anew in every part; one of a piece of rows stays where it is. On a GPU, where
that costs nothing, a rotation and the splines behind it are one kernel instead, both ways.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from functools import lru_cache
from typing import TYPE_CHECKING, NamedTuple, TypeAlias

import torch
from torch import Tensor

from gaussflow.ops._block import turned_spline
from gaussflow.ops._eager import plain_eager
from gaussflow.ops._kernels import take_kernel
from gaussflow.ops._recompute import is_transformed

if TYPE_CHECKING:
    from gaussflow.transforms.base import Transform

Map: TypeAlias = Callable[[Tensor], tuple[Tensor, Tensor]]

PIECE, ROWS = 2**16, 256  # numbers of a piece, whose temporaries stay in the caches, and rows, for a product's sake
FEWEST = 2**19  # numbers from which on pieces pay
HELD = 2**20  # numbers of parts that a piece goes through together: more, and they leave the caches between pieces


class Steady(NamedTuple):
    """A map of rows (n, D), made ready to be called many times, while no number held changes.

    ``f`` gives new rows, and log-determinants (n,) or one for all rows. Where the map is a product of the rows with a
    matrix (D, D), that is there, too; where it is splines, their units loc and scale (D,) and tables (K, D).
    """

    f: Map
    matrix: Tensor | None = None
    splines: tuple[Tensor, ...] | None = None


def through(
    chain: Iterable[Transform], x: Tensor, context: Tensor | None, *, inverse: bool
) -> tuple[Tensor, Tensor] | None:
    """x (N, D) through a chain, forward or back; None where the plain way is as good.

    Beside the result it holds some pieces of rows, and the tables of the parts that a piece goes through together.
    """
    if _may_fuse(x):
        return _fused(chain, x, context, inverse=inverse)
    if not _pays(x):
        return None
    z, total, owned = x, x.new_zeros(len(x)), False
    group: list[Map] = []
    held = 0
    for part in _links(chain, inverse):
        made, size = _made(part, inverse), sum(t.numel() for t in part._numbers())
        if group and (made is None or held + size > HELD):
            z, owned = _in_pieces(group, z, total, owned=owned), True
            group, held = [], 0
        if made is None:
            z, ladj = _plainly(part, z, context, inverse)
            total, owned = total + ladj, False
        else:
            part._door(z, context, "z" if inverse else "x")
            group.append(made.f)
            held += size
    return (_in_pieces(group, z, total, owned=owned) if group else z), total


def _pays(x: Tensor) -> bool:
    """Whether these are many rows on a CPU, and nobody but the caller sees what becomes of them."""
    if not plain_eager() or x.device.type != "cpu" or x.dim() != 2 or x.numel() < FEWEST:
        return False
    return not (torch.is_autocast_enabled("cpu") or is_transformed((x,)))


def _may_fuse(x: Tensor) -> bool:
    """Whether these are rows for kernels, and nobody but the caller sees what becomes of them."""
    return x.dim() == 2 and plain_eager() and take_kernel(x) and not torch.is_autocast_enabled(x.device.type)


def _fused(chain: Iterable[Transform], x: Tensor, context: Tensor | None, *, inverse: bool) -> tuple[Tensor, Tensor]:
    """x (N, D) through a chain, two parts at a time where one kernel has both."""
    total, waiting = x.new_zeros(len(x)), None
    for part in _links(chain, inverse):
        made = _made(part, inverse)
        if made is not None:
            part._door(x, context, "z" if inverse else "x")
        if waiting is not None:
            both = _both(waiting, made, x, inverse)
            x, ladj = both or waiting.f(x)
            total, waiting = total + ladj, None
            if both is not None:
                continue
        if made is None:
            x, ladj = _plainly(part, x, context, inverse)
            total = total + ladj
        waiting = made
    if waiting is not None:
        x, ladj = waiting.f(x)
        total = total + ladj
    return x, total


def _both(first: Steady, second: Steady | None, x: Tensor, inverse: bool) -> tuple[Tensor, Tensor] | None:
    """Two maps as one kernel, if they are a rotation and splines, or the way back."""
    if second is None:
        return None
    turn, splines = (second, first) if inverse else (first, second)
    if turn.matrix is None or splines.splines is None:
        return None
    return turned_spline(x, turn.matrix, splines.splines, inverse=inverse)


def _plainly(part: Transform, x: Tensor, context: Tensor | None, inverse: bool) -> tuple[Tensor, Tensor]:
    found: tuple[Tensor, Tensor] = part.inverse(x, context) if inverse else part(x, context)
    return found


def _in_pieces(group: list[Map], x: Tensor, total: Tensor, *, owned: bool) -> Tensor:
    """Rows through a group of maps; the log-determinants are added to ``total``. What is ``owned`` is written over."""
    out = x if owned else torch.empty_like(x)
    step = max(ROWS, PIECE // x.shape[-1])
    for piece, target, sums in zip(x.split(step), out.split(step), total.split(step), strict=True):
        for f in group:
            piece, ladj = f(piece)
            sums += ladj
        target.copy_(piece)
    return out


def _links(chain: Iterable[Transform], inverse: bool) -> Iterator[Transform]:
    """The parts of a chain and of the chains in it, in the order in which rows pass them."""
    for part in reversed(list(chain)) if inverse else chain:
        if not _is_watched(part) and isinstance(part, Iterable) and type(part) is type(chain):
            yield from _links(part, inverse)
        else:
            yield part


def _is_watched(part: Transform) -> bool:
    """Whether something is called before or after the part."""
    return bool(part._forward_hooks or part._forward_pre_hooks)


def _made(part: Transform, inverse: bool) -> Steady | None:
    if _is_watched(part) or not _is_whole(type(part)):
        return None
    return part._steady(inverse)


@lru_cache(maxsize=256)
def _is_whole(kind: type) -> bool:
    """Whether what makes the map ready was written with the map, or after it: a subclass may have another map."""
    places = (
        next(i for i, parent in enumerate(kind.__mro__) if name in vars(parent))
        for name in ("_steady", "forward", "inverse")
    )
    ready, forward, inverse = places
    return ready <= min(forward, inverse)
